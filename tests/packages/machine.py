"""A clean root with its own systemd, started as a container: processes, mounts and devices of its own, this machine's network."""

import subprocess
import time
from pathlib import Path

from processes import inner
from root import TIMEOUT

#: Where systemd-nspawn leaves groups behind if nobody manages its containers.
GROUPS = [Path(f"/sys/fs/cgroup{kind}/{name}") for kind in ("", "/systemd", "/unified") for name in ("payload", "supervisor")]
BOOTED = ("running", "degraded")


class Machine:
    def __init__(self, root):
        self.root = root
        self.groups = [group for group in GROUPS if not group.exists()]
        self.console = root.path.parent / "console"
        # The machine has a /proc of its own.
        subprocess.run(["umount", root / "proc"], check=True)
        fuse = []
        if root.has_fuse:
            # Outside of its own /dev, over which another is mounted.
            (root / "dev/fuse").rename(root.path.parent / "fuse")
            fuse = [f"--bind={root.path.parent / 'fuse'}:/dev/fuse"]
        command = ["systemd-nspawn", "--quiet", "--directory", root.path, "--boot", "--register=no", "--keep-unit", "--console=pipe", *fuse]
        with self.console.open("wb") as console:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self.leader = None

    def has_booted(self, patience=60):
        end = time.monotonic() + patience
        while time.monotonic() < end and self.process.poll() is None:
            self.leader = self.leader or inner(self.process.pid, "systemd")
            if self.leader and self.run("systemctl", "is-system-running", check=False)[1].strip() in BOOTED:
                return True
            time.sleep(0.1)
        return False

    def run(self, *command, check=True):
        """Standard output and error together."""
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        inside = ["nsenter", "--target", str(self.leader), "--all", "--", "env", "-i", path, "DEBIAN_FRONTEND=noninteractive", *command]
        done = subprocess.run(inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=TIMEOUT)
        if check:
            assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
            return done.stdout
        return done.returncode, done.stdout

    def systemctl(self, *arguments):
        return self.run("systemctl", "--no-pager", *arguments)

    def shows(self, unit, *names):
        lines = self.systemctl("show", unit, *(option for name in names for option in ("--property", name))).splitlines()
        found = dict(line.split("=", 1) for line in lines)
        return tuple(found[name] for name in names) if len(names) > 1 else found[names[0]]

    def log(self, unit):
        return self.run("journalctl", "--no-pager", "--lines", "60", "--unit", unit, check=False)[1]

    def off(self):
        """As the power button does it, and then as the plug."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(30)
        for group in self.groups:
            for folder in sorted([group, *group.rglob("*/")], reverse=True):
                if folder.is_dir():
                    folder.rmdir()
