"""What is in the packages: the same in both, and nothing that the tools of the distributions find wrong."""

import os
import re
import shutil
import subprocess

import pytest

from conftest import PROJECT

# Where the two systems have another place for the same.
PLACES = {
    "/usr/share/zsh/site-functions/": "/usr/share/zsh/vendor-completions/",
    "/usr/share/licenses/s3-orchestrator/LICENSE": "/usr/share/doc/s3-orchestrator/copyright",
}
ONLY_IN_DEB = {
    "/usr/share/doc/s3-orchestrator/changelog.Debian.gz",
    "/usr/share/lintian/overrides/s3-orchestrator",
}


def output(*command, codes=(0,), **environment):
    env = os.environ | environment
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def files_of_deb(deb):
    lines = output("dpkg-deb", "-c", deb).splitlines()
    names = (line.split(maxsplit=5)[5].split(" -> ")[0] for line in lines if not line.startswith("d"))
    return {name.removeprefix(".") for name in names}


def files_of_rpm(rpm):
    names = output("rpm", "-qpl", rpm).splitlines()
    for there, here in PLACES.items():
        names = [name.replace(there, here) for name in names]
    return set(names)


def test_both_packages_hold_the_same(deb, rpm):
    in_deb = {re.sub(r"(/man\d/.*)\.gz$", r"\1", name) for name in files_of_deb(deb)}
    assert files_of_rpm(rpm) == in_deb - ONLY_IN_DEB
    for name in ("/usr/bin/s3-orchestrator", "/usr/share/man/man1/s3-orchestrator-serve.1"):
        assert name in in_deb


def test_the_configuration_is_the_administrators(deb, rpm):
    assert output("dpkg-deb", "-I", deb, "conffiles").split() == ["/etc/s3-orchestrator/config.toml"]
    flags = output("rpm", "-qp", "--queryformat", r"[%{FILENAMES} %{FILEFLAGS:fflags}\n]", rpm)
    assert "/etc/s3-orchestrator/config.toml cn" in flags.splitlines()


def test_lintian_finds_nothing(deb, tmp_path):
    if shutil.which("lintian") is None:
        pytest.skip("LINTIAN IS NOT INSTALLED: the deb is not checked")
    command = ("lintian", "--allow-root", "--fail-on", "error,warning", deb)
    # It leaves files of its own there.
    said = output(*command, codes=(0, 2), TMPDIR=str(tmp_path))
    assert not said, said


def test_rpmlint_finds_nothing(rpm):
    if shutil.which("rpmlint") is None:
        pytest.skip("RPMLINT IS NOT INSTALLED: the rpm is not checked")
    said = output("rpmlint", "--config", PROJECT / "packaging/rpm/rpmlint.toml", rpm, codes=(0, 64))
    assert re.search(r" 0 errors, 0 warnings", said), said
