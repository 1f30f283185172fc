"""The node seen from outside: health, every metric, the dashboard, traces, the audit log's own file."""

import json
import os
import re
import shutil
import signal
import subprocess
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from guide import BUCKET
from node import BINARY, Node
from raw import Raw
from receiver import until

DASHBOARD = Path(__file__).parents[2] / "packaging" / "grafana-dashboard.json"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def watched(tmp_path):
    nodes = []

    def start(more="", **options):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        node = Node(tmp_path / f"node{len(nodes)}", more=f'[admin]\nlisten = "127.0.0.1:{port}"\n{more}', **options)
        node.monitor = f"http://127.0.0.1:{port}"
        nodes.append(node.start())
        return node

    yield start
    for node in nodes:
        if node.process.poll() is None:
            node.stop()


def get(node, path, method="GET"):
    request = urllib.request.Request(node.monitor + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


def scrape(node):
    """Samples as (name, labels, value), and the names of all metrics."""
    status, text, _ = get(node, "/metrics")
    assert status == 200 and text.endswith("# EOF\n"), text[-200:]
    samples = []
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            samples.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
    return samples, set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def total(samples, name, labels):
    found = [value for known, own, value in samples if known == name and labels.items() <= own.items()]
    return sum(found) if found else None


def test_health_is_told_to_whoever_asks(watched):
    node = watched()
    assert get(node, "/health/live")[:2] == (200, "live\n")
    assert get(node, "/health/ready")[:2] == (200, "ready\n")
    assert get(node, "/health/live", "HEAD")[:2] == (200, "")
    assert get(node, "/")[0] == 404 and get(node, "/metrics", "POST")[0] == 405
    assert get(node, "/metrics")[2]["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    # Monitors ask often: they are not in the audit log.
    assert "/health" not in node.log.read_text()


def test_a_node_that_stops_lives_but_is_not_ready(watched):
    node = watched()
    half = half_a_put(node)
    node.process.send_signal(signal.SIGTERM)
    assert until(lambda: get(node, "/health/ready")[0] == 503)
    assert get(node, "/health/ready")[1] == "not ready: stopping\n"
    assert get(node, "/health/live")[0] == 200
    half.close()
    assert node.process.wait(60) == 0


def half_a_put(node, size=100_000):
    """A signed PUT whose body does not come."""
    raw = Raw(node)
    headers = {"host": node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    headers, _ = raw.authorized("PUT", f"/{BUCKET}/half", "", headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = node.host.split(":")
    half = socket.create_connection((host, int(port)), timeout=30)
    half.sendall(f"PUT /{BUCKET}/half HTTP/1.1\r\n{lines}content-length: {size}\r\n\r\n".encode())
    time.sleep(0.3)
    return half


def leave_early(node):
    """Asks for the large object and goes away in the middle of it."""
    raw = Raw(node)
    headers = {"host": node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    headers, _ = raw.authorized("GET", f"/{BUCKET}/large", "", headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = node.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as socket_:
        socket_.sendall(f"GET /{BUCKET}/large HTTP/1.1\r\n{lines}\r\n".encode())
        socket_.recv(1000)


SMALL, LARGE, PART, HALF = 1_000, 30_000_000, 70_000, 100_000


def work(node):
    raw = Raw(node)
    assert raw.send("PUT", "small", body=b"1" * SMALL).status == 200
    for _ in range(2):
        assert raw.send("PUT", "large", body=b"2" * LARGE).status == 200
    assert raw.send("GET", "large").status == 200
    assert raw.send("GET", "missing").status == 404
    upload = raw.send("POST", "parts", query={"uploads": ""}).texts("UploadId")[0]
    assert raw.send("PUT", "parts", query={"partNumber": 1, "uploadId": upload}, body=b"4" * PART).status == 200
    leave_early(node)


UP, POSITIVE, PRESENT = object(), object(), object()
#: Every metric of the node: a new one without a line here fails the test.
METRICS = [
    ("s3o_requests_total", {"operation": "PutObject", "status": "2xx"}, UP),
    ("s3o_requests_total", {"operation": "GetObject", "status": "4xx"}, UP),
    ("s3o_request_seconds_count", {"operation": "GetObject"}, UP),
    ("s3o_request_seconds_sum", {"operation": "GetObject"}, UP),
    ("s3o_request_seconds_bucket", {"operation": "PutObject", "le": "+Inf"}, UP),
    ("s3o_errors_total", {"code": "NoSuchKey"}, UP),
    ("s3o_received_bytes_total", {"operation": "PutObject"}, UP),
    ("s3o_sent_bytes_total", {"operation": "GetObject"}, UP),
    ("s3o_aborted_requests_total", {}, UP),
    ("s3o_requests_in_flight", {}, 1),
    ("s3o_connections", {}, POSITIVE),
    ("s3o_connection_entries_total", {"outcome": "admitted"}, UP),
    ("s3o_commits_total", {}, UP),
    ("s3o_changes_total", {}, UP),
    ("s3o_commit_failures_total", {}, 0),
    ("s3o_batch_commits_count", {}, UP),
    ("s3o_batch_commits_sum", {}, UP),
    ("s3o_batch_commits_bucket", {"le": "1.0"}, UP),
    ("s3o_commit_wait_seconds_count", {}, UP),
    ("s3o_commit_wait_seconds_sum", {}, UP),
    ("s3o_commit_wait_seconds_bucket", {"le": "+Inf"}, UP),
    ("s3o_batch_write_seconds_count", {}, UP),
    ("s3o_batch_write_seconds_sum", {}, UP),
    ("s3o_batch_write_seconds_bucket", {"le": "+Inf"}, UP),
    ("s3o_batch_bytes_total", {}, UP),
    ("s3o_job_items_total", {"job": "cleanup"}, UP),
    ("s3o_job_running", {"job": "cleanup"}, PRESENT),
    ("s3o_job_failing", {"job": "cleanup"}, 0),
    ("s3o_job_last_end_seconds", {"job": "cleanup"}, POSITIVE),
    ("s3o_errors_present", {}, 0),
    ("s3o_warnings_present", {}, PRESENT),
    ("s3o_webhook_events_total", {"webhook": "good"}, UP),
    ("s3o_webhook_failures_total", {"webhook": "bad"}, UP),
    ("s3o_webhook_queue", {"webhook": "good"}, 0),
    ("s3o_webhook_queue", {"webhook": "bad"}, POSITIVE),
    ("s3o_webhook_oldest_seconds", {"webhook": "bad"}, POSITIVE),
    ("s3o_webhook_queue_limit", {}, 100_000),
    ("s3o_ready", {}, 1),
    ("s3o_disk_free_bytes", {}, POSITIVE),
    ("s3o_disk_size_bytes", {}, POSITIVE),
    ("s3o_disk_full", {}, 0),
    ("s3o_cleanup_queue", {}, PRESENT),
    ("s3o_multipart_uploads", {}, 1),
    ("s3o_metadata_block_cache_bytes", {}, POSITIVE),
    ("s3o_metadata_block_cache_capacity_bytes", {}, POSITIVE),
    ("s3o_metadata_log_bytes", {}, POSITIVE),
    ("s3o_metadata_compactions", {}, PRESENT),
    ("s3o_metadata_flushes", {}, PRESENT),
    ("s3o_metadata_write_stopped", {}, 0),
    ("s3o_metadata_background_errors_total", {}, 0),
    ("s3o_metadata_keys", {"table": "objects"}, UP),
    ("s3o_metadata_memtable_bytes", {"table": "objects"}, POSITIVE),
    ("s3o_metadata_files_bytes", {"table": "objects"}, PRESENT),
    ("s3o_metadata_pending_compaction_bytes", {"table": "inline"}, PRESENT),
    ("s3o_bucket_bytes", {"bucket": BUCKET}, SMALL + LARGE + PART),
    ("s3o_bucket_objects", {"bucket": BUCKET}, 2),
    ("s3o_bucket_reserved_bytes", {"bucket": BUCKET}, HALF),
    ("s3o_bucket_quota_bytes", {"bucket": BUCKET}, 1e9),
    ("s3o_backend_bytes", {"backend": "local"}, SMALL + LARGE + PART),
    ("s3o_backend_blobs", {"backend": "local"}, 3),
    ("s3o_backend_reserved_bytes", {"backend": "local"}, HALF),
    ("s3o_backend_awaiting_bytes", {"backend": "local"}, 0),
    ("s3o_backend_quota_bytes", {"backend": "local"}, 1e10),
    ("process_start_time_seconds", {}, POSITIVE),
    ("process_resident_memory_bytes", {}, POSITIVE),
    ("process_open_fds", {}, POSITIVE),
    ("process_max_fds", {}, POSITIVE),
    ("process_cpu_seconds_total", {}, PRESENT),
    ("s3o_build", {"system": "linux"}, 1),
    ("s3o_scrub_verified_copies_total", {}, PRESENT),
    ("s3o_scrub_verified_bytes_total", {}, PRESENT),
    ("s3o_scrub_mismatches_total", {}, PRESENT),
    ("s3o_copies_queue", {"kind": "missing"}, 0),
    ("s3o_copies_queue", {"kind": "excess"}, 0),
    ("s3o_copies_queue", {"kind": "deferred"}, 0),
    ("s3o_backend_answers", {"backend": "local"}, 1),
    ("s3o_backend_active", {"backend": "local"}, 1),
    ("s3o_backend_bad_copies_total", {"backend": "local"}, 0),
    ("s3o_backend_month_calls", {"backend": "local"}, PRESENT),
    ("s3o_backend_month_read_bytes", {"backend": "local"}, PRESENT),
    ("s3o_backend_month_written_bytes", {"backend": "local"}, PRESENT),
    ("s3o_mount_late_notices_total", {}, 0),
]
STAGED = 5_000
#: Those that a mount has. `M` stands for its path.
OF_MOUNTS = [
    ("s3o_mount_requests_total", {"mount": "M", "operation": "lookup", "errno": "OK"}, UP),
    ("s3o_mount_requests_total", {"mount": "M", "operation": "write", "errno": "EOPNOTSUPP"}, UP),
    ("s3o_mount_request_seconds_count", {"mount": "M", "operation": "read"}, UP),
    ("s3o_mount_request_seconds_sum", {"mount": "M", "operation": "write"}, UP),
    ("s3o_mount_request_seconds_bucket", {"mount": "M", "operation": "write", "le": "+Inf"}, UP),
    ("s3o_mount_requests_in_flight", {"mount": "M"}, 0),
    ("s3o_mount_open_handles", {"mount": "M"}, POSITIVE),
    ("s3o_mount_inodes", {"mount": "M"}, POSITIVE),
    ("s3o_mount_staged_files", {"mount": "M"}, 1),
    ("s3o_mount_staged_bytes", {"mount": "M"}, STAGED),
    ("s3o_mount_notices_total", {"mount": "M"}, UP),
    ("s3o_mount_notices_waiting", {"mount": "M"}, 0),
]
#: What moves only when a backend is in trouble, or is moved off.
OF_BACKENDS = [
    ("s3o_backend_month_calls", {"backend": "far"}, UP),
    ("s3o_backend_month_read_bytes", {"backend": "far"}, UP),
    ("s3o_backend_month_written_bytes", {"backend": "far"}, UP),
    ("s3o_backend_bad_copies_total", {"backend": "near"}, UP),
    ("s3o_scrub_mismatches_total", {}, UP),
    ("s3o_scrub_verified_copies_total", {}, UP),
    ("s3o_scrub_verified_bytes_total", {}, UP),
]
#: There only once something of the kind has happened.
RARE = {"s3o_webhook_dropped"}


def family(sample):
    return re.sub(r"_(total|count|sum|bucket)$", "", sample)


def moved(metric, before, after):
    name, labels, how = metric
    now, then = total(after, name, labels), total(before, name, labels) or 0
    if now is None:
        return False
    if how is UP:
        return now > then
    if how is POSITIVE:
        return now > 0
    return how is PRESENT or now == how


def hooks(receiver):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    hook = '[[webhooks]]\nname = "{}"\nurl = "{}"\nsecret = "for-tests-only"\n'
    return hook.format("good", receiver.url("/")) + hook.format("bad", away)


LOCAL = '[[backends]]\nname = "local"\nkind = "embedded"\nquota = "10GB"\n'


def test_every_metric_exists_and_moves(watched, receiver):
    node = watched(hooks(receiver) + LOCAL, bucket='quota = "1GB"')
    before, _ = scrape(node)
    work(node)
    half = half_a_put(node, HALF)
    left = lambda: [metric for metric in METRICS if not moved(metric, before, scrape(node)[0])]  # noqa: E731
    assert until(lambda: not left(), 20), left()
    names = scrape(node)[1]
    assert not names - {family(name) for name, _, _ in METRICS + OF_MOUNTS} - RARE
    half.close()


@pytest.fixture
def place(tmp_path):
    """Where a node of these tests can mount."""
    if not os.access("/dev/fuse", os.W_OK) or (os.geteuid() and not shutil.which("fusermount3")):
        pytest.skip("THERE IS NO /dev/fuse: mounts are not watched")
    place = tmp_path / "mounted"
    place.mkdir()
    return place


def mounted(place):
    return f'[[mounts]]\nbucket = "{BUCKET}"\npath = "{place}"\nread_only = false\n'


def work_in(place, node):
    """Everything that a mount counts; what is returned holds a file open that is being written."""
    raw = Raw(node)
    # Large ones the kernel may read by itself.
    assert raw.send("PUT", "seen", body=b"1" * 50_000).status == 200
    assert (place / "seen").read_bytes() == b"1" * 50_000
    with pytest.raises(OSError):
        with open(place / "seen", "r+b", buffering=0) as inside:
            inside.write(b"2")
    assert raw.send("PUT", "seen", body=b"3" * 50_000).status == 200
    making = open(place / "making", "wb", buffering=0)
    making.write(b"x" * STAGED)
    return making


def test_every_metric_of_a_mount_exists_and_moves(watched, place):
    node = watched(mounted(place))
    before, _ = scrape(node)
    metrics = [(name, labels | {"mount": str(place)}, how) for name, labels, how in OF_MOUNTS]
    with work_in(place, node):
        left = lambda: [metric for metric in metrics if not moved(metric, before, scrape(node)[0])]  # noqa: E731
        assert until(lambda: not left(), 20), (left(), [s for s in scrape(node)[0] if "mount" in s[0]])
    counted = lambda: total(scrape(node)[0], "s3o_mount_staged_files", {})  # noqa: E731
    assert until(lambda: counted() == 0)


def test_metrics_of_backends_move_with_what_happens_there(watched, tmp_path):
    """A directory whose copy is damaged, a provider that goes away."""
    far = Node(tmp_path / "far").start()
    try:
        (tmp_path / "near").mkdir()
        node = watched(
            f'[[backends]]\nname = "near"\nkind = "disk"\npath = "{tmp_path / "near"}"\n'
            f'[[backends]]\nname = "far"\nkind = "s3"\nendpoint = "{far.endpoint}"\nbucket = "{BUCKET}"\n'
            f'path_style = true\naccess_key_id = "AKID_APP1_WRITER"\nsecret_access_key = "{far.secret}"\n',
            bucket="copies = 2",
        )
        before, raw = scrape(node)[0], Raw(node)
        value = lambda name, **labels: total(scrape(node)[0], name, labels)  # noqa: E731
        for key in ("one", "two"):
            assert raw.send("PUT", key, body=key.encode() * 50_000).status == 200
        there = lambda folder: [file for file in (folder / "blobs").rglob("*") if file.is_file()]  # noqa: E731
        assert until(lambda: len(there(tmp_path / "near")) == len(there(tmp_path / "far" / "data")) == 2)
        blob = there(tmp_path / "near")[0]
        damaged = bytearray(blob.read_bytes())
        damaged[1000] ^= 1
        blob.write_bytes(damaged)
        found = subprocess.run([BINARY, "scrub", "--now", "--config", node.config], capture_output=True, text=True, timeout=120)
        assert found.returncode == 1 and "1 bad" in found.stdout, found
        left = lambda: [metric for metric in OF_BACKENDS if not moved(metric, before, scrape(node)[0])]  # noqa: E731
        assert until(lambda: not left(), 20), left()
        assert value("s3o_backend_answers", backend="far") == 1
        far.process.kill()
        far.process.wait()
        for n in range(6):
            raw.send("PUT", f"alone-{n}", body=b"x" * 50_000)
        assert until(lambda: value("s3o_backend_answers", backend="far") == 0)
        waiting = lambda: sum(value("s3o_copies_queue", kind=kind) for kind in ("missing", "deferred"))  # noqa: E731
        assert until(lambda: waiting() > 0)
    finally:
        if far.process.poll() is None:
            far.process.kill()
    node.process.kill()
    node.process.wait()


def expressions(value):
    if isinstance(value, dict):
        yield from ([value["expr"]] if "expr" in value else [])
        for inner in value.values():
            yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def test_every_query_of_the_dashboard_finds_its_metrics(watched, receiver, place):
    node = watched(hooks(receiver) + LOCAL + mounted(place), bucket='quota = "1GB"')
    work(node)
    work_in(place, node).close()
    ready = lambda: (total(scrape(node)[0], "s3o_webhook_failures_total", {})  # noqa: E731
                     and total(scrape(node)[0], "s3o_webhook_events_total", {}))
    assert until(ready)
    samples, _ = scrape(node)
    queries = list(expressions(json.loads(DASHBOARD.read_text())))
    assert len(queries) > 40
    for query in queries:
        grouping = {name.strip() for names in re.findall(r"\bby \(([^)]*)\)", query) for name in names.split(",")}
        found = re.findall(r"\b((?:s3o|process)_\w+)(?:\{([^}]*)\})?", query)
        assert found, query
        for name, selectors in found:
            wanted = grouping | set(re.findall(r"(\w+)[=!]", selectors))
            assert any(known == name and wanted <= labels.keys() for known, labels, _ in samples), (query, name, wanted)


def test_too_many_connections_are_counted(watched):
    node = watched(s3="max_connections = 2")
    host, port = node.host.split(":")
    held = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
    turned_away = lambda: total(scrape(node)[0], "s3o_connection_entries_total", {"outcome": "turned_away"})  # noqa: E731
    assert until(lambda: turned_away() == 1)
    assert total(scrape(node)[0], "s3o_connections", {}) == 2
    for connection in held:
        connection.close()
    assert until(lambda: total(scrape(node)[0], "s3o_connections", {}) == 0)


def test_a_request_goes_on_with_the_trace_of_its_client(watched, receiver):
    """Protobuf writes ids and text as they are: they are looked for in what the collector got."""
    node = watched(f'[telemetry]\notlp_endpoint = "{receiver.url()}"')
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "traced-request-1"}
    Raw(node).send("PUT", "traced", body=b"x", headers=traced)
    Raw(node).send("GET", "missing", headers={"x-request-id": "untraced-request-2"})
    # What waits is sent when the node stops.
    node.stop()
    bodies = [delivery.body for delivery in receiver.deliveries]
    found = [delivery for delivery in receiver.deliveries if b"traced-request-1" in delivery.body]
    assert found and (found[0].path, found[0].headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
    for part in (bytes.fromhex(TRACE), bytes.fromhex(PARENT), b"PutObject", BUCKET.encode(), b"s3-orchestrator"):
        assert part in found[0].body, part
    assert sum(body.count(bytes.fromhex(TRACE)) for body in bodies) == 1
    assert any(b"untraced-request-2" in body and b"NoSuchKey" in body for body in bodies)


def test_a_ratio_of_none_sends_only_what_clients_sample(watched, receiver):
    node = watched(f'[telemetry]\notlp_endpoint = "{receiver.url("/v1/traces")}"\nsample_ratio = "0"')
    Raw(node).send("PUT", "unsampled", body=b"x")
    sampled = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "sampled-by-the-client"}
    Raw(node).send("GET", "unsampled", headers=sampled)
    node.stop()
    bodies = b"".join(delivery.body for delivery in receiver.deliveries)
    assert b"sampled-by-the-client" in bodies and b"PutObject" not in bodies


def test_the_audit_log_has_its_own_file_and_follows_when_it_is_moved(watched):
    node = watched('[log]\naudit_file = "audit.log"\nlevel = "warn"')
    raw, file = Raw(node), node.home / "audit.log"
    keys = lambda name: [json.loads(line)["key"] for line in (node.home / name).read_text().splitlines()]  # noqa: E731
    raw.send("PUT", "before", body=b"x")
    for sent, name in ((signal.SIGUSR1, "audit.log.1"), (signal.SIGHUP, "audit.log.2")):
        os.rename(file, node.home / name)
        raw.send("PUT", "between", body=b"x")
        assert until(lambda: "between" in keys(name))
        node.process.send_signal(sent)
        assert until(file.exists)
        raw.send("PUT", "after", body=b"x")
        assert until(lambda: "after" in keys("audit.log"))
    assert keys("audit.log.1") == ["before", "between"]
    assert keys("audit.log.2") == ["after", "between"]
    assert keys("audit.log") == ["after"]
    assert "PutObject" not in node.log.read_text()
