"""A clean Debian in a directory, and programs that run in it."""

import os
import shutil
import stat
import subprocess

FUSE = os.makedev(10, 229)
TIMEOUT = 300


class Root:
    def __init__(self, path, archive):
        self.path = path
        path.mkdir()
        path.chmod(0o755)
        subprocess.run(["tar", "-C", path, "-xf", archive], check=True, timeout=TIMEOUT)
        subprocess.run(["mount", "-t", "proc", "proc", path / "proc"], check=True)
        self.has_fuse = os.path.exists("/dev/fuse")
        if self.has_fuse:
            os.mknod(path / "dev/fuse", stat.S_IFCHR | 0o666, FUSE)
            (path / "dev/fuse").chmod(0o666)

    def __truediv__(self, name):
        return self.path / name.lstrip("/")

    def inside(self, command):
        return ["chroot", self.path, *command]

    def run(self, *command, check=True, env=None):
        """Standard output and error together."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"} | (env or {})
        done = subprocess.run(
            self.inside(command),
            env=environment | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        if check:
            assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
            return done.stdout
        return done.returncode, done.stdout

    def about(self, name):
        """Owner, group and mode, as in "root s3-orchestrator 640"."""
        return self.run("stat", "-c", "%U %G %a", name).strip()

    def give(self, file):
        """A file from outside, as it is called inside."""
        shutil.copy(file, self / file.name)
        return f"/{file.name}"

    def remove(self):
        """Not a file beyond what is mounted here."""
        mounted = [line.split()[4] for line in open("/proc/self/mountinfo")]
        for place in reversed([place for place in mounted if place.startswith(f"{self.path}/")]):
            subprocess.run(["umount", "-l", place], check=False)
        subprocess.run(["rm", "-rf", "--one-file-system", self.path], check=False)
