"""Bodies in aws-chunked framing: signed and unsigned, with and without trailers, good and bad."""

import pytest

from raw import ALGORITHMS, SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER, checksum, etag
from shell import noise

DATA = noise(100_000, "chunks")
CRC = ("x-amz-checksum-crc32", checksum("CRC32", DATA))
KEY = "chunked"


@pytest.fixture(autouse=True)
def fresh(raw):
    raw.send("PUT", KEY, body=b"before")


def stored(raw):
    return raw.send("GET", KEY).body


def refused(raw, answer, outcome):
    assert answer.outcome == outcome, answer.body
    assert stored(raw) == b"before", "nothing may be seen of it"


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS, UNSIGNED_CHUNKS_TRAILER])
@pytest.mark.parametrize("sizes", [(8192,), (100_000,), (65536,), (8192, 65536), (99_999,), (200_000,)])
def test_sizes_of_chunks(raw, mode, sizes):
    answer = raw.chunked(KEY, DATA, mode, sizes)
    assert answer.status == 200 and answer.headers["etag"] == etag(DATA)
    assert stored(raw) == DATA
    assert "content-encoding" not in raw.send("HEAD", KEY).headers


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("data", [b"", b"hello", DATA], ids=["empty", "small", "file"])
def test_trailers(raw, mode, algorithm, data):
    name, value = f"x-amz-checksum-{algorithm.lower()}", checksum(algorithm, data)
    answer = raw.chunked(KEY, data, mode, trailer=[(name, value)])
    assert answer.status == 200, answer.body
    assert answer.headers[name] == value, "also where it came as a trailer"
    assert stored(raw) == data
    assert raw.send("HEAD", KEY, headers={"x-amz-checksum-mode": "ENABLED"}).headers[name] == value


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_wrong_trailers(raw, mode, algorithm):
    name = f"x-amz-checksum-{algorithm.lower()}"
    wrong = checksum(algorithm, b"other")
    refused(raw, raw.chunked(KEY, DATA, mode, trailer=[(name, wrong)]), (400, "BadDigest"))
    refused(raw, raw.chunked(KEY, DATA, mode, trailer=[(name, "AAA")]), (400, "InvalidRequest"))


@pytest.mark.parametrize("announced", ["x-amz-checksum-sha1", "x-amz-checksum-crc32,x-amz-checksum-sha1", None])
def test_trailers_that_were_not_announced(raw, announced):
    answer = raw.chunked(KEY, DATA, UNSIGNED_CHUNKS_TRAILER, trailer=[CRC], headers={"x-amz-trailer": announced})
    assert answer.status == 400 and answer.code in ("MalformedTrailerError", "InvalidRequest")
    assert stored(raw) == b"before"


def test_an_announced_trailer_that_does_not_come(raw):
    answer = raw.chunked(KEY, DATA, UNSIGNED_CHUNKS_TRAILER, headers={"x-amz-trailer": "x-amz-checksum-crc32"})
    refused(raw, answer, (400, "MalformedTrailerError"))


def test_trailer_lines_that_end_as_minio_ends_them(raw):
    spoil = lambda body: body.replace(b"==\r\n", b"==\n\r\n")  # noqa: E731
    assert raw.chunked(KEY, DATA, UNSIGNED_CHUNKS_TRAILER, trailer=[CRC], spoil=spoil).status == 200


def test_a_body_without_a_trailer_is_good(raw):
    assert raw.chunked(KEY, DATA, UNSIGNED_CHUNKS_TRAILER).status == 200
    assert stored(raw) == DATA


def flip(body, at):
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


@pytest.mark.parametrize("at", [150, 8400, -300])
def test_a_changed_byte_breaks_the_signature(raw, at):
    spoil = lambda body: flip(body, at)  # noqa: E731
    answer = raw.chunked(KEY, DATA, SIGNED_CHUNKS, spoil=spoil)
    assert answer.status in (400, 403) and stored(raw) == b"before"
    assert at < 0 or answer.code == "SignatureDoesNotMatch"


def test_a_changed_trailer_breaks_its_signature(raw):
    good = CRC[1].encode()
    spoil = lambda body: body.replace(good, checksum("CRC32", b"other").encode())  # noqa: E731
    refused(raw, raw.chunked(KEY, DATA, SIGNED_CHUNKS_TRAILER, trailer=[CRC], spoil=spoil), (403, "SignatureDoesNotMatch"))
    spoil = lambda body: body.replace(b"x-amz-trailer-signature:", b"x-amz-trailer-signature:0")  # noqa: E731
    answer = raw.chunked(KEY, DATA, SIGNED_CHUNKS_TRAILER, trailer=[CRC], spoil=spoil)
    assert answer.status in (400, 403) and stored(raw) == b"before"


