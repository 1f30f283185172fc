"""HTTP/2 in bad hands: floods, half frames, windows that never open. The node stays small, and serves the others."""

import os
import random
import shutil
import struct
import threading
import time

import pytest

import frames
from frames import Connection, frame, settings
from guide import BUCKET
from node import Node
from pki import Authority, tls
from shell import noise
from test_tls import curl, s3_of

if shutil.which("openssl") is None or shutil.which("curl") is None:
    pytest.skip("OPENSSL OR CURL IS NOT INSTALLED: HTTP/2 is not tested", allow_module_level=True)

LIMITS = 'idle_timeout = "2s"\nbody_timeout = "2s"\n'
#: What all of it together may leave behind.
GROWTH_KIB = 96 << 10
PATH = f"/{BUCKET}/large"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def node(tmp_path_factory, authority):
    certificate, key = authority.issue("server", 4001)
    node = Node(tmp_path_factory.mktemp("node"), anonymous=("read",), s3=LIMITS + tls(certificate, key)).start()
    s3_of(node, authority).put_object(Bucket=BUCKET, Key="large", Body=noise(4_000_000, "large"))
    yield node
    node.stop()
    assert "panic" not in node.log.read_text()


def resident_kib(node):
    text = open(f"/proc/{node.process.pid}/status").read()
    return int(text.split("VmRSS:")[1].split()[0])


@pytest.fixture(autouse=True)
def stays_small_and_serves(node, authority):
    """Around each test: somebody else asks all the time, and memory is measured."""
    before, stop, failed = resident_kib(node), threading.Event(), []
    url = f"{node.endpoint}{PATH}"

    def ask():
        while not stop.wait(0.1):
            done = curl(node, authority, "--http2", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-r", "0-999", url)
            failed.extend([(done.stdout, done.stderr)] if done.stdout != b"206" else [])

    other = threading.Thread(target=ask)
    other.start()
    yield
    stop.set()
    other.join()
    assert not failed, failed[:3]
    assert resident_kib(node) - before < GROWTH_KIB, (before, resident_kib(node))
    assert node.process.poll() is None


@pytest.fixture
def connect(node, authority):
    made = []

    def connect(hello=settings()):
        made.append(Connection(node, authority, hello))
        return made[-1]

    yield connect
    for connection in made:
        connection.close()


def test_a_request_as_it_should_be(connect):
    connection = connect()
    stream, head = connection.head("GET", PATH, [("range", "bytes=0-9")])
    connection.send(head)
    got = connection.frames(until=lambda kind, flags, at, _: at == stream and flags & frames.END_STREAM)
    assert b"".join(payload for kind, _, at, payload in got if (kind, at) == (frames.DATA, stream)) == noise(4_000_000, "large")[:10]


def test_streams_that_are_reset_at_once_cost_the_connection(connect):
    connection, sent = connect(), 0
    while sent < 50_000 and not connection.closed:
        for _ in range(100):
            stream, head = connection.head("GET", PATH)
            connection.send(head + frame(frames.RST_STREAM, 0, stream, struct.pack(">I", frames.CANCEL)))
            sent += 1
        connection.take(0.001)
    assert connection.ended(10) and sent < 50_000


def test_more_streams_than_allowed_are_refused_one_by_one(connect):
    connection = connect()
    heads = [connection.head("PUT", f"/{BUCKET}/x{n}", [("content-length", "10")], end=False)[1] for n in range(300)]
    connection.send(b"".join(heads))
    refused = []
    connection.frames(10, lambda kind, *_: kind == frames.RST_STREAM and refused.append(kind) or len(refused) >= 200)
    assert len(refused) >= 200 or connection.closed, len(refused)


@pytest.mark.parametrize("flags", [0, frames.END_STREAM])
def test_heads_that_never_end_are_given_up(connect, flags):
    connection, sent = connect(), 0
    stream, _ = connection.head("GET", PATH)
    connection.send(frame(frames.HEADERS, flags, stream, frames.block([(":method", "GET")])))
    piece = frames.block([("x-flood", "y" * 100)])
    while sent < 200_000 and connection.send(frame(frames.CONTINUATION, 0, stream, piece) * 100):
        sent += 100
    assert connection.ended(5) and sent < 200_000


def test_empty_continuations_are_given_up(connect):
    connection, sent = connect(), 0
    stream, _ = connection.head("GET", PATH)
    connection.send(frame(frames.HEADERS, 0, stream, b""))
    while sent < 200_000 and connection.send(frame(frames.CONTINUATION, 0, stream) * 1000):
        sent += 1000
    # A frame without anything in it moves nothing: the connection counts as idle.
    assert connection.ended(10)


def test_a_head_without_its_end_is_an_idle_connection(connect):
    connection = connect()
    stream, _ = connection.head("GET", PATH)
    connection.send(frame(frames.HEADERS, frames.END_STREAM, stream, frames.block([(":method", "GET")])))
    assert connection.ended(10)


def test_large_heads_are_refused(connect):
    connection = connect()
    stream, head = connection.head("GET", PATH, [(f"x-{n}", "y" * 1000) for n in range(15)])
    assert len(head) < 1 << 14
    connection.send(head)
    more, second = connection.head("GET", PATH)
    connection.send(frame(frames.HEADERS, frames.END_STREAM, more, frames.block([(":method", "GET")])))
    for _ in range(30):
        connection.send(frame(frames.CONTINUATION, 0, more, frames.block([("x-large", "z" * 8000)])))
    connection.send(frame(frames.CONTINUATION, frames.END_HEADERS, more, b""))
    got = connection.frames(5, lambda kind, _, at, __: kind == frames.GOAWAY or (kind == frames.RST_STREAM and at == more))
    refused = [kind for kind, _, at, _ in got if at == more or kind == frames.GOAWAY]
    assert refused or connection.closed, got


@pytest.mark.parametrize("flood", [
    frame(frames.PING, payload=b"12345678"),
    settings(initial_window=1000),
    frame(frames.SETTINGS),
    frame(frames.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)),
    frame(0xF7, 0, 0, b"unknown"),
], ids=["ping", "settings", "empty settings", "window", "unknown"])
def test_floods_of_small_frames_take_no_memory(connect, flood):
    """None of the answers is read: who does not take them is not read from any more."""
    connection = connect()
    connection.socket.settimeout(3)
    for _ in range(300):
        if not connection.send(flood * 1000):
            break


