"""A package's life in a clean root: installed, configured, started from the installed files as the service's user, used,
reloaded, upgraded, removed. What was stored stays."""

import json
import subprocess
import sys
from pathlib import Path

from root import TIMEOUT
from service import Service

AWS = Path(sys.executable).parent / "aws"
CONFIG = "/etc/s3-orchestrator/config.toml"
DATA = "/var/lib/s3-orchestrator"
SECRET = "a-secret-that-the-service-reads"
ROOTS_SECRET = "a-secret-that-root-alone-reads"
BUCKET = "app1-files"
DROP_IN = "/usr/share/s3-orchestrator/mounts.conf"
MOUNT = "/mnt/app1"

MORE = f"""
  [[buckets.credentials]]
  access_key_id = "AKID_BY_SYSTEMD"
  secret_access_key_file = "${{CREDENTIALS_DIRECTORY}}/secret_by-systemd"
"""


def aws(service, *arguments, key="AKID_APP1_WRITER", secret=SECRET, stdin=None):
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(service.root.path),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = [AWS, "--endpoint-url", service.endpoint, *arguments]
    done = subprocess.run(command, env=environment, input=stdin, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def is_installed_and_off(root):
    assert root.about(CONFIG) == "root s3-orchestrator 640"
    assert root.about(DATA) == "s3-orchestrator s3-orchestrator 700"
    assert root.about("/etc/s3-orchestrator/secrets") == "root s3-orchestrator 750"
    enabled = list((root / "/etc/systemd/system").rglob("s3-orchestrator.service"))
    assert not enabled, "the service was enabled"
    code, said = root.run("systemctl", "is-enabled", "s3-orchestrator.service", check=False)
    assert (code, said.strip()) == (1, "disabled"), said
    # Until it is configured it would not start, and says what is missing.
    code, said = Service(root).call("ExecStartPre")
    assert code == 1 and "secrets/app1" in said, said


def configure(root):
    (root / "/etc/s3-orchestrator/secrets/app1").write_text(SECRET)
    root.run("chgrp", "s3-orchestrator", "/etc/s3-orchestrator/secrets/app1")
    root.run("chmod", "640", "/etc/s3-orchestrator/secrets/app1")
    (root / "/etc/s3-orchestrator/secrets/by-systemd").write_text(ROOTS_SECRET)
    root.run("chmod", "600", "/etc/s3-orchestrator/secrets/by-systemd")
    edit(root, '"127.0.0.1:9000"', '"127.0.0.1:0"')
    edit(root, 'secret_access_key_file = "secrets/app1"\n', f'secret_access_key_file = "secrets/app1"\n{MORE}')


def edit(root, old, new):
    file = root / CONFIG
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new, 1))


def is_used(service):
    aws(service, "s3", "cp", "-", f"s3://{BUCKET}/kept.txt", stdin=b"kept")
    listed = aws(service, "s3", "ls", f"s3://{BUCKET}/", key="AKID_BY_SYSTEMD", secret=ROOTS_SECRET)
    assert b"kept.txt" in listed
    has_what_was_stored(service)


def has_what_was_stored(service):
    assert aws(service, "s3", "cp", f"s3://{BUCKET}/kept.txt", "-") == b"kept"


def is_reloaded(service):
    root = service.root
    edit(root, '#quota = "100GB"', 'quota = "50GB"')
    code, said = service.call("ExecReload")
    assert code == 0, said
    service.hear("RELOADING=1")
    service.hear("READY=1")
    usage = json.loads(root.run("s3-orchestrator", "usage", "--json"))
    assert [bucket["quota_bytes"] for bucket in usage["buckets"]] == [50_000_000_000], usage
    good = (root / CONFIG).read_text()
    edit(root, "[s3]\n", "[s3]\nlisen = 1\n")
    code, said = service.call("ExecReload")
    assert code == 1 and "lisen" in said, said
    (root / CONFIG).write_text(good)
    has_what_was_stored(service)


