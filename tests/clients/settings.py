"""A configuration as data, and the list of all its keys as the node has it."""

import json
import re
from pathlib import Path

KEYS = Path(__file__).parents[2] / "src" / "node" / "config" / "keys.rs"


def toml(settings, table=""):
    """Plain values first: what stands behind a table's header belongs to it."""
    plain = {name: value for name, value in settings.items() if not holds_tables(value)}
    lines = [f"{name} = {json.dumps(value)}" for name, value in plain.items()]
    for name, value in settings.items():
        title = f"{table}.{name}".lstrip(".")
        if isinstance(value, dict):
            lines += [f"[{title}]", toml(value, title)]
        elif holds_tables(value):
            lines += [line for item in value for line in (f"[[{title}]]", toml(item, title))]
    return "\n".join(lines)


def holds_tables(value):
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def lists():
    """The lists of keys.rs by name; one that joins others has what they have."""
    text = KEYS.read_text()
    found = {}
    for name, body in re.findall(r"pub const ([A-Z_0-9]+): &\[&str\] =\s*&(.*?);\n", text, re.DOTALL):
        joined = re.findall(r"\b(OF_[A-Z0-9]+)\b", body.rpartition("(")[2])
        found[name] = [key for other in joined for key in found[other]] or re.findall(r'"([^"]+)"', body)
    return found


def tables():
    """Every key, by the table of the file that has it. What is itself a table is left out."""
    text = KEYS.read_text()
    found = re.findall(r'\("([^"]+)", ([A-Z_0-9]+)\)', text.partition("pub const TABLES")[2].partition("];")[0])
    titles = {re.sub(r"[\[\]]", "", title) for title, _ in found}
    known = lists()
    inner = lambda title, key: f"{re.sub(r'[][]', '', title)}.{key}" in titles or (title == "the top level" and key in titles)  # noqa: E731
    return {title: [key for key in known[name] if not inner(title, key)] for title, name in found}


def is_fixed(title, key):
    """Whether only a start can change it. Of a backend everything else can: it may be added."""
    name = re.sub(r"[\[\]]", "", title)
    dotted = key if title == "the top level" else f"{name}.{key}"
    flexible = any(pattern.replace("*.", "") == dotted for pattern in lists()["FLEXIBLE"])
    return not flexible and any(dotted == fixed or dotted.startswith(f"{fixed}.") for fixed in lists()["FIXED"])