def test_chunks_cannot_change_places(raw):
    def swapped(body):
        length = len(b"2000;chunk-signature=") + 64 + 2 + 8192 + 2
        return body[length : 2 * length] + body[:length] + body[2 * length :]

    refused(raw, raw.chunked(KEY, DATA, SIGNED_CHUNKS, spoil=swapped), (403, "SignatureDoesNotMatch"))


def test_small_chunks(raw):
    """Only the last may be below 8 KiB."""
    refused(raw, raw.chunked(KEY, DATA, SIGNED_CHUNKS, (8191, 8192)), (400, "InvalidChunkSizeError"))
    assert raw.chunked(KEY, DATA[:8200], SIGNED_CHUNKS, (8192, 8)).status == 200


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS, UNSIGNED_CHUNKS_TRAILER])
@pytest.mark.parametrize("spoil", [
    lambda body: body[:-5], lambda body: body[:5000], lambda body: b"", lambda body: b"zz" + body,
    lambda body: b"-1" + body, lambda body: b"ffffffffffffffffff" + body, lambda body: body.replace(b"\r\n", b"\n"),
    lambda body: b"\r\n" + body,
], ids=["no end", "half", "nothing", "no hex", "negative", "overflow", "bare LF", "leading CRLF"])
def test_broken_framing(raw, mode, spoil):
    answer = raw.chunked(KEY, DATA, mode, spoil=spoil)
    assert answer.status in (400, 403) and answer.code in (
        "IncompleteBody", "InvalidChunkSizeError", "SignatureDoesNotMatch", "InvalidRequest"
    ), answer.body
    assert stored(raw) == b"before"


@pytest.mark.parametrize("mode", [SIGNED_CHUNKS, UNSIGNED_CHUNKS_TRAILER])
@pytest.mark.parametrize("length, outcome", [
    ("99999", (400, "IncompleteBody")), ("100001", (400, "IncompleteBody")), (None, (411, "MissingContentLength")),
    ("x", (411, "MissingContentLength")), ("-1", (411, "MissingContentLength")),
])
def test_the_promised_length(raw, mode, length, outcome):
    answer = raw.chunked(KEY, DATA, mode, headers={"x-amz-decoded-content-length": length})
    refused(raw, answer, outcome)


@pytest.mark.parametrize("sent, kept", [("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("aws-chunked, gzip", "gzip"), (None, None), ("br", "br")])
def test_the_encoding_that_is_kept(raw, sent, kept):
    """The framing is told by x-amz-content-sha256; minio sends no Content-Encoding with it."""
    assert raw.chunked(KEY, DATA, SIGNED_CHUNKS, headers={"content-encoding": sent}).status == 200
    answer = raw.send("GET", KEY)
    assert answer.headers.get("content-encoding") == kept and answer.body == DATA


def test_a_checksum_in_the_header_of_signed_chunks(raw):
    name, value = CRC
    assert raw.chunked(KEY, DATA, SIGNED_CHUNKS, headers={name: value}).headers[name] == value
    raw.send("PUT", KEY, body=b"before")
    refused(raw, raw.chunked(KEY, DATA, SIGNED_CHUNKS, headers={name: checksum("CRC32", b"x")}), (400, "BadDigest"))


def test_header_and_trailer_together(raw):
    header = {"x-amz-checksum-sha1": checksum("SHA1", DATA)}
    answer = raw.chunked(KEY, DATA, UNSIGNED_CHUNKS_TRAILER, trailer=[CRC], headers=header)
    refused(raw, answer, (400, "InvalidRequest"))


def test_chunks_are_for_bodies_of_objects(raw):
    answer = raw.send("GET", KEY, payload=SIGNED_CHUNKS)
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert answer.code == "InvalidRequest"


def test_parts_in_chunks(raw):
    upload = raw.send("POST", "parts", query={"uploads": ""}).xml.findtext("UploadId")
    query = {"uploadId": upload, "partNumber": 1}
    answer = raw.chunked("parts", DATA, SIGNED_CHUNKS_TRAILER, trailer=[CRC], query=query)
    assert answer.status == 200 and answer.headers[CRC[0]] == CRC[1] and answer.headers["etag"] == etag(DATA)
    assert raw.send("DELETE", "parts", query={"uploadId": upload}).status == 204
