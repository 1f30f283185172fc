"""The unit, as systemd reads it, and the completions, as shells read them."""

import re
import shutil
import subprocess

import pytest

from root import TIMEOUT

UNIT = "s3-orchestrator.service"
# What `systemd-analyze security` may give at most, from 0 (safe) to 10.
EXPOSURE = 1.8
WITH_MOUNTS = 3.8


@pytest.fixture
def installed(root, deb):
    root.run("dpkg", "-i", root.give(deb))
    return root


def exposure(root):
    said = root.run("systemd-analyze", "security", "--offline=true", "--no-pager", UNIT)
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said)[1])


def test_systemd_takes_the_unit_and_finds_it_safe(installed):
    said = installed.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}")
    assert "s3-orchestrator" not in said, said
    assert exposure(installed) <= EXPOSURE
    drop_ins = installed / f"/etc/systemd/system/{UNIT}.d"
    drop_ins.mkdir()
    (drop_ins / "mounts.conf").symlink_to("/usr/share/s3-orchestrator/mounts.conf")
    said = installed.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{UNIT}")
    assert "s3-orchestrator" not in said, said
    assert exposure(installed) <= WITH_MOUNTS


def test_a_shell_completes_commands(installed):
    script = (
        ". /usr/share/bash-completion/completions/s3-orchestrator; COMP_WORDS=(s3-orchestrator cred); COMP_CWORD=1;"
        " _s3__orchestrator s3-orchestrator cred s3-orchestrator; echo ${COMPREPLY[@]}"
    )
    assert installed.run("bash", "-c", script).split() == ["credentials"]
    for shell, name in (("zsh", "zsh/vendor-completions/_s3-orchestrator"),
                        ("fish", "fish/vendor_completions.d/s3-orchestrator.fish")):
        if shutil.which(shell):
            file = installed / f"/usr/share/{name}"
            subprocess.run([shell, "-n", file], check=True, timeout=TIMEOUT)
