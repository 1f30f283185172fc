"""Runs the guide's shell commands in bash, with the guide's alias and a home of their own."""

import os
import random
import subprocess
import sys
from pathlib import Path

import guide

ALIAS = "alias s3o='aws --profile orchestrator --endpoint-url http://s3-orchestrator.service.consul:9000'"
# The clients of requirements.txt come before those of the machine.
CLIENTS = Path(sys.executable).parent
TIMEOUT = 120


class Shell:
    def __init__(self, node, home, cwd):
        self.node = node
        self.home = home
        self.cwd = cwd

    def env(self):
        path = f"{CLIENTS}{os.pathsep}{os.environ['PATH']}"
        keep = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
        return keep | {
            "PATH": path,
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, text, stdin=None, check=True):
        """Standard output and error of a script, together."""
        script = f"shopt -s expand_aliases\nset -o pipefail\n{ALIAS}\n{text}\n"
        done = subprocess.run(
            ["bash", "-c", guide.filled(script, self.node)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.cwd,
            env=self.env(),
            timeout=TIMEOUT,
        )
        said = done.stdout.decode("utf-8", "replace")
        if check:
            assert done.returncode == 0, f"{text}\nended with {done.returncode}:\n{said}"
            return said
        return done.returncode, said

    def guide(self, text, **options):
        """A command that must stand in the guide."""
        return self.run(guide.command(text), **options)

    def write(self, name, data):
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def read(self, name):
        return (self.cwd / name).read_bytes()


def noise(size, seed=0):
    """Bytes that no two places of a file share, the same in every run."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def tree(path):
    """Every file below, by relative name."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(Path(path).rglob("*"))
        if file.is_file()
    }
