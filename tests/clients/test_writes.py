"""PutObject and DeleteObject: promises about the body, conditions, limits, what is not offered."""

import hashlib
import socket

import pytest

from guide import BUCKET
from raw import ALGORITHMS, SIGNED_CHUNKS, Raw, b64, checksum, etag, md5

DATA = b"what is written"
HELLO = {
    "CRC32": "NhCmhg==", "CRC32C": "mnG7TA==", "CRC64NVME": "M3eFcAZSQlc=",
    "SHA1": "qvTGHdzF6KLavt4PO0gs2a6pQ00=", "SHA256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
}


def stored(raw, key):
    answer = raw.send("GET", key)
    return answer.body if answer.status == 200 else answer.code


def refused_without_a_trace(raw, outcome, **options):
    """A refused write leaves nothing, and what was there as it was."""
    assert raw.send("PUT", "refused", **options).outcome == outcome
    assert stored(raw, "refused") == "NoSuchKey"
    raw.send("PUT", "kept", body=b"before")
    assert raw.send("PUT", "kept", **options).outcome == outcome
    assert stored(raw, "kept") == b"before"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_known_checksums(algorithm):
    assert checksum(algorithm, b"hello") == HELLO[algorithm]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("data", [b"", b"hello", bytes(range(256)) * 200], ids=["empty", "small", "file"])
def test_checksums(raw, algorithm, data):
    name, value = f"x-amz-checksum-{algorithm.lower()}", checksum(algorithm, data)
    answer = raw.send("PUT", "sum", body=data, headers={name: value, "x-amz-sdk-checksum-algorithm": algorithm})
    assert answer.status == 200 and answer.headers["etag"] == etag(data)
    assert answer.headers[name] == value and answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    for method in ("GET", "HEAD"):
        found = raw.send(method, "sum", headers={"x-amz-checksum-mode": "ENABLED"}).headers
        assert {n: v for n, v in found.items() if n.startswith("x-amz-checksum")} == {name: value, "x-amz-checksum-type": "FULL_OBJECT"}
    assert name not in raw.send("GET", "sum").headers
    if data:
        part = raw.send("GET", "sum", headers={"x-amz-checksum-mode": "ENABLED", "range": "bytes=0-1"})
        assert part.status == 206 and name not in part.headers, "clients would compare it with the range"


