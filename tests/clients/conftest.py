"""What every suite here starts with: a node for the module, a clean home for each client."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from guide import ACCESS_KEY  # noqa: E402
from node import Node  # noqa: E402
from receiver import Receiver  # noqa: E402
from shell import Shell  # noqa: E402

# The node is on loopback: nothing of the machine's own settings may stand between.
for name in list(os.environ):
    if name.startswith("AWS_") or name.lower().endswith("_proxy") or name.startswith("RCLONE_"):
        del os.environ[name]
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def running(path, **options):
    node = Node(path, **options).start()
    try:
        yield node
    finally:
        node.stop()
        # What large files leave would add up over the modules.
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    yield from running(tmp_path_factory.mktemp("node"))


@pytest.fixture(scope="module")
def open_node(tmp_path_factory):
    """A node whose bucket lets everybody read and write."""
    yield from running(tmp_path_factory.mktemp("open"), anonymous=("read", "write"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def shell(node, home, tmp_path):
    """A shell in an empty directory, whose home has what the guide's setup left there."""
    yield Shell(node, home, tmp_path)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.fixture(scope="module")
def s3(node):
    from s3client import client

    return client(node, ACCESS_KEY, node.secret)


@pytest.fixture(scope="module")
def raw(node):
    from raw import Raw

    return Raw(node)


@pytest.fixture
def receiver():
    """A server that takes what the node sends out."""
    receiver = Receiver()
    yield receiver
    receiver.close()
