"""Each key of the configuration, and the test that shows what it does. A key without one fails here.

What a running node can change is shown by the changes of test_reload.py; the keys of a start are here.
"""

import base64
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from guide import ACCESS_KEY, BUCKET
from node import BINARY, Node
from raw import Raw
from receiver import until
from settings import tables
from test_observed import half_a_put
from world import Configured, bucket

TESTS = Path(__file__).parents[1]
HERE = "clients/test_keys.py"
OBSERVED, RELOAD = "clients/test_observed.py", "clients/test_reload.py"

#: Where what test_reload.py changes is shown by another test.
SHOWN = {
    ("the top level", "data_dir"): "node/reload.rs a_file_that_has_lost_its_data_dir_is_not_taken_for_a_node_that_is_not_there",
    ("the top level", "durability"): f"{HERE} test_what_survives_the_process_only_is_not_synced",
    ("[s3]", "listen"): "node/reload.rs what_needs_a_start_is_named_until_it_has_one",
    ("[s3]", "max_buffer_memory"): f"{HERE} test_bodies_under_way_share_their_memory",
    ("[s3]", "max_requests_in_flight"): f"{HERE} test_requests_in_flight_are_limited",
    ("[s3]", "shutdown_grace"): "node/cli.rs idle_connections_do_not_hold_up_the_end_and_half_requests_do_so_for_a_bounded_time",
    ("[[backends]]", "name"): "node/reload_backends.rs a_disk_and_a_provider_come_under_load_and_take_part_at_once",
    ("[[backends]]", "kind"): "node/reload_backends.rs a_disk_and_a_provider_come_under_load_and_take_part_at_once",
    ("[[backends]]", "path"): "node/reload_backends.rs what_goes_or_moves_needs_a_start_and_works_until_then",
    ("[[backends]]", "max_copy_calls"): f"{HERE} test_copies_make_so_many_calls_a_second",
    ("[[backends]]", "monthly_egress"): f"{HERE} test_a_month_of_reads_ends",
    ("[[backends]]", "endpoint"): f"{HERE} test_a_provider_is_called_as_it_is_described",
    ("[[backends]]", "region"): f"{HERE} test_a_provider_is_called_as_it_is_described",
    ("[[backends]]", "bucket"): f"{HERE} test_a_provider_is_called_as_it_is_described",
    ("[[backends]]", "path_style"): f"{HERE} test_a_provider_is_called_as_it_is_described",
    ("[[backends]]", "stall_timeout"): f"{HERE} test_a_provider_that_says_nothing_has_failed",
    ("[[backends]]", "layout"): f"{HERE} test_names_at_a_provider_and_what_it_lacks",
    ("[[backends]]", "lacks"): f"{HERE} test_names_at_a_provider_and_what_it_lacks",
    ("[admin]", "listen"): f"{OBSERVED} test_health_is_told_to_whoever_asks",
    ("[log]", "format"): f"{HERE} test_lines_for_people_or_for_machines",
    ("[log]", "audit_file"): f"{OBSERVED} test_the_audit_log_has_its_own_file_and_follows_when_it_is_moved",
    ("[telemetry]", "otlp_endpoint"): f"{OBSERVED} test_a_request_goes_on_with_the_trace_of_its_client",
    ("[telemetry]", "sample_ratio"): f"{OBSERVED} test_a_ratio_of_none_sends_only_what_clients_sample",
    ("[[webhooks]]", "timeout"): "clients/test_webhooks.py test_a_receiver_that_fails_is_told_again_in_the_same_order",
    ("[[webhooks]]", "ca"): f"{HERE} test_a_receiver_shows_a_certificate_of_the_right_authority",
    ("[scrub]", "rate"): f"{HERE} test_verifying_has_its_rate_and_spares_providers",
    ("[scrub]", "providers"): f"{HERE} test_verifying_has_its_rate_and_spares_providers",
    ("[snapshots]", "backends"): f"{HERE} test_snapshots_go_where_they_should_and_the_oldest_go_away",
    ("[snapshots]", "every"): f"{HERE} test_snapshots_go_where_they_should_and_the_oldest_go_away",
    ("[snapshots]", "keep"): f"{HERE} test_snapshots_go_where_they_should_and_the_oldest_go_away",
}