def test_a_checksum_where_none_was_sent(raw):
    """CRC64NVME is what S3 adds."""
    raw.send("PUT", "sum", body=b"hello")
    found = raw.send("HEAD", "sum", headers={"x-amz-checksum-mode": "ENABLED"}).headers
    assert found.get("x-amz-checksum-crc64nvme") == HELLO["CRC64NVME"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_wrong_checksums(raw, algorithm):
    name = f"x-amz-checksum-{algorithm.lower()}"
    refused_without_a_trace(raw, (400, "BadDigest"), body=DATA, headers={name: checksum(algorithm, b"other")})
    for bad in ("", "x", "AAAA", checksum(algorithm, DATA) + "AA", checksum(algorithm, DATA).rstrip("=") + "!"):
        refused_without_a_trace(raw, (400, "InvalidRequest"), body=DATA, headers={name: bad})


def test_checksums_that_contradict(raw):
    crc, sha = {"x-amz-checksum-crc32": checksum("CRC32", DATA)}, {"x-amz-checksum-sha1": checksum("SHA1", DATA)}
    refused_without_a_trace(raw, (400, "InvalidRequest"), body=DATA, headers=crc | sha)
    refused_without_a_trace(raw, (400, "InvalidRequest"), body=DATA, headers=crc | {"x-amz-sdk-checksum-algorithm": "SHA1"})
    refused_without_a_trace(raw, (400, "InvalidRequest"), body=DATA, headers={"x-amz-sdk-checksum-algorithm": "CRC32"})


@pytest.mark.parametrize("value, outcome", [
    (md5(DATA), (200, "")), (md5(b"other"), (400, "BadDigest")), ("", (400, "InvalidDigest")), ("AAAA", (400, "InvalidDigest")),
    (hashlib.md5(DATA).hexdigest(), (400, "InvalidDigest")), ("!" * 24, (400, "InvalidDigest")), (b64(b"x" * 17), (400, "InvalidDigest")),
])
def test_content_md5(raw, value, outcome):
    if outcome[0] == 200:
        assert raw.send("PUT", "md5", body=DATA, headers={"content-md5": value}).outcome == outcome
    else:
        refused_without_a_trace(raw, outcome, body=DATA, headers={"content-md5": value})


def test_the_signed_hash_of_the_body(raw):
    wrong = hashlib.sha256(b"other").hexdigest()
    refused_without_a_trace(raw, (400, "XAmzContentSHA256Mismatch"), body=DATA, payload=wrong)
    refused_without_a_trace(raw, (400, "InvalidArgument"), body=DATA, payload="nonsense")
    assert raw.send("PUT", "x", body=DATA, payload="UNSIGNED-PAYLOAD").status == 200


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("headers, with_object, without", [
    ({"if-none-match": "*"}, (412, "PreconditionFailed"), (200, "")),
    ({"if-none-match": etag(b"before")}, (200, ""), (200, "")),
    ({"if-none-match": '"other"'}, (200, ""), (200, "")),
    ({"if-match": etag(b"before")}, (200, ""), (404, "NoSuchKey")),
    ({"if-match": etag(b"before").strip('"')}, (200, ""), (404, "NoSuchKey")),
    ({"if-match": '"other"'}, (412, "PreconditionFailed"), (404, "NoSuchKey")),
    ({"if-match": "*"}, (200, ""), (404, "NoSuchKey")),
])
def test_conditional_puts(raw, exists, headers, with_object, without):
    raw.send("DELETE", "conditional")
    if exists:
        raw.send("PUT", "conditional", body=b"before")
    expected = with_object if exists else without
    assert raw.send("PUT", "conditional", body=DATA, headers=headers).outcome == expected
    after = DATA if expected[0] == 200 else (b"before" if exists else "NoSuchKey")
    assert stored(raw, "conditional") == after


@pytest.mark.parametrize("value, present, absent", [
    (etag(b"before"), (204, ""), (404, "NoSuchKey")), ('"other"', (412, "PreconditionFailed"), (404, "NoSuchKey")),
    ("*", (204, ""), (404, "NoSuchKey")), (None, (204, ""), (204, "")),
])
def test_conditional_deletes(raw, value, present, absent):
    headers = {} if value is None else {"if-match": value}
    raw.send("PUT", "conditional", body=b"before")
    assert raw.send("DELETE", "conditional", headers=headers).outcome == present
    assert stored(raw, "conditional") == ("NoSuchKey" if present[0] == 204 else b"before")
    raw.send("DELETE", "conditional")
    assert raw.send("DELETE", "conditional", headers=headers).outcome == absent


def test_a_refused_condition_does_not_wait_for_the_body(node, raw):
    """With `Expect: 100-continue` the 412 comes instead of the 100."""
    raw.send("PUT", "taken", body=b"before")
    for path, headers, status in (("taken", "If-None-Match: *\r\n", b"412"), ("unsigned", "", b"403")):
        said = expecting(node, raw, path, headers, signed=path == "taken")
        assert said.startswith(b"HTTP/1.1 " + status), said[:200]
    assert expecting(node, raw, "free", "", signed=True).startswith(b"HTTP/1.1 100 Continue")


def expecting(node, raw, key, extra, signed):
    """What the node says to the head alone of a PUT that waits for a 100."""
    stamp = raw.stamp()
    headers = {"host": node.host, "x-amz-date": stamp, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    if signed:
        headers, _ = raw.authorized("PUT", f"/{BUCKET}/{key}", "", headers)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"PUT /{BUCKET}/{key} HTTP/1.1\r\n{lines}{extra}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    host, port = node.host.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall(head.encode())
        return stream.recv(4096)


def test_sizes(node, raw):
    stamp = raw.stamp()
    for length in (5 * 1024**3 + 1, 2**40):
        headers = {"host": node.host, "x-amz-date": stamp, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        headers, _ = raw.authorized("PUT", f"/{BUCKET}/huge", "", headers)
        answer = raw.exchange("PUT", f"/{BUCKET}/huge", headers | {"content-length": str(length), "expect": "100-continue"})
        assert answer.outcome == (400, "EntityTooLarge"), length
        assert answer.xml.findtext("MaxSizeAllowed") == str(5 * 1024**3)


def test_a_put_without_a_length(node, raw):
    headers = {"host": node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    headers, _ = raw.authorized("PUT", f"/{BUCKET}/x", "", headers)
    assert raw.exchange("PUT", f"/{BUCKET}/x", headers).outcome == (411, "MissingContentLength")


def test_the_smallest_limit_is_kept(tmp_path_factory):
    from conftest import running

    for node in running(tmp_path_factory.mktemp("small"), s3='max_object_size = "1KiB"'):
        raw = Raw(node)
        assert raw.send("PUT", "x", body=b"x" * 1024).status == 200
        assert raw.send("PUT", "y", body=b"x" * 1025).outcome == (400, "EntityTooLarge")
        assert raw.chunked("z", b"x" * 1025, SIGNED_CHUNKS).outcome == (400, "EntityTooLarge")


@pytest.mark.parametrize("key, status", [
    ("k" * 1024, 200), ("k" * 1025, 400), ("ü" * 512, 200), ("ü" * 512 + "k", 400), ("🦀" * 256, 200), ("/" * 1024, 200),
])
def test_the_length_of_keys(raw, key, status):
    answer = raw.send("PUT", key, body=b"x")
    assert answer.outcome == (status, "" if status == 200 else "KeyTooLongError")
    assert raw.send("GET", key).status == status
    assert raw.send("DELETE", key).status == (204 if status == 200 else status)


ODD = ["a//b", "/a", "//", "a/./b", "a/../b", "../a", ".", "..", "a/", "%", "%2F", "+", " ", "a b ", "\t", "\n", "\r\n", "\x01", "\\", "🦀", "a?b",
       "a#b", "a&b=c", '"', "<&>", "é", "e\u0301", "\u200b", "\ufeff", "\uffff"]


@pytest.mark.parametrize("key", ODD, ids=range(len(ODD)))
def test_odd_keys_are_kept_as_they_are(raw, key):
    assert raw.send("PUT", key, body=key.encode()).status == 200
    assert raw.send("GET", key).body == key.encode()
    others = [other for other in ODD if other != key]
    assert all(raw.send("HEAD", other).status == 404 for other in others[:3])
    assert raw.send("DELETE", key).status == 204


@pytest.mark.parametrize("path", ["%", "%g0", "%ff", "a%", "a%2", "%c3%28"])
def test_paths_that_are_no_text(raw, node, path):
    headers = {"host": node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    headers, _ = raw.authorized("GET", f"/{BUCKET}/{path}", "", headers)
    assert raw.exchange("GET", f"/{BUCKET}/{path}", headers).outcome == (400, "InvalidURI")


NOT_OFFERED = ["acl", "retention", "legal-hold", "torrent", "restore", "renameObject", "encryption"]


@pytest.mark.parametrize("name", NOT_OFFERED)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_what_is_not_offered_does_nothing_else(raw, method, name):
    raw.send("PUT", "kept", body=b"before")
    answer = raw.send(method, "kept", query={name: ""}, body=b"<x/>" if method in ("PUT", "POST") else b"")
    assert answer.outcome in ((501, "NotImplemented"), (405, "MethodNotAllowed")), answer.body
    assert stored(raw, "kept") == b"before"
    raw.send(method, "fresh", query={name: ""}, body=b"<x/>" if method in ("PUT", "POST") else b"")
    assert stored(raw, "fresh") == "NoSuchKey"


BUCKET_FEATURES = ["acl", "policy", "cors", "lifecycle", "encryption", "logging", "notification", "replication", "website", "tagging",
                   "object-lock", "publicAccessBlock", "ownershipControls", "accelerate", "requestPayment", "analytics", "inventory", "metrics",
                   "policyStatus", "versions", "intelligent-tiering"]


@pytest.mark.parametrize("name", BUCKET_FEATURES)
def test_features_of_buckets_that_are_not_offered(raw, name):
    for method, body in (("GET", b""), ("PUT", b"<x/>"), ("DELETE", b"")):
        answer = raw.send(method, None, query={name: ""}, body=body)
        assert answer.outcome in ((501, "NotImplemented"), (405, "MethodNotAllowed")), (method, answer.body)
    assert raw.send("GET", None, query={"list-type": 2}).status == 200, "the bucket is there"


@pytest.mark.parametrize("headers", [
    {"x-amz-server-side-encryption-customer-algorithm": "AES256"}, {"x-amz-server-side-encryption-customer-key": "a" * 44},
    {"x-amz-server-side-encryption": "aws:kms"}, {"x-amz-server-side-encryption-aws-kms-key-id": "k"},
    {"x-amz-object-lock-mode": "GOVERNANCE"}, {"x-amz-object-lock-legal-hold": "ON"}, {"x-amz-object-lock-retain-until-date": "2030-01-01T00:00:00Z"},
    {"x-amz-acl": "public-read"}, {"x-amz-grant-read": 'id="x"'}, {"x-amz-write-offset-bytes": "0"},
])
def test_headers_that_are_not_offered(raw, headers):
    refused_without_a_trace(raw, (501, "NotImplemented"), body=DATA, headers=headers)


@pytest.mark.parametrize("headers", [
    {"x-amz-acl": "private"}, {"x-amz-storage-class": "STANDARD"}, {"x-amz-server-side-encryption": "AES256"},
    {"x-amz-request-payer": "requester"}, {"x-amz-acl": "bucket-owner-full-control"}, {"x-amz-new-and-unknown": "1"},
])
def test_headers_that_change_nothing(raw, headers):
    assert raw.send("PUT", "accepted", body=DATA, headers=headers).status == 200
    assert stored(raw, "accepted") == DATA


def test_versions(raw):
    raw.send("PUT", "version", body=DATA)
    assert raw.send("GET", "version", query={"versionId": "null"}).body == DATA
    for method in ("GET", "DELETE"):
        answer = raw.send(method, "version", query={"versionId": "3HL4kqtJlcpXroDTDmJ"})
        assert answer.outcome == (501, "NotImplemented")
    assert stored(raw, "version") == DATA


def test_delete_of_what_is_not_there(raw):
    assert raw.send("DELETE", "never written").status == 204
    assert raw.send("DELETE", "dir/").status == 204


def test_keys_below_keys(raw):
    for key in ("tree", "tree/", "tree/leaf"):
        assert raw.send("PUT", key, body=key.encode()).status == 200
    for key in ("tree", "tree/", "tree/leaf"):
        assert stored(raw, key) == key.encode()
    raw.send("DELETE", "tree")
    assert stored(raw, "tree/") == b"tree/"


def test_methods_that_do_not_fit(raw):
    answer = raw.send("PATCH", "x")
    assert answer.status in (400, 405) and answer.code in ("MethodNotAllowed", "InvalidRequest", "NotImplemented")
    answer = raw.send("POST", "x")
    assert answer.outcome == (405, "MethodNotAllowed") and answer.headers["allow"]


def test_buckets(raw, s3):
    assert raw.send("PUT", None).outcome == (409, "BucketAlreadyOwnedByYou")
    assert raw.send("PUT", None, bucket="another-one").outcome == (403, "AccessDenied")
    assert raw.send("DELETE", None).status in (501, 405, 409)
    assert raw.send("HEAD", None).status == 200
    assert raw.send("HEAD", None, bucket="app2-files").status == 403
    location = raw.send("GET", None, query={"location": ""})
    assert location.status == 200 and location.xml.tag == "LocationConstraint"
    versioning = raw.send("GET", None, query={"versioning": ""})
    assert versioning.xml.tag == "VersioningConfiguration" and len(versioning.xml) == 0
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == [BUCKET]


def test_other_tenants(raw, node):
    """Neither reads nor writes reach over, whichever name they come with."""
    other = Raw(node, "AKID_APP2_WRITER", node.other_secret)
    raw.send("PUT", "private", body=DATA)
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert other.send(method, "private", body=b"x" if method == "PUT" else b"").status == 403
    assert other.send("GET", "private", bucket="app2-files").outcome == (404, "NoSuchKey")
    copied = other.send("PUT", "stolen", bucket="app2-files", headers={"x-amz-copy-source": f"{BUCKET}/private"})
    assert copied.outcome == (403, "AccessDenied")
    assert stored(raw, "private") == DATA


def test_rights(raw, node):
    reader = Raw(node, "AKID_APP1_READER", node.reader_secret)
    raw.send("PUT", "readable", body=DATA)
    assert reader.send("GET", "readable").body == DATA
    assert reader.send("GET", None, query={"list-type": 2}).status == 200
    for method, query in (("PUT", {}), ("DELETE", {}), ("POST", {"uploads": ""}), ("PUT", {"tagging": ""}), ("DELETE", {"tagging": ""})):
        assert reader.send(method, "readable", query=query).outcome == (403, "AccessDenied"), (method, query)
    assert reader.send("POST", None, query={"delete": ""}, body=b"<Delete/>").status in (200, 400, 403)
    assert stored(raw, "readable") == DATA
