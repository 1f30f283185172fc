"""The user guide that people hold: its commands and code are run as they are written there.

Only what the guide leaves open is filled in: the address of the endpoint and the secret.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "user-guide.txt").read_text(encoding="utf-8")
ENDPOINT = "http://s3-orchestrator.service.consul:9000"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfi..."
ACCESS_KEY = "AKID_APP1_WRITER"
BUCKET = "app1-files"

# What a line of a shell block begins with.
COMMANDS = ("s3o ", "aws ", "alias ", "rclone ", "curl ", "pip ", "go get ")


def joined(text):
    """Lines that end with a backslash are one with the next."""
    return re.sub(r"\s*\\\n\s*", " ", text)


def commands():
    """Every shell command of the guide, one a line, without comments."""
    for line in joined(TEXT).splitlines():
        if line.startswith(COMMANDS):
            yield re.sub(r"\s+#.*", "", line).strip()


def command(text):
    """The command, which must stand in the guide as it is."""
    assert text in commands(), f"the guide does not say: {text}"
    return text


def block(first, last):
    """The lines of the guide from the one that is `first` to the next one that is `last`."""
    lines = TEXT.splitlines()
    begin = lines.index(first)
    end = lines.index(last, begin)
    return "\n".join(lines[begin : end + 1]) + "\n"


def filled(text, node):
    return text.replace(ENDPOINT, node.endpoint).replace(SECRET, node.secret)
