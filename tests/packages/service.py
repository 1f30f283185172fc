"""What systemd does with the installed unit, as far as a test can without it: its commands, user, capabilities, files
of variables, credentials and notices."""

import os
import re
import shutil
import signal
import socket
import subprocess

from root import TIMEOUT

UNIT = "/usr/lib/systemd/system/s3-orchestrator.service"
READY = "STATUS=s3-orchestrator listening on "
CREDENTIALS = "/run/credentials/s3-orchestrator.service"
NOTICES = "/run/s3-orchestrator-notify"


class Service:
    def __init__(self, root, *drop_ins):
        self.root = root
        self.settings = {}
        for file in (UNIT, *drop_ins):
            self.read(root / file)
        self.process = None
        self.endpoint = ""

    def read(self, file):
        """An empty value takes back what was there."""
        for name, value in re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE):
            values = self.settings.setdefault(name, [])
            values.append(value) if value else values.clear()

    def one(self, name):
        return self.settings[name][-1]

    def load_credentials(self):
        """In a directory for the service's user alone."""
        place = self.root / CREDENTIALS
        place.mkdir(parents=True, exist_ok=True)
        for setting in self.settings["LoadCredential"]:
            prefix, _, source = setting.partition(":")
            for file in sorted((self.root / source).iterdir()):
                shutil.copy(file, place / f"{prefix}_{file.name}")
        self.root.run("chown", "-R", f"{self.one('User')}:", CREDENTIALS)
        self.root.run("chmod", "-R", "u=rX,go=", CREDENTIALS)

    def environment(self):
        lines = []
        for file in self.settings["EnvironmentFile"]:
            path = self.root / file.lstrip("-")
            lines += path.read_text().splitlines() if path.exists() else []
        given = dict(line.split("=", 1) for line in lines)
        minutes = re.fullmatch(r"(\d+)min", self.one("WatchdogSec"))
        return given | {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CREDENTIALS_DIRECTORY": CREDENTIALS,
            "NOTIFY_SOCKET": NOTICES,
            "WATCHDOG_USEC": str(int(minutes[1]) * 60_000_000),
        }

    def as_user(self, command):
        """The words of a command of the unit, as its user with its capabilities."""
        assert self.one("NoNewPrivileges") == "yes"
        capabilities = [c.removeprefix("CAP_").lower() for c in self.settings["AmbientCapabilities"]]
        sets = ",".join(["-all", *(f"+{c}" for c in capabilities)])
        user = ["--reuid", self.one("User"), "--regid", self.one("Group"), "--clear-groups", "--no-new-privs"]
        limits = ["--inh-caps", sets, "--ambient-caps", sets, "--bounding-set", sets]
        return self.root.inside(["setpriv", *user, *limits, *command.split()])

    def call(self, name):
        """A command that ends: its code, and what it said."""
        done = subprocess.run(
            self.as_user(self.one(name)),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
        )
        return done.returncode, done.stdout

    def start(self):
        self.load_credentials()
        code, said = self.call("ExecStartPre")
        assert code == 0, said
        notices = self.root / NOTICES
        notices.unlink(missing_ok=True)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(notices))
        self.manager.settimeout(60)
        notices.chmod(0o666)
        log = (self.root / "node.log").open("ab")
        self.process = subprocess.Popen(
            self.as_user(self.one("ExecStart")),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        told = self.hear("READY=1")
        self.endpoint = next(line for line in told if line.startswith(READY)).removeprefix(READY)
        return self

    def hear(self, wanted):
        """The lines of the next message that has this one."""
        while True:
            try:
                lines = self.manager.recv(4096).decode().splitlines()
            except TimeoutError:
                raise AssertionError(f"nobody said {wanted}\n{self.log()[-2000:]}") from None
            if wanted in lines:
                return lines

    def log(self):
        return (self.root / "node.log").read_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        assert code == 0, f"the node ended with {code}\n{self.log()[-2000:]}"
        self.manager.close()

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
