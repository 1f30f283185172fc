"""The way of a newcomer, from the package to the first object to the mount: the lines of the README, as they are written.

There is no systemd here: what it would do after `enable --now` and `restart` is done by service.py. The editor changes nothing but the port.
"""

import re
import subprocess
import sys
from pathlib import Path

from conftest import PROJECT
from root import TIMEOUT
from service import Service

ENDPOINT = "http://127.0.0.1:9000"
DROP_INS = "/etc/systemd/system/s3-orchestrator.service.d"
#: What a newcomer has, and the smallest Debian has not.
TOOLS = {
    "sudo": 'exec "$@"',
    "editor": 'exec sed -i s/127.0.0.1:9000/127.0.0.1:0/ "$1"',
    "systemctl": 'test "$1" != enable || exec /bin/systemctl enable "$3"',
    "openssl": "od -An -v -tx1 -N20 /dev/urandom | tr -d ' \\n'",
}


def lines():
    """The commands of the section, without what is said behind them."""
    section = (PROJECT / "README.md").read_text().partition("## Installing it as a service\n")[2].partition("\n## ")[0]
    return [re.sub(r"\s{2,}#.*", "", line.strip()) for line in section.splitlines() if line.startswith("    ")]


class Newcomer:
    def __init__(self, root, deb):
        self.root, self.deb = root, deb
        self.service, self.variables, self.said = None, {}, ""
        for name, script in TOOLS.items():
            tool = root / "/usr/local/bin" / name
            tool.parent.mkdir(parents=True, exist_ok=True)
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)

    def types(self, line):
        if line == "make deb":
            return self.root.give(self.deb)
        if " aws " in line:
            return self.outside(line.replace(ENDPOINT, self.service.endpoint))
        path = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.said = self.root.run("bash", "-c", f"cd /; {line}", env=path)
        if line.startswith("export "):
            kept = self.root.run("bash", "-c", f"{line}; env", env=path)
            self.variables |= {k: v for k, _, v in (l.partition("=") for l in kept.splitlines()) if k.startswith("AWS_")}
        if re.search(r"systemctl (enable --now|restart)", line):
            self.starts()

    def outside(self, line):
        """The client is this machine's."""
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        done = subprocess.run(["bash", "-c", line], env=self.variables | {"PATH": path, "HOME": str(self.root.path)},
                              capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"

    def starts(self):
        if self.service:
            self.service.stop()
        drop_ins = sorted((self.root / DROP_INS).glob("*.conf")) if (self.root / DROP_INS).exists() else []
        self.service = Service(self.root, *(str(file).removeprefix(str(self.root.path)) for file in drop_ins))
        self.service.start()


def test_the_path_of_a_newcomer(root, deb):
    commands = lines()
    assert f"./{deb.name}" in " ".join(commands), "the README names another package"
    newcomer = Newcomer(root, deb)
    try:
        for line in commands:
            if "mounts.conf" in line and not root.has_fuse:
                print("THERE IS NO /dev/fuse: the mount is not tried")
                break
            newcomer.types(line)
        else:
            assert newcomer.said == "hello\n", newcomer.said
        newcomer.service.stop()
    finally:
        if newcomer.service:
            newcomer.service.kill()
