"""Processes below one that was begun here."""

import os


def children(pid):
    tasks = f"/proc/{pid}/task"
    try:
        return [int(child) for task in os.listdir(tasks) for child in open(f"{tasks}/{task}/children").read().split()]
    except FileNotFoundError:
        return []


def inner(pid, name):
    """The process of this name that a program began, however many stand between."""
    for child in children(pid):
        found = child if called(child) == name[:15] else inner(child, name)
        if found:
            return found
    return None


def called(pid):
    try:
        return open(f"/proc/{pid}/comm").read().strip()
    except FileNotFoundError:
        return None