def is_mounted(root):
    """By mount(8)'s helper, as a line of fstab does it, with the drop-in for mounts."""
    if not root.has_fuse:
        return print("THERE IS NO /dev/fuse: the mount is not tried")
    service = Service(root, DROP_IN).start()
    (root / MOUNT).mkdir()
    root.run("chown", "s3-orchestrator:", MOUNT)
    try:
        root.run("mount.s3-orchestrator", BUCKET, MOUNT, "-o", "rw,allow_other")
        assert (root / MOUNT / "kept.txt").read_text() == "kept"
        (root / MOUNT / "made.txt").write_text("in the mount")
        assert aws(service, "s3", "cp", f"s3://{BUCKET}/made.txt", "-") == b"in the mount"
    finally:
        service.stop()
    assert not (root / MOUNT / "kept.txt").exists()


def by_service(root, *steps):
    service = Service(root)
    try:
        service.start()
        for step in steps:
            step(service)
        service.stop()
    finally:
        service.kill()


def later_deb(root, deb):
    """The next version, whose sample has changed too."""
    folder = root / "later"
    subprocess.run(["dpkg-deb", "-R", deb, folder], check=True, timeout=TIMEOUT)
    control = folder / "DEBIAN/control"
    control.write_text(control.read_text().replace("-1\n", "-2\n", 1))
    sample = folder / CONFIG.lstrip("/")
    sample.write_text(sample.read_text() + "\n# What is new.\n")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", folder, root / "later.deb"], check=True, timeout=TIMEOUT)
    return "/later.deb"


def test_the_deb(root, deb):
    inside = root.give(deb)
    said = root.run("dpkg", "-i", inside)
    assert "installed and not started" in said
    is_installed_and_off(root)
    configure(root)
    by_service(root, is_used, is_reloaded)
    is_mounted(root)

    configured = (root / CONFIG).read_text()
    said = root.run("dpkg", "--force-confold", "-i", later_deb(root, deb))
    assert "installed and not started" not in said
    assert (root / CONFIG).read_text() == configured, "an upgrade changed the configuration"
    assert root.about(CONFIG) == "root s3-orchestrator 640"
    assert "What is new" in (root / f"{CONFIG}.dpkg-dist").read_text()
    by_service(root, has_what_was_stored)

    root.run("dpkg", "-r", "s3-orchestrator")
    assert not (root / "/usr/bin/s3-orchestrator").exists()
    assert (root / CONFIG).read_text() == configured, "removal is not purging"
    said = root.run("dpkg", "-P", "s3-orchestrator")
    assert f"{DATA} is kept" in said and "/etc/s3-orchestrator/secrets is kept" in said, said
    assert not (root / CONFIG).exists()
    root.run("dpkg", "-i", inside)
    (root / CONFIG).write_text(configured)
    by_service(root, has_what_was_stored)


def test_the_rpm(root, rpm, later_rpm):
    def run(*arguments):
        command = ["rpm", "--root", root.path, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "installed and not started" in run("-i", "--nodeps", rpm)
    is_installed_and_off(root)
    configure(root)
    by_service(root, is_used, is_reloaded)
    is_mounted(root)

    configured = (root / CONFIG).read_text()
    run("-U", "--nodeps", later_rpm)
    assert (root / CONFIG).read_text() == configured, "an upgrade changed the configuration"
    assert run("-q", "s3-orchestrator", "--queryformat", "%{RELEASE}") == "2"
    by_service(root, has_what_was_stored)

    said = run("-e", "s3-orchestrator")
    assert f"{DATA} is kept" in said, said
    assert not (root / "/usr/bin/s3-orchestrator").exists()
    assert (root / f"{CONFIG}.rpmsave").read_text() == configured
    run("-i", "--nodeps", rpm)
    (root / CONFIG).write_text(configured)
    by_service(root, has_what_was_stored)
