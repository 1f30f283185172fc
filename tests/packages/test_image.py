"""The image of the Containerfile, built and run. There is no registry here: a clean root stands for Debian's image, and for that of
Rust the same with a cargo that hands over the binary which was built already. All else is done as it is written."""

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import threading

import pytest

from conftest import CLEAN_ROOT, PROJECT
from image import AWAY, TIMEOUT, Images
from processes import inner

CONTAINERFILE = PROJECT / "Containerfile"
DEBIAN, RUST = "debian:bookworm-slim", "rust:1.92-bookworm"
KEY, SECRET = "AKID_APP1_WRITER", "a-secret-for-the-image"
CONFIG = f"""data_dir = "/var/lib/s3-orchestrator"
[s3]
listen = "127.0.0.1:0"
[[buckets]]
name = "app1-files"
  [[buckets.credentials]]
  access_key_id = "{KEY}"
  secret_access_key = "{SECRET}"
"""
READY = "s3-orchestrator listening on "
#: Programs of the stand-in for Rust's image. Packages that compile are not installed there.
TOOLS = {
    "apt-get": "exit 0",
    "strip": 'test -x "$1"',
    "cargo": """test "$*" = "build --release --locked --package s3-orchestrator" || exit 2
test -f Cargo.lock && mkdir -p "$CARGO_TARGET_DIR/release" && cp /prebuilt "$CARGO_TARGET_DIR/release/s3-orchestrator\"""",
}


def sources():
    """What the build stage copies, with its place below /src."""
    for names in re.findall(r"^COPY (?!--from)(.+)$", CONTAINERFILE.read_text(), re.MULTILINE):
        *files, place = names.split()
        yield from ((name, name if place == "./" else place) for name in files)


def test_the_build_has_all_that_it_needs(tmp_path):
    """Manifests, lock file, targets, and what is taken in at compile time."""
    ignored = shutil.ignore_patterns("target", "artifacts", "__pycache__")
    for name, place in sources():
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, tmp_path / place, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, tmp_path / place)
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    packages = json.loads(done.stdout)["packages"]
    files = [target["src_path"] for package in packages for target in package["targets"]]
    assert len(packages) > 5 and all(os.path.exists(file) for file in files), files
    for source in tmp_path.rglob("*.rs"):
        for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text()):
            assert (source.parent / name).exists(), f"{source} takes in {name}"


@pytest.fixture
def images(tmp_path):
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("NOT ROOT, OR BUILDAH IS NOT INSTALLED: no image is built")
    if not os.path.exists(CLEAN_ROOT):
        pytest.skip("THERE IS NO CLEAN ROOT (scripts/clean-root.sh): no image is built")
    images = Images(tmp_path)
    yield images
    images.remove()


def stand_ins(images, binary):
    images.make(DEBIAN, "scratch", (CLEAN_ROOT, "/"))
    bundle = images.home / "tools.tar"
    prebuilt = images.home / "prebuilt"
    subprocess.run(["strip", "-o", prebuilt, binary], check=True, timeout=TIMEOUT)
    with tarfile.open(bundle, "w") as tar:
        tar.add(prebuilt, "prebuilt")
        for name, script in TOOLS.items():
            tool = images.home / name
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
            tar.add(tool, f"usr/local/sbin/{name}")
    images.make(RUST, DEBIAN, (bundle, "/"))


def curl(endpoint, *arguments):
    command = ["curl", "--silent", "--show-error", "--fail", "--user", f"{KEY}:{SECRET}", "--aws-sigv4", "aws:amz:us-east-1:s3",
               "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", *arguments, f"{endpoint}/app1-files/kept.txt"]
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done
    return done.stdout


class Running:
    """The node of a container, begun as the image says."""

    def __init__(self, images, container, settings, volumes):
        self.process = images.run(container, *settings["Entrypoint"], *settings["Cmd"], volumes=volumes)
        said = []
        watch = threading.Timer(60, self.process.kill)
        watch.start()
        for line in self.process.stdout:
            said.append(line)
            if line.startswith(READY):
                break
        watch.cancel()
        assert said and said[-1].startswith(READY), "".join(said)
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        self.endpoint = said[-1].removeprefix(READY).strip()
        self.node = inner(self.process.pid, "s3-orchestrator")

    def stop(self):
        os.kill(self.node, signal.SIGTERM)
        assert self.process.wait(60) == 0

    def kill(self):
        if self.process.poll() is None:
            os.kill(self.node or self.process.pid, signal.SIGKILL)
            self.process.wait(60)


def test_the_image_is_built_and_runs(images, binary, tmp_path):
    stand_ins(images, binary)
    built = images.build("s3-orchestrator", PROJECT)
    said = built.stdout + built.stderr
    if built.returncode and AWAY.search(said):
        pytest.skip("DEBIAN'S ARCHIVE IS NOT REACHED: no image is built")
    assert built.returncode == 0, said[-3000:]
    assert "will be ignored" not in said, said[-3000:]

    settings = images.settings("s3-orchestrator")
    assert (settings["User"], settings["StopSignal"]) == ("s3-orchestrator", "SIGTERM")
    assert set(settings["Volumes"]) == {"/var/lib/s3-orchestrator"} and set(settings["ExposedPorts"]) == {"9000/tcp"}
    kind, *health = settings["Healthcheck"]["Test"]
    assert kind == "CMD"

    (tmp_path / "config.toml").write_text(CONFIG)
    os.chown(tmp_path / "config.toml", 10001, 10001)
    (tmp_path / "config.toml").chmod(0o600)
    volumes = [f"{tmp_path / 'config.toml'}:/etc/s3-orchestrator/config.toml:ro"]
    container = images.container("s3-orchestrator")

    def health_code():
        checked = images.run(container, *health, volumes=volumes)
        said = checked.communicate(timeout=TIMEOUT)[0]
        return checked.returncode, said

    assert health_code()[0] != 0, "it is well before it runs"
    for written in (True, False):
        running = Running(images, container, settings, volumes)
        try:
            if written:
                curl(running.endpoint, "--request", "PUT", "--data-binary", "kept")
            assert curl(running.endpoint) == b"kept"
            code, said = health_code()
            assert code == 0, said
            status = open(f"/proc/{running.node}/status").read()
            assert re.search(r"^Uid:\s+10001\s+10001", status, re.MULTILINE), status
            running.stop()
        finally:
            running.kill()