def test_a_window_that_never_opens_is_a_slow_reader(connect):
    connection = connect(settings(initial_window=0))
    for _ in range(50):
        connection.send(connection.head("GET", PATH)[1])
    assert connection.ended(15), "streams without a window hold their places for ever"


def test_a_reader_who_takes_a_byte_at_a_time_is_a_slow_reader(connect):
    connection = connect(settings(initial_window=1))
    stream, head = connection.head("GET", PATH)
    connection.send(head)
    end = time.monotonic() + 20
    while not connection.closed and time.monotonic() < end:
        connection.send(frame(frames.WINDOW_UPDATE, 0, stream, struct.pack(">I", 1)))
        connection.take(0.2)
    assert connection.closed


def test_a_body_that_does_not_come_ends_its_stream(connect, node):
    from raw import Raw

    raw, connection = Raw(node), connect()
    headers = {"host": node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    signed, _ = raw.authorized("PUT", f"/{BUCKET}/slow", "", headers)
    more = [(name, value) for name, value in signed.items() if name != "host"] + [("content-length", "100000")]
    stream, head = connection.head("PUT", f"/{BUCKET}/slow", more, end=False)
    connection.send(head)
    began, answered = time.monotonic(), []
    while not answered and not connection.closed and time.monotonic() - began < 20:
        connection.send(frame(frames.DATA, 0, stream, b"x"))
        answered = [f for f in connection.frames(0.2) if f[2] == stream and f[0] in (frames.HEADERS, frames.RST_STREAM)]
    assert 1 < time.monotonic() - began < 15, "a slow body has its time, and no more"


def test_nonsense_ends_its_connection_and_nothing_else(connect):
    chance = random.Random(int(os.environ.get("TESTKIT_SEED", "1")))
    for _ in range(150):
        connection = connect()
        for _ in range(chance.randrange(1, 20)):
            payload = chance.randbytes(chance.choice((0, 1, 4, 5, 6, 8, 100, 5000)))
            connection.send(frame(chance.randrange(12), chance.randrange(256), chance.choice((0, 1, 2, 3, 7)), payload))
        connection.close()
