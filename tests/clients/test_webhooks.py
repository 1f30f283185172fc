"""Webhooks: a receiver that is there, one that fails, one that is away while the node dies."""

import hashlib
import hmac
import threading
import time
from pathlib import Path

import pytest

from guide import ACCESS_KEY, BUCKET
from node import Node
from raw import Raw
from receiver import until
from s3client import client
from world import Configured, bucket

SECRET = "whsec-for-tests-only"


@pytest.fixture
def told_node(tmp_path, receiver):
    nodes = []

    def start(more="", **options):
        hook = f'[[webhooks]]\nname = "h"\nurl = "{receiver.url("/hook")}"\nsecret = "{SECRET}"\ntimeout = "1s"\n{more}\n'
        nodes.append(Node(tmp_path / "node", more=hook, **options).start())
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def signature(delivery):
    stamp, _, signed = delivery.headers["x-s3o-signature"].partition(",v1=")
    seconds = stamp.removeprefix("t=")
    assert abs(time.time() - int(seconds)) < 120
    return signed, hmac.new(SECRET.encode(), seconds.encode() + b"." + delivery.body, hashlib.sha256).hexdigest()


def test_every_change_is_told_in_order_and_signed(told_node, receiver):
    node = told_node(f'bucket = "{BUCKET}"')
    s3 = client(node)
    s3.put_object(Bucket=BUCKET, Key="a b", Body=b"content")
    s3.copy_object(Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": "a b"})
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(
        Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]})
    s3.delete_object(Bucket=BUCKET, Key="a b")
    s3.delete_object(Bucket=BUCKET, Key="was-never-there")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "copied"}]})
    expected = [
        "ObjectCreated:Put a+b",
        "ObjectCreated:Copy copied",
        "ObjectCreated:CompleteMultipartUpload parts",
        "ObjectRemoved:Delete a+b",
        "ObjectRemoved:Delete copied",
    ]
    until(lambda: len(receiver.told) >= len(expected))
    assert receiver.told == expected
    first = receiver.received[0]["s3"]
    assert (first["bucket"]["name"], first["object"]["size"]) == (BUCKET, 7)
    assert first["object"]["eTag"] == hashlib.md5(b"content").hexdigest()
    for delivery in receiver.deliveries:
        signed, expected_signature = signature(delivery)
        assert signed == expected_signature
        assert (delivery.path, delivery.headers["content-type"]) == ("/hook", "application/json")


def test_only_what_was_asked_for_is_told(told_node, receiver):
    raw = Raw(told_node(f'bucket = "{BUCKET}"\nprefix = "in/"\nevents = ["removed"]'))
    for key in ("in/a", "out/a", "in/b"):
        raw.send("PUT", key, body=b"x")
        raw.send("DELETE", key)
    until(lambda: len(receiver.told) >= 2)
    time.sleep(0.5)
    assert receiver.told == ["ObjectRemoved:Delete in/a", "ObjectRemoved:Delete in/b"]


def test_a_receiver_that_fails_is_told_again_in_the_same_order(told_node, receiver):
    node = told_node('events = ["created"]')
    raw = Raw(node)
    for step, (status, delay) in enumerate(((500, 0), (0, 0), (200, 3), (404, 0))):
        receiver.status, receiver.delay = status, delay
        before = len(receiver.deliveries)
        raw.send("PUT", f"k{step}", body=b"x")
        assert until(lambda: len(receiver.deliveries) > before + 1), f"{status} {delay} is not tried again"
    receiver.status, receiver.delay = 204, 0
    assert until(lambda: len(receiver.told) >= 4), receiver.told
    assert [line.split()[1] for line in receiver.told] == ["k0", "k1", "k2", "k3"]
    log = node.log.read_text()
    assert "not delivered" in log and SECRET not in log


def test_nothing_is_lost_when_the_node_dies(told_node, receiver):
    receiver.status = 503
    node = told_node('events = ["created"]')
    written = {}

    def write(raw, writer, number):
        for n in range(1000):
            try:
                if raw.send("PUT", f"{writer}/{n % 10}", body=str(n).encode()).status != 200:
                    return
            except OSError:
                return
            key = f"{writer}/{n % 10}"
            written[key] = written.get(key, 0) + 1

    for number in range(4):
        raw = Raw(node)
        writers = [threading.Thread(target=write, args=(raw, writer, number)) for writer in range(4)]
        for thread in writers:
            thread.start()
        time.sleep(0.3)
        node.process.kill()
        node.process.wait()
        for thread in writers:
            thread.join()
        # From the third time on the receiver is there, and the node dies in the middle of telling it.
        receiver.status = 503 if number < 1 else 200
        node.start()
    assert sum(written.values()) > 40, written

    def missing():
        seen = {}
        for record in receiver.received:
            seen.setdefault(record["s3"]["object"]["key"], set()).add(record["s3"]["object"]["sequencer"])
        return {key: times for key, times in written.items() if len(seen.get(key, ())) < times}

    assert until(lambda: not missing()), missing()


