"""CopyObject and UploadPartCopy."""

from email.utils import formatdate

import pytest

from guide import BUCKET
from raw import Raw, checksum, composite_etag, encoded, etag, md5
from shell import noise

DATA = noise(1000, "copies")
DRESS = {"content-type": "text/x-source", "cache-control": "no-cache", "x-amz-meta-a": "source", "x-amz-tagging": "t=source"}


@pytest.fixture(autouse=True)
def source(raw):
    raw.send("PUT", "source", body=DATA, headers=DRESS)
    raw.send("DELETE", "copy")


def copy(raw, key="copy", source="source", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.send("PUT", key, headers={"x-amz-copy-source": f"{BUCKET}/{encoded(source, '/')}"} | headers)


def tags(raw, key):
    answer = raw.send("GET", key, query={"tagging": ""})
    return dict(zip(answer.texts("TagSet/Tag/Key"), answer.texts("TagSet/Tag/Value")))


def test_a_copy_has_everything_of_its_source(raw):
    done = copy(raw, content_type="text/ignored", x_amz_meta_a="ignored", x_amz_tagging="t=ignored")
    assert done.status == 200 and done.xml.tag == "CopyObjectResult"
    assert done.xml.findtext("ETag") == etag(DATA) and done.xml.findtext("LastModified").endswith("Z")
    answer = raw.send("GET", "copy")
    assert answer.body == DATA and answer.headers["etag"] == etag(DATA)
    assert {name: answer.headers[name] for name in ("content-type", "cache-control", "x-amz-meta-a")} == {
        "content-type": "text/x-source", "cache-control": "no-cache", "x-amz-meta-a": "source"}
    assert tags(raw, "copy") == {"t": "source"}


def test_replaced_metadata(raw):
    copy(raw, x_amz_metadata_directive="REPLACE", x_amz_meta_b="new")
    head = raw.send("HEAD", "copy").headers
    assert head["x-amz-meta-b"] == "new" and "x-amz-meta-a" not in head and "cache-control" not in head
    assert head["content-type"] == "binary/octet-stream"
    assert tags(raw, "copy") == {"t": "source"}, "tags have a directive of their own"


def test_replaced_tags(raw):
    copy(raw, x_amz_tagging_directive="REPLACE", x_amz_tagging="n=1&m=2")
    assert tags(raw, "copy") == {"n": "1", "m": "2"} and raw.send("HEAD", "copy").headers["x-amz-meta-a"] == "source"
    copy(raw, x_amz_tagging_directive="REPLACE")
    assert tags(raw, "copy") == {}


@pytest.mark.parametrize("header", ["x_amz_metadata_directive", "x_amz_tagging_directive"])
def test_other_directives(raw, header):
    assert copy(raw, **{header: "MOVE"}).outcome == (400, "InvalidArgument")
    assert raw.send("GET", "copy").status == 404


def test_a_copy_onto_itself(raw):
    assert copy(raw, "source").outcome == (400, "InvalidRequest")
    before = raw.send("HEAD", "source").headers["etag"]
    assert copy(raw, "source", x_amz_metadata_directive="REPLACE", x_amz_meta_c="3").status == 200
    answer = raw.send("GET", "source")
    assert answer.body == DATA and answer.headers["etag"] == before and answer.headers["x-amz-meta-c"] == "3"


@pytest.mark.parametrize("key", ["a b", "a+b", "per%cent", "ü", "q?x=1", "a//b", "/lead", "emoji🦀", "trail/", "#", "a&b"])
def test_sources_with_odd_names(raw, key):
    raw.send("PUT", key, body=key.encode())
    for source in (f"{BUCKET}/{encoded(key, '/')}", f"/{BUCKET}/{encoded(key, '/')}", f"{BUCKET}/{encoded(key)}"):
        assert raw.send("PUT", "copy", headers={"x-amz-copy-source": source}).status == 200, source
        assert raw.send("GET", "copy").body == key.encode()


@pytest.mark.parametrize("name, outcome", [
    (f"{BUCKET}/missing", (404, "NoSuchKey")), (f"{BUCKET}/", (400, "InvalidArgument")), (BUCKET, (400, "InvalidArgument")), ("", (400, "InvalidArgument")),
    ("/", (400, "InvalidArgument")), (f"{BUCKET}/%ff", (400, "InvalidArgument")), ("app2-files/source", (403, "AccessDenied")),
    ("no-such-bucket/x", (403, "AccessDenied")), (f"{BUCKET}/source?versionId=x", (501, "NotImplemented")),
    (f"{BUCKET}/" + "k" * 1025, (400, "InvalidArgument")),
])
def test_bad_sources(raw, name, outcome):
    answer = raw.send("PUT", "copy", headers={"x-amz-copy-source": name})
    assert answer.outcome == outcome
    assert raw.send("GET", "copy").status == 404


def test_the_null_version_is_the_object(raw):
    assert raw.send("PUT", "copy", headers={"x-amz-copy-source": f"{BUCKET}/source?versionId=null"}).status == 200


def test_other_tenants_cannot_copy(raw, node):
    other = Raw(node, "AKID_APP2_WRITER", node.other_secret)
    for bucket in ("app2-files", BUCKET):
        answer = other.send("PUT", "copy", bucket=bucket, headers={"x-amz-copy-source": f"{BUCKET}/source"})
        assert answer.outcome == (403, "AccessDenied")
    reader = Raw(node, "AKID_APP1_READER", node.reader_secret)
    assert copy(reader).outcome == (403, "AccessDenied")


PAST, FUTURE = formatdate(1_000_000_000, usegmt=True), formatdate(4_000_000_000, usegmt=True)


@pytest.mark.parametrize("headers, status", [
    ({"if_match": etag(DATA)}, 200), ({"if_match": '"x"'}, 412), ({"if_none_match": '"x"'}, 200), ({"if_none_match": etag(DATA)}, 412),
    ({"if_modified_since": PAST}, 200), ({"if_unmodified_since": PAST}, 412), ({"if_unmodified_since": FUTURE}, 200),
    ({"if_match": etag(DATA), "if_unmodified_since": PAST}, 200), ({"if_none_match": etag(DATA), "if_modified_since": PAST}, 412),
])
def test_conditions_on_the_source(raw, headers, status):
    answer = copy(raw, **{f"x_amz_copy_source_{name}": value for name, value in headers.items()})
    assert answer.outcome == (status, "" if status == 200 else "PreconditionFailed")
    assert raw.send("GET", "copy").status == (200 if status == 200 else 404)


@pytest.mark.parametrize("headers, exists, status", [
    ({"if_none_match": "*"}, True, 412), ({"if_none_match": "*"}, False, 200), ({"if_match": '"x"'}, True, 412), ({"if_match": etag(b"old")}, True, 200),
    ({"if_match": etag(b"old")}, False, 404),
])
def test_conditions_on_the_destination(raw, headers, exists, status):
    if exists:
        raw.send("PUT", "copy", body=b"old")
    assert copy(raw, **headers).status == status


def test_checksums_of_copies(raw):
    raw.send("PUT", "source", body=DATA, headers={"x-amz-checksum-sha1": checksum("SHA1", DATA)})
    copy(raw)
    mode = {"x-amz-checksum-mode": "ENABLED"}
    assert raw.send("HEAD", "copy", headers=mode).headers["x-amz-checksum-sha1"] == checksum("SHA1", DATA)
    done = copy(raw, x_amz_checksum_algorithm="CRC32C")
    assert done.xml.findtext("ChecksumCRC32C") == checksum("CRC32C", DATA)
    assert raw.send("HEAD", "copy", headers=mode).headers["x-amz-checksum-crc32c"] == checksum("CRC32C", DATA)
    assert copy(raw, x_amz_checksum_algorithm="MD4").outcome == (400, "InvalidRequest")


def test_a_copy_has_no_body_and_no_range(raw):
    answer = raw.send("PUT", "copy", body=b"body", headers={"x-amz-copy-source": f"{BUCKET}/source"})
    assert answer.outcome == (400, "InvalidRequest")
    assert copy(raw, x_amz_copy_source_range="bytes=0-1").outcome == (400, "InvalidArgument")
    assert raw.send("GET", "copy").status == 404


def test_a_copy_outlives_its_source(raw):
    data = noise(300_000, "file")
    raw.send("PUT", "source", body=data)
    copy(raw)
    raw.send("PUT", "source", body=b"overwritten")
    assert raw.send("GET", "copy").body == data
    raw.send("DELETE", "source")
    assert raw.send("GET", "copy").body == data


def begun(raw):
    return raw.send("POST", "copy", query={"uploads": ""}).xml.findtext("UploadId")


def part_copy(raw, upload, number=1, **headers):
    headers = {"x-amz-copy-source": f"{BUCKET}/source"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.send("PUT", "copy", query={"partNumber": number, "uploadId": upload}, headers=headers)


def test_parts_from_objects(raw):
    upload = begun(raw)
    big = noise(5 * 1024 * 1024 + 10, "big")
    raw.send("PUT", "source", body=big)
    ranges = [(0, 5 * 1024 * 1024 - 1), (7, 16), (len(big) - 1, len(big) - 1)]
    tags = []
    for number, (start, end) in enumerate(ranges, 1):
        answer = part_copy(raw, upload, number, x_amz_copy_source_range=f"bytes={start}-{end}")
        assert answer.status == 200 and answer.xml.tag == "CopyPartResult"
        tags.append(answer.xml.findtext("ETag"))
    pieces = [big[start : end + 1] for start, end in ranges]
    assert tags == [etag(piece) for piece in pieces]
    # The last of them is too small to stand before another: leave the second out.
    body = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{t}</ETag></Part>" for n, t in ((1, tags[0]), (3, tags[2])))
    done = raw.send("POST", "copy", query={"uploadId": upload}, body=f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode())
    assert done.xml.findtext("ETag") == composite_etag([pieces[0], pieces[2]])
    assert raw.send("GET", "copy").body == pieces[0] + pieces[2]


@pytest.mark.parametrize("text", ["bytes=0-1000", "bytes=1000-1001", "bytes=5-", "bytes=-5", "bytes=5-1", "0-5", "bytes=0-5,7-8", "bytes=a-b", ""])
def test_bad_ranges_of_sources(raw, text):
    upload = begun(raw)
    answer = part_copy(raw, upload, x_amz_copy_source_range=text)
    assert answer.outcome in ((400, "InvalidArgument"), (416, "InvalidRange"), (400, "InvalidRange")), answer.body
    assert raw.send("GET", "copy", query={"uploadId": upload}).texts("Part") == []
    raw.send("DELETE", "copy", query={"uploadId": upload})


def test_other_errors_of_part_copies(raw, node):
    upload = begun(raw)
    assert part_copy(raw, upload, 0).outcome == (400, "InvalidArgument")
    assert part_copy(raw, "none").outcome == (404, "NoSuchUpload")
    assert part_copy(raw, upload, x_amz_copy_source=f"{BUCKET}/missing").outcome == (404, "NoSuchKey")
    assert part_copy(raw, upload, x_amz_copy_source="app2-files/x").outcome == (403, "AccessDenied")
    assert part_copy(raw, upload, x_amz_copy_source_if_match='"x"').outcome == (412, "PreconditionFailed")
    assert part_copy(raw, upload).xml.findtext("ETag") == etag(DATA), "the whole source"
    raw.send("DELETE", "copy", query={"uploadId": upload})
    assert md5(DATA)
