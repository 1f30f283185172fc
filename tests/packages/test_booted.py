"""The installed unit under a systemd that runs: what service.py does in its place elsewhere, done by it. Started, watched, reloaded,
confined, mounted, upgraded, stopped, removed."""

import os
import re
import shutil
import time

import pytest

from machine import Machine
from test_life import BUCKET, CONFIG, DATA, DROP_IN, MOUNT, configure, edit, has_what_was_stored, is_used, later_deb

UNIT = "s3-orchestrator.service"
DROP_INS = f"/etc/systemd/system/{UNIT}.d"
LISTENS = "s3-orchestrator listening on "


@pytest.fixture
def machine(root):
    if shutil.which("systemd-nspawn") is None:
        pytest.skip("SYSTEMD-NSPAWN IS NOT INSTALLED: no systemd is started")
    machine = Machine(root)
    try:
        if not machine.has_booted():
            pytest.skip(f"SYSTEMD DOES NOT START HERE: {machine.console.read_text()[-500:]}")
        yield machine
    finally:
        machine.off()


class Served:
    """What the steps of test_life.py ask of a node."""

    def __init__(self, machine):
        self.machine, self.root = machine, machine.root
        status, pid = machine.shows(UNIT, "StatusText", "MainPID")
        assert LISTENS in status, machine.log(UNIT)
        self.endpoint, self.pid = status.partition(LISTENS)[2], int(pid)

    def field(self, name):
        """Of the process, as the machine sees it."""
        text = self.machine.run("cat", f"/proc/{self.pid}/status")
        return re.search(rf"^{name}:\s+(.*)$", text, re.MULTILINE)[1]


def until(done, patience=60):
    end = time.monotonic() + patience
    while not done() and time.monotonic() < end:
        time.sleep(0.2)
    return done()


def drop_in(machine, name, text):
    folder = machine.root / DROP_INS
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    machine.systemctl("daemon-reload")


def begun(machine, *action):
    """The node that is there after an order to systemctl, which waits until it is ready."""
    code, said = machine.run("systemctl", *action, UNIT, check=False)
    assert code == 0, said + machine.log(UNIT)
    return Served(machine)


def is_installed_and_off(machine):
    assert machine.run("systemctl", "is-active", UNIT, check=False)[1].strip() == "inactive"
    assert machine.run("systemctl", "is-enabled", UNIT, check=False)[1].strip() == "disabled"
    # Not configured: it does not start, and says why.
    code, _ = machine.run("systemctl", "start", UNIT, check=False)
    assert code != 0 and until(lambda: "secrets/app1" in machine.log(UNIT), 10), machine.log(UNIT)
    # It is tried again, until somebody stops that.
    machine.systemctl("stop", UNIT)
    machine.run("systemctl", "reset-failed", UNIT, check=False)


def is_confined(service):
    assert service.field("CapBnd") == service.field("CapEff") == "0" * 16
    assert (service.field("NoNewPrivs"), service.field("Seccomp")) == ("1", "2")
    inside = ("nsenter", "--target", str(service.pid), "--mount", "--")
    refused = lambda *command: service.machine.run(*inside, *command, check=False)[0] != 0  # noqa: E731
    assert refused("touch", "/etc/made") and refused("touch", "/usr/made") and not refused("touch", f"{DATA}/made", "/tmp/made")
    assert not (service.root / "tmp/made").exists(), "its /tmp is not its own"


def says_what_a_mount_needs(machine):
    code, said = machine.run("s3-orchestrator", "mount", BUCKET, "/mnt", check=False)
    assert code == 1 and "mounts.conf" in said, said


def is_reloaded(service):
    machine = service.machine
    edit(service.root, '#quota = "100GB"', 'quota = "50GB"')
    machine.systemctl("reload", UNIT)
    assert '"quota_bytes": 50000000000' in machine.run("s3-orchestrator", "usage", "--json")
    good = (service.root / CONFIG).read_text()
    edit(service.root, "[s3]\n", "[s3]\nlisen = 1\n")
    code, _ = machine.run("systemctl", "reload", UNIT, check=False)
    assert code != 0 and until(lambda: "lisen" in machine.log(UNIT), 10), machine.log(UNIT)
    (service.root / CONFIG).write_text(good)
    assert machine.shows(UNIT, "ActiveState", "MainPID") == ("active", str(service.pid))
    has_what_was_stored(service)


def is_watched(machine):
    """A node that hangs is started anew."""
    drop_in(machine, "watchdog.conf", "[Service]\nWatchdogSec=4\nTimeoutAbortSec=5\n")
    service = begun(machine, "restart")
    signs = lambda: int(machine.shows(UNIT, "WatchdogTimestampMonotonic"))  # noqa: E731
    first = signs()
    assert until(lambda: signs() > first, 20), "it gives no sign of life"
    machine.systemctl("kill", "--signal=SIGSTOP", UNIT)
    anew = lambda: machine.shows(UNIT, "NRestarts", "ActiveState") == ("1", "active")  # noqa: E731
    assert until(anew), machine.log(UNIT)
    assert "watchdog" in machine.log(UNIT).lower()
    has_what_was_stored(Served(machine))


def is_mounted(machine):
    """As the README has it: seen by others than the service."""
    if not machine.root.has_fuse:
        return print("THERE IS NO /dev/fuse: the mount is not tried")
    drop_in(machine, "mounts.conf", (machine.root / DROP_IN).read_text())
    service = begun(machine, "restart")
    machine.run("install", "-d", "-o", "s3-orchestrator", MOUNT)
    machine.run("s3-orchestrator", "mount", BUCKET, MOUNT, "-o", "rw,allow_other")
    assert machine.run("cat", f"{MOUNT}/kept.txt") == "kept"
    machine.run("sh", "-c", f"echo made > {MOUNT}/made.txt && cp {MOUNT}/made.txt {MOUNT}/copied.txt")
    assert machine.run("cat", f"{MOUNT}/copied.txt") == "made\n"
    has_what_was_stored(service)
    machine.systemctl("stop", UNIT)
    assert "kept.txt" not in machine.run("ls", MOUNT)
    shutil.rmtree(machine.root / DROP_INS)
    machine.systemctl("daemon-reload")


def test_the_unit_under_systemd(machine, deb):
    root = machine.root
    inside = root.give(deb)
    machine.run("dpkg", "-i", inside)
    is_installed_and_off(machine)
    configure(root)
    service = begun(machine, "enable", "--now")
    is_used(service)
    is_confined(service)
    says_what_a_mount_needs(machine)
    is_reloaded(service)
    is_watched(machine)
    is_mounted(machine)

    before = begun(machine, "start")
    machine.run("dpkg", "--force-confold", "-i", later_deb(root, deb))
    after = Served(machine)
    assert before.pid != after.pid, "an upgrade does not start the new one"
    has_what_was_stored(after)

    machine.systemctl("stop", UNIT)
    assert machine.shows(UNIT, "ActiveState", "Result", "ExecMainStatus") == ("inactive", "success", "0")
    pid = begun(machine, "start").pid
    machine.run("dpkg", "-r", "s3-orchestrator")
    assert not os.path.exists(root / f"usr/lib/systemd/system/{UNIT}")
    assert machine.run("test", "-e", f"/proc/{pid}", check=False)[0] != 0, "removed, and runs"
    said = machine.run("dpkg", "-P", "s3-orchestrator")
    assert f"{DATA} is kept" in said, said
