"""Images made by buildah without a registry and without a runtime for containers: all in one directory, programs in a chroot."""

import json
import os
import re
import subprocess

TIMEOUT = 300
#: What apt says where Debian's archive is not to be had.
AWAY = re.compile(r"Temporary failure resolving|Failed to fetch|Could not connect|Unable to locate package")


class Images:
    def __init__(self, home):
        self.base = ["buildah", "--root", home / "images", "--runroot", home / "run", "--storage-driver", "overlay"]
        self.home = home
        self.containers = []

    def call(self, *arguments, check=True):
        """What it printed, and what it complained of."""
        done = subprocess.run([*self.base, *arguments], env=self.environment(), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=TIMEOUT)
        assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done if not check else done.stdout.strip()

    def environment(self):
        return os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.home)}

    def container(self, image):
        name = self.call("from", "--pull-never", image)
        self.containers.append(name)
        return name

    def make(self, name, base, *files):
        """An image of files, each with its place there."""
        container = self.container(base)
        for source, place in files:
            self.call("add", container, source, place)
        self.call("commit", container, name)

    def build(self, name, context):
        options = ["--format", "docker", "--pull-never", "--tag", name]
        return self.call("bud", *options, "-f", context / "Containerfile", context, check=False)

    def settings(self, image):
        """As docker has them."""
        return json.loads(self.call("inspect", "--type", "image", image))["Docker"]["config"]

    def run(self, container, *command, volumes=()):
        """Begins a program in a container, as its user."""
        mounts = [option for volume in volumes for option in ("--volume", volume)]
        return subprocess.Popen([*self.base, "run", *mounts, container, "--", *command], env=self.environment(),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def remove(self):
        self.call("rm", "--all", check=False)
        self.call("rmi", "--all", "--force", check=False)