def changed_under_load():
    """The changes of test_reload.py, as it registers them."""
    text = (TESTS / RELOAD).read_text()
    found = {}
    for title, keys, function in re.findall(r'^@change\("([^"]+)", (.*)\)\ndef (\w+)', text, re.MULTILINE):
        found |= {(title, key): f"{RELOAD} {function}" for key in re.findall(r'"(\w+)"', keys)}
    return found


def test_every_key_has_a_test_that_shows_what_it_does():
    shown = changed_under_load() | SHOWN
    wanted = {(title, key) for title, keys in tables().items() for key in keys}
    assert wanted == set(shown), (wanted - set(shown), set(shown) - wanted)
    for (title, key), where in shown.items():
        file, name = where.split()
        assert re.search(rf"\b(def|fn) {name}\(", (TESTS / file).read_text()), f"{key} of {title}: there is no {where}"


@pytest.fixture
def started(tmp_path):
    """Nodes by their settings; what they are given more is added to a plain one."""
    nodes = []

    def start(name="node", **settings):
        node = Configured(tmp_path / name)
        node.settings = {
            "data_dir": "data",
            "s3": {"listen": "127.0.0.1:0"},
            "buckets": [bucket(BUCKET, ACCESS_KEY, node.secret)],
        } | settings
        nodes.append(node.start())
        return node

    yield start
    for node in reversed(nodes):
        if node.process.poll() is None:
            node.stop()


def provider(far, **more):
    return {"name": "far", "kind": "s3", "endpoint": far.endpoint, "bucket": BUCKET, "path_style": True,
            "access_key_id": ACCESS_KEY, "secret_access_key": far.secret} | more


def disk(tmp_path, name="disk"):
    (tmp_path / name).mkdir()
    return {"name": name, "kind": "disk", "path": str(tmp_path / name)}


LOCAL = {"name": "local", "kind": "embedded"}


def test_what_survives_the_process_only_is_not_synced(started):
    if shutil.which("strace") is None:
        pytest.skip("STRACE IS NOT INSTALLED: syncs are not counted")

    def syncs(name, **settings):
        node = started(name, **settings)
        trace = node.home / "trace"
        watch = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,sync_file_range", "-o", trace, "-p", str(node.process.pid)],
                                 stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        for n in range(5):
            assert Raw(node).send("PUT", f"k{n}", body=b"x" * 50_000).status == 200
        watch.send_signal(signal.SIGINT)
        watch.wait(20)
        return len(re.findall(r"f(?:data)?sync\(", trace.read_text()))

    assert syncs("safe") >= 5
    assert syncs("fast", durability="process-crash") < 5


def test_bodies_under_way_share_their_memory(started):
    node = started(s3={"listen": "127.0.0.1:0", "max_buffer_memory": "8MiB"})
    held = [half_a_put(node, 10_000_000) for _ in range(6)]
    assert Raw(node).send("PUT", "one-more", body=b"x" * 2_000_000).outcome == (503, "SlowDown")
    for line in held:
        line.close()
    assert until(lambda: Raw(node).send("PUT", "one-more", body=b"x" * 2_000_000).status == 200)


def test_requests_in_flight_are_limited(started):
    node = started(s3={"listen": "127.0.0.1:0", "max_requests_in_flight": 2})
    held = [half_a_put(node), half_a_put(node)]
    assert Raw(node).send("GET", "x").outcome == (503, "SlowDown")
    held.pop().close()
    assert until(lambda: Raw(node).send("GET", "x").status == 404)