def test_trouble_is_told_when_it_begins_and_when_it_is_over(told_node, receiver):
    node = told_node('events = ["trouble"]', bucket='quota = "1MB"')
    raw = Raw(node)
    assert raw.send("PUT", "large", body=b"x" * 950_000).status == 200
    states = lambda: [r["trouble"]["state"] for r in receiver.received if r["eventName"] == "Trouble:QuotaNear"]  # noqa: E731
    assert until(lambda: states() == ["begun"]), receiver.received
    assert f"bucket {BUCKET}" in receiver.received[0]["trouble"]["message"]
    raw.send("DELETE", "large")
    assert until(lambda: states() == ["begun", "over"])


def test_a_queue_of_copies_that_does_not_move_is_told(tmp_path, receiver):
    node = Configured(tmp_path / "node")
    disks = [{"name": name, "kind": "disk", "path": str(tmp_path / name), "quota": quota} for name, quota in (("near", "1GB"), ("small", "1KB"))]
    for disk in disks:
        Path(disk["path"]).mkdir()
    node.settings = {
        "data_dir": "data",
        "stuck_after": "1s",
        "s3": {"listen": "127.0.0.1:0"},
        "buckets": [bucket(BUCKET, ACCESS_KEY, node.secret, copies=2)],
        "backends": disks,
        "webhooks": [{"url": receiver.url("/hook"), "secret": SECRET, "events": ["trouble"]}],
    }
    node.start()
    told = lambda: [r["trouble"] for r in receiver.received if r["eventName"] == "Trouble:QueueStuck"]  # noqa: E731
    try:
        assert Raw(node).send("PUT", "a", body=b"x" * 50_000).status == 200
        assert until(lambda: [t["state"] for t in told()] == ["begun"], 30), receiver.received
        assert "copies" in told()[0]["message"] and "no space left" in told()[0]["message"]
        status = node.ask("status", code=1)
        assert [(f["code"], f["severity"]) for f in status["findings"]] == [("queue-stuck", "error")]
        assert {queue["name"]: queue["waiting"] for queue in status["queues"]} == {"cleanup": 0, "copies": 1, "webhooks": 0}
        node.settings["backends"][1]["quota"] = "1GB"
        node.write_config()
        node.ask("reload")
        assert until(lambda: [t["state"] for t in told()] == ["begun", "over"], 60), receiver.received
        copies = [job for job in node.ask("jobs")["jobs"] if job["name"] == "copies"]
        assert copies[0]["done_since_start"] >= 1
    finally:
        node.stop()


def test_what_waits_for_a_receiver_that_was_removed_is_forgotten(told_node, receiver):
    receiver.status = 503
    node = told_node()
    hook = node.more
    Raw(node).send("PUT", "a", body=b"x")
    node.stop()
    node.more = ""
    node.start()
    assert "dropped" in node.log.read_text()
    Raw(node).send("PUT", "b", body=b"x")
    node.stop()
    receiver.status, node.more = 200, hook
    node.start()
    Raw(node).send("PUT", "c", body=b"x")
    assert until(lambda: receiver.told)
    assert receiver.told == ["ObjectCreated:Put c"]


def test_a_backend_that_goes_away_and_a_damaged_copy_are_told(tmp_path, receiver):
    far = Configured(tmp_path / "far")
    far.settings = {"data_dir": "data", "s3": {"listen": "127.0.0.1:0"}, "buckets": [bucket("far", "AKID_FAR", "secret-of-far")]}
    far.start()
    far.settings["s3"]["listen"] = far.host
    (tmp_path / "near-1").mkdir()
    node = Configured(tmp_path / "node")
    node.settings = {
        "data_dir": "data",
        "s3": {"listen": "127.0.0.1:0"},
        "buckets": [bucket(BUCKET, ACCESS_KEY, node.secret, copies=2)],
        "backends": [
            {"name": "near-1", "kind": "disk", "path": str(tmp_path / "near-1")},
            {"name": "far-2", "kind": "s3", "endpoint": far.endpoint, "bucket": "far", "path_style": True,
             "access_key_id": "AKID_FAR", "secret_access_key": "secret-of-far"},
        ],
        "webhooks": [{"url": receiver.url("/hook"), "secret": SECRET, "events": ["trouble"]}],
    }
    node.start()
    told = lambda: [(r["eventName"], r["trouble"]["state"]) for r in receiver.received]  # noqa: E731
    try:
        put = lambda key: Raw(node).send("PUT", key, body=b"x" * 50_000)  # noqa: E731
        assert put("a").status == 200
        far.process.kill()
        far.process.wait()
        for n in range(5):
            put(f"alone-{n}")
        assert until(lambda: ("Trouble:BackendDown", "begun") in told(), 30), told()
        assert "far-2" in receiver.received[-1]["trouble"]["message"]
        down = node.ask("status", code=1)["findings"]
        assert [finding["code"] for finding in down] == ["backend-down"] and "probe far-2" in down[0]["remedy"]
        far.start()
        assert until(lambda: ("Trouble:BackendDown", "over") in told(), 30), told()
        blob = next(file for file in (tmp_path / "near-1" / "blobs").rglob("*") if file.is_file())
        blob.write_bytes(b"y" + blob.read_bytes()[1:])
        node.ask("scrub", "near-1", "--now", code=1)
        assert until(lambda: ("Trouble:ScrubMismatch", "begun") in told(), 30), told()
    finally:
        node.process.kill()
        node.process.wait()
        far.process.kill()
        far.process.wait()
