"""Both packages, made of the binary that is there, and clean roots to install them into."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from root import Root

PROJECT = Path(__file__).resolve().parents[2]
CLEAN_ROOT = os.environ.get("S3O_CLEAN_ROOT", "")

for name in list(os.environ):
    if name.startswith("AWS_") or name.lower().endswith("_proxy"):
        del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def made(kind, *options):
    """Packed fast: nobody downloads it."""
    script = [PROJECT / "scripts/package.sh", kind, *options]
    environment = os.environ | {"S3O_NO_BUILD": "1"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="session")
def binary():
    """What the packages are made of."""
    return Path(os.environ.get("S3O_BINARY") or Path(os.environ["CARGO_TARGET_DIR"]) / "release/s3-orchestrator")


@pytest.fixture(scope="session")
def deb():
    return made("deb", "--fast")


@pytest.fixture(scope="session")
def rpm():
    if shutil.which("rpm") is None:
        pytest.skip("RPM IS NOT INSTALLED: the rpm is not tested")
    return made("rpm", "--payload-compress", "none")


@pytest.fixture(scope="session")
def later_rpm(rpm):
    return made("rpm", "--payload-compress", "none", "--set-metadata", 'release = "2"')


@pytest.fixture
def root(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("NOT ROOT: packages are not installed")
    if not os.path.exists(CLEAN_ROOT):
        pytest.skip("THERE IS NO CLEAN ROOT (scripts/clean-root.sh): packages are not installed")
    root = Root(tmp_path / "root", CLEAN_ROOT)
    yield root
    root.remove()