class Listening(http.server.BaseHTTPRequestHandler):
    """A provider that remembers how it was called."""

    def do_GET(self):
        self.server.calls.append((self.path, self.headers["host"], self.headers["authorization"]))
        self.send_response(403)
        self.send_header("content-length", "0")
        self.end_headers()

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def listening():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening)
    server.calls, server.daemon_threads = [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def probe(home, **section):
    node = Configured(home)
    backend = {"name": "far", "kind": "s3", "bucket": "theirs", "access_key_id": "AKID_AT_FAR", "secret_access_key": "secret-at-far"} | section
    node.settings = {"buckets": [bucket(BUCKET, ACCESS_KEY, "a-secret-of-ours")], "backends": [backend]}
    node.write_config()
    return subprocess.run([BINARY, "probe", "far", "--config", node.config], capture_output=True, text=True, timeout=60)


def test_a_provider_is_called_as_it_is_described(tmp_path, listening):
    port = listening.server_port
    probe(tmp_path / "a", endpoint=f"http://127.0.0.1:{port}", path_style=True, region="eu-test-1")
    assert listening.calls
    for path, host, signed in listening.calls:
        assert path.startswith("/theirs") and host == f"127.0.0.1:{port}"
        assert "Credential=AKID_AT_FAR/" in signed and "/eu-test-1/s3/aws4_request" in signed
    listening.calls.clear()
    # Without path_style the bucket is part of the name; every name below localhost is this machine.
    probe(tmp_path / "b", endpoint=f"http://localhost:{port}")
    for path, host, signed in listening.calls:
        assert not path.startswith("/theirs") and host == f"theirs.localhost:{port}"
        assert "/us-east-1/s3/aws4_request" in signed


def test_a_provider_that_says_nothing_has_failed(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        done = probe(tmp_path / "a", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", path_style=True, stall_timeout="500ms")
    assert done.returncode == 1, done
    assert time.monotonic() - began < 25, "three attempts of half a second each, for each call that is tried"


def test_names_at_a_provider_and_what_it_lacks(started):
    far = started("far")
    readable = started("readable", backends=[provider(far)])
    assert Raw(readable).send("PUT", "a name", body=b"x" * 50_000).status == 200
    listed = lambda: Raw(far).send("GET", None, query={"list-type": 2}).texts("Contents/Key")  # noqa: E731
    assert [name.startswith(f"{BUCKET}/a name.") for name in listed()] == [True]
    readable.stop()
    opaque = started("opaque", backends=[provider(far, layout="opaque", lacks=["batch-delete", "list-v2"])])
    for n in range(5):
        assert Raw(opaque).send("PUT", f"secret-name-{n}", body=b"x" * 50_000).status == 200
    assert len(listed()) == 6 and not any("secret-name" in name for name in listed())
    for n in range(5):
        Raw(opaque).send("DELETE", f"secret-name-{n}")
    assert until(lambda: len(listed()) == 1)
    opaque.ask("reconcile", "far", "--dry-run")
    operations = [json.loads(line).get("operation") for line in far.log.read_text().splitlines() if '"operation"' in line]
    assert "DeleteObject" in operations and "DeleteObjects" not in operations
    assert "ListObjects" in operations, set(operations)


def test_copies_make_so_many_calls_a_second(started, tmp_path):
    far = started("far")
    near = disk(tmp_path)
    node = started(backends=[near, provider(far, max_copy_calls=3)])
    for n in range(8):
        assert Raw(node).send("PUT", f"k{n}", body=b"x" * 20_000).status == 200
    node.settings["buckets"][0]["copies"] = 2
    node.write_config()
    began = time.monotonic()
    node.ask("reload")
    there = lambda: len(Raw(far).send("GET", None, query={"list-type": 2}).texts("Contents/Key"))  # noqa: E731
    assert until(lambda: there() == 8)
    assert time.monotonic() - began > 1, "eight calls, three a second"


def test_files_are_deleted_so_many_a_second(started, tmp_path):
    node = started(backends=[disk(tmp_path) | {"max_copy_calls": 5}])
    files = lambda: [path for path in (tmp_path / "disk" / "blobs").rglob("*") if path.is_file()]  # noqa: E731
    for n in range(20):
        assert Raw(node).send("PUT", f"k{n}", body=b"x" * 20_000).status == 200
    assert len(files()) == 20
    began = time.monotonic()
    for n in range(20):
        assert Raw(node).send("DELETE", f"k{n}").status == 204
    assert until(lambda: not files(), 30)
    assert time.monotonic() - began > 3, "twenty files, five a second"


def test_a_month_of_reads_ends(started, tmp_path):
    """The copy far away comes first, until what may be read there is used up."""
    far = started("far")
    node = started(backends=[provider(far, monthly_egress="100KB")])
    assert Raw(node).send("PUT", "a", body=b"x" * 90_000).status == 200
    assert Raw(node).send("GET", "a").status == 200
    assert Raw(node).send("PUT", "b", body=b"x" * 90_000).status == 200
    reads = lambda: sum("GetObject" in line for line in far.log.read_text().splitlines())  # noqa: E731
    before = reads()
    # It is the only copy there is: a client gets it all the same, work that nobody waits for does not.
    assert Raw(node).send("GET", "a").status == 200
    scrubbed = node.ask("scrub", "far", "--now", code=1)["tally"]
    assert (scrubbed["verified"], scrubbed["unread"]) == (0, 2), scrubbed
    assert reads() - before <= 1


def test_lines_for_people_or_for_machines(started):
    machines, people = started("machines"), started("people", log={"format": "text"})
    for node in (machines, people):
        Raw(node).send("GET", "x")
        node.stop()
    lines = machines.log.read_text().splitlines()
    assert lines and all(json.loads(line)["timestamp"] for line in lines)
    assert people.log.read_text() and not any(line.startswith("{") for line in people.log.read_text().splitlines())


def test_a_receiver_shows_a_certificate_of_the_right_authority(started, tmp_path):
    import ssl

    from pki import Authority
    from receiver import Receiver

    if shutil.which("openssl") is None:
        pytest.skip("OPENSSL IS NOT INSTALLED: webhooks over TLS are not tested")
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs", "strangers")
    certificate, key = ours.issue("receiver", 6001)
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    hook = {"url": receiver.url("/hook").replace("http://", "https://"), "secret": "for-tests-only", "ca": str(theirs.certificate)}
    try:
        node = started(webhooks=[hook])
        Raw(node).send("PUT", "a", body=b"x")
        assert until(lambda: "not delivered" in node.log.read_text(), 20)
        assert not receiver.deliveries
        hook["ca"] = str(ours.certificate)
        node.write_config()
        node.ask("reload")
        assert until(lambda: receiver.told == ["ObjectCreated:Put a"], 30)
    finally:
        receiver.close()


def test_verifying_has_its_rate_and_spares_providers(started, tmp_path):
    far = started("far")
    node = started(
        buckets=[bucket(BUCKET, ACCESS_KEY, "a-secret-of-ours", copies=2, acknowledge="all")],
        backends=[disk(tmp_path), provider(far)],
        scrub={"period": "1s", "rate": "100KB"},
    )
    node.secret = "a-secret-of-ours"
    for n in range(2):
        assert Raw(node).send("PUT", f"k{n}", body=b"x" * 150_000).status == 200
    done = lambda: next(job for job in node.ask("jobs")["jobs"] if job["name"] == "scrub")["done_since_start"]  # noqa: E731
    reads = lambda: sum("GetObject" in line for line in far.log.read_text().splitlines())  # noqa: E731
    time.sleep(1.2)
    began = time.monotonic()
    node.settings["scrub"] = {"period": "2s", "rate": "100KB"}
    node.write_config()
    node.ask("reload")
    time.sleep(1.2)
    before = done()
    node.settings["scrub"] = {"period": "1s", "rate": "100KB"}
    node.write_config()
    node.ask("reload")
    began = time.monotonic()
    assert until(lambda: done() >= before + 2, 30)
    assert time.monotonic() - began > 1, "300 KB at 100 KB a second"
    assert reads() == 0, "providers were not asked for"
    node.settings["scrub"] = {"period": "1s", "providers": True}
    node.write_config()
    node.ask("reload")
    assert until(lambda: reads() >= 2, 30)


def test_snapshots_go_where_they_should_and_the_oldest_go_away(started, tmp_path):
    one, two = disk(tmp_path, "one"), disk(tmp_path, "two")
    node = started(backends=[one, two], snapshots={"backends": ["two"], "every": "1s", "keep": 2})
    listed = lambda: node.ask("snapshot", "--list")["snapshots"]  # noqa: E731
    ids = set()

    def seen():
        ids.update(snapshot["id"] for snapshot in listed())
        return len(ids)

    assert until(lambda: seen() >= 4, 60)
    assert until(lambda: len(listed()) <= 2, 20)
    assert {snapshot["backend"] for snapshot in listed()} == {"two"}
