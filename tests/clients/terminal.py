"""A terminal for a program: what it printed there, and what stands on the screen in the end."""

import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from fcntl import ioctl

ROWS, COLUMNS = 40, 60
#: Escape sequences and line ends; everything else is text.
TOKENS = re.compile(r"(\x1b\[\??[\d;]*[A-Za-z]|\r\n|\r|\n)")


class Terminal:
    def __init__(self, said):
        self.said = said

    def screen(self):
        """As far as the programs here go: up, down, clear below, wrap or not."""
        lines, row, column, wraps = [""], 0, 0, True
        for token in TOKENS.split(self.said):
            if token in ("\r\n", "\n"):
                row, column = row + 1, 0
            elif token == "\r":
                column = 0
            elif token in ("\x1b[?7l", "\x1b[?7h"):
                wraps = token.endswith("h")
            elif token == "\x1b[J":
                lines = lines[:row] + [lines[row][:column]]
            elif token.startswith("\x1b["):
                assert token.endswith("A"), f"{token!r} is not known"
                row = max(0, row - int(token[2:-1]))
            else:
                for letter in token:
                    if column == COLUMNS and wraps:
                        row, column = row + 1, 0
                    column = min(column, COLUMNS - 1)
                    lines += [""] * (row + 1 - len(lines))
                    lines[row] = lines[row][:column].ljust(column) + letter + lines[row][column + 1 :]
                    column += 1
            lines += [""] * (row + 1 - len(lines))
        return lines


def on_terminal(command, patience=120):
    """Its exit code, and the terminal that it ran on."""
    outside, inside = pty.openpty()
    ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, close_fds=True)
    os.close(inside)
    said, end = b"", time.monotonic() + patience
    try:
        while time.monotonic() < end:
            if not select.select([outside], [], [], 1)[0]:
                continue
            # Linux ends a terminal that nobody has open any more with an error.
            said += os.read(outside, 65536)
    except OSError:
        pass
    finally:
        os.close(outside)
        if time.monotonic() >= end:
            process.kill()
    return process.wait(30), Terminal(said.decode())
