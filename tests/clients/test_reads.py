"""GetObject and HeadObject: ranges, conditions, parts, headers, metadata."""

import itertools
from email.utils import formatdate, parsedate_to_datetime

import pytest

from guide import BUCKET
from raw import Raw, etag

HUNDRED = bytes(range(100))


@pytest.fixture(scope="module", autouse=True)
def objects(raw):
    for key, data in (("hundred", HUNDRED), ("empty", b"")):
        assert raw.send("PUT", key, body=data).status == 200


def both(raw, key, **options):
    """GET, after HEAD was seen to say the same without the body."""
    get = raw.send("GET", key, **options)
    head = raw.send("HEAD", key, **options)
    assert head.status == get.status and head.body == b""
    names = ("content-length", "content-range", "etag", "last-modified", "content-type")
    if get.status < 300:
        assert [head.headers.get(name) for name in names] == [get.headers.get(name) for name in names]
    return get


RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=0-99", 0, 100), ("bytes=50-", 50, 100), ("bytes=00-01", 0, 2),
    ("bytes=0-100", 0, 100), ("bytes=0-999999", 0, 100), ("bytes=99-99", 99, 100), ("bytes=10-19", 10, 20),
    ("bytes=-1", 99, 100), ("bytes=-100", 0, 100), ("bytes=-101", 0, 100), ("bytes=0-", 0, 100),
    ("bytes=1-18446744073709551615", 1, 100),
]


@pytest.mark.parametrize("text, start, end", RANGES)
def test_ranges(raw, text, start, end):
    answer = both(raw, "hundred", headers={"range": text})
    assert answer.status == 206 and answer.body == HUNDRED[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"] == etag(HUNDRED)
    assert not [name for name in answer.headers if name.startswith("x-amz-checksum")]


@pytest.mark.parametrize("text", ["bytes=-0", "bytes=100-", "bytes=100-110", "bytes=999999-"])
def test_ranges_behind_the_end(raw, text):
    answer = both(raw, "hundred", headers={"range": text})
    assert answer.outcome == (416, "InvalidRange")
    assert answer.headers["content-range"] == "bytes */100"
    assert answer.xml.findtext("ActualObjectSize") == "100"
    assert answer.xml.findtext("RangeRequested") == text


IGNORED = ["bytes=10-5", "bytes=abc", "bytes=,", "bytes= -1", "bytes=0 -1", "bytes=--1", "bytes=100-x", "foo=0-1",
           "bytes=-", "bytes=0-0,1-2", "bytes=0-0,-1", "0-1", "bytes", "bytes=", "bytes=1--2"]


@pytest.mark.parametrize("text", IGNORED)
def test_ranges_that_are_ignored(raw, text):
    answer = both(raw, "hundred", headers={"range": text})
    assert answer.status == 200 and answer.body == HUNDRED
    assert "content-range" not in answer.headers
    answer = both(raw, "empty", headers={"range": text})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("text, status", [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=00-01", 416), ("bytes=-1", 200)])
def test_ranges_of_nothing(raw, text, status):
    answer = both(raw, "empty", headers={"range": text})
    assert answer.status == status
    assert status == 416 or (answer.body == b"" and answer.headers["content-length"] == "0")


def test_if_range(raw):
    modified = raw.send("HEAD", "hundred").headers["last-modified"]
    part = {"range": "bytes=0-9"}
    for value, status in ((etag(HUNDRED), 206), (etag(b""), 200), (modified, 206), (formatdate(0, usegmt=True), 200)):
        assert raw.send("GET", "hundred", headers=part | {"if-range": value}).status == status, value


# Each of the four headers: holds, does not hold, is not there.
STATES = list(itertools.product((True, False, None), repeat=4))


def verdict(match, none_match, modified_since, unmodified_since):
    """RFC 9110, section 13.2.2, which S3 follows."""
    if match is False or (match is None and unmodified_since is False):
        return 412
    if none_match is False or (none_match is None and modified_since is False):
        return 304
    return 200


@pytest.mark.parametrize("states", STATES, ids=lambda states: "".join("-+?"[s if s is not None else 2] for s in states))
def test_conditions(raw, states):
    past = formatdate(1_000_000_000, usegmt=True)
    now = raw.send("HEAD", "hundred").headers["last-modified"]
    good, bad = etag(HUNDRED), etag(b"")
    values = {
        "if-match": {True: good, False: bad},
        "if-none-match": {True: bad, False: good},
        "if-modified-since": {True: past, False: now},
        "if-unmodified-since": {True: now, False: past},
    }
    headers = {name: by[state] for (name, by), state in zip(values.items(), states) if state is not None}
    answer = both(raw, "hundred", headers=headers)
    assert answer.status == verdict(*states)
    if answer.status == 304:
        assert answer.body == b"" and answer.headers["etag"] == good and answer.headers["last-modified"] == now
    if answer.status == 412:
        assert answer.code == "PreconditionFailed"
    assert raw.send("GET", "missing", headers=headers).outcome == (404, "NoSuchKey")


@pytest.mark.parametrize("header, value, status", [
    ("if-match", "*", 200), ("if-none-match", "*", 304),
    ("if-match", etag(HUNDRED).strip('"'), 200), ("if-none-match", etag(HUNDRED).strip('"'), 304),
    ("if-match", f'"x", {etag(HUNDRED)}', 200), ("if-match", '"x", "y"', 412),
    ("if-none-match", f'"x",{etag(HUNDRED)}', 304), ("if-none-match", '"x", "y"', 200),
    ("if-modified-since", "yesterday", 200), ("if-unmodified-since", "yesterday", 200),
    ("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 200),
    ("if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT", 200),
    ("if-modified-since", "2001-01-01T00:00:00Z", 200), ("if-unmodified-since", "2001-01-01T00:00:00Z", 412),
])
def test_forms_of_conditions(raw, header, value, status):
    assert both(raw, "hundred", headers={header: value}).status == status


def test_conditions_come_before_ranges(raw):
    headers = {"if-none-match": etag(HUNDRED), "range": "bytes=1000-"}
    assert raw.send("GET", "hundred", headers=headers).status == 304
    headers = {"if-match": '"x"', "range": "bytes=1000-"}
    assert raw.send("GET", "hundred", headers=headers).status == 412


@pytest.mark.parametrize("key", ["hundred", "empty"])
def test_the_only_part_of_an_object(raw, key):
    answer = both(raw, key, query={"partNumber": 1})
    assert answer.status == 206 and answer.body == (HUNDRED if key == "hundred" else b"")
    assert "x-amz-mp-parts-count" not in answer.headers
    assert answer.headers.get("content-range") == ("bytes 0-99/100" if key == "hundred" else None)
    answer = both(raw, key, query={"partNumber": 2})
    assert answer.outcome == (416, "InvalidPartNumber")


@pytest.mark.parametrize("number", ["0", "-1", "10001", "x", "", "1.5"])
def test_bad_part_numbers(raw, number):
    assert raw.send("GET", "hundred", query={"partNumber": number}).outcome == (400, "InvalidArgument")


def test_a_range_of_a_part(raw):
    answer = raw.send("GET", "hundred", query={"partNumber": 1}, headers={"range": "bytes=0-1"})
    assert answer.outcome == (400, "InvalidRequest")


HEADERS = {
    "cache-control": "max-age=60, private", "content-disposition": 'attachment; filename="ü.txt"',
    "content-encoding": "gzip", "content-language": "de, en", "content-type": "text/x-test; charset=utf-8",
    "expires": "Fri, 01 Jan 2100 00:00:00 GMT", "x-amz-website-redirect-location": "/elsewhere",
}


def utf8(value):
    """http.client reads headers as Latin-1."""
    return value.encode("latin-1").decode("utf-8")


def test_standard_headers_are_kept(raw):
    assert raw.send("PUT", "dressed", body=b"x", headers=HEADERS).status == 200
    answer = both(raw, "dressed")
    assert {name: utf8(answer.headers.get(name, "")) for name in HEADERS} == HEADERS
    assert raw.send("PUT", "dressed", body=b"y").status == 200
    answer = both(raw, "dressed")
    kept = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    assert kept == {"content-type": "binary/octet-stream"}, "an overwrite starts afresh"


def test_a_304_has_the_headers_that_caches_need(raw):
    raw.send("PUT", "cached", body=b"x", headers=HEADERS)
    answer = raw.send("GET", "cached", headers={"if-none-match": etag(b"x")})
    assert answer.status == 304 and answer.headers["cache-control"] == HEADERS["cache-control"]
    assert answer.headers["expires"] == HEADERS["expires"] and "content-type" not in answer.headers


@pytest.mark.parametrize("name", ["content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding"])
def test_overrides(raw, name):
    value = {"expires": "Fri, 02 Jan 2099 00:00:00 GMT"}.get(name, "over/ridden; x=1")
    answer = both(raw, "hundred", query={f"response-{name}": value})
    assert answer.status == 200 and answer.headers[name] == value


def test_overrides_are_for_signed_requests(open_node):
    raw = Raw(open_node)
    raw.send("PUT", "x", body=b"x")
    assert raw.send("GET", "x", sign=False).status == 200
    answer = raw.send("GET", "x", query={"response-content-type": "text/html"}, sign=False)
    assert answer.outcome == (400, "InvalidRequest")


def test_an_override_cannot_break_out_of_its_header(raw):
    answer = raw.send("GET", "hundred", query={"response-content-type": "a\r\nx-evil: 1"})
    assert answer.status == 400 and "x-evil" not in answer.headers


def test_metadata(raw, s3):
    headers = {"X-Amz-Meta-Mixed-Case": "Value", "x-amz-meta-empty": "", "x-amz-meta-spaces": "a  b", "x-amz-meta-under_score": "1"}
    raw.send("PUT", "meta", body=b"x", headers=headers)
    answer = both(raw, "meta")
    found = {name: value for name, value in answer.headers.items() if name.startswith("x-amz-meta-")}
    assert found == {name.lower(): value for name, value in headers.items()}
    assert s3.head_object(Bucket=BUCKET, Key="meta")["Metadata"]["mixed-case"] == "Value"


def test_metadata_that_is_not_ascii(raw):
    """Kept as text, and sent as RFC 2047 says, since headers are not UTF-8."""
    from email.header import decode_header, make_header

    raw.send("PUT", "meta", body=b"x", headers={"x-amz-meta-name": "grün €"})
    value = both(raw, "meta").headers["x-amz-meta-name"]
    assert value.startswith("=?UTF-8?") and str(make_header(decode_header(value))) == "grün €"
    raw.send("PUT", "meta", body=b"x", headers={"x-amz-meta-name": value})
    again = both(raw, "meta").headers["x-amz-meta-name"]
    assert str(make_header(decode_header(again))) == "grün €", "what was got can be put back"


@pytest.mark.parametrize("names, size, status", [(1, 2048, 200), (1, 2049, 400), (2, 2048, 200), (2, 2049, 400)])
def test_the_limit_of_metadata(raw, names, size, status):
    lengths = [size // names + (1 if number < size % names else 0) for number in range(names)]
    headers = {f"x-amz-meta-{number}": "v" * (length - 1) for number, length in enumerate(lengths)}
    answer = raw.send("PUT", "meta-limit", body=b"x", headers=headers)
    assert answer.outcome == (status, "" if status == 200 else "MetadataTooLarge")


def test_times(raw, s3):
    head = raw.send("HEAD", "hundred")
    listed = raw.send("GET", None, query={"list-type": 2, "prefix": "hundred"}).xml.findtext("Contents/LastModified")
    assert listed.endswith("Z") and len(listed) == len("2026-01-01T00:00:00.000Z")
    exact = s3.head_object(Bucket=BUCKET, Key="hundred")["LastModified"]
    assert parsedate_to_datetime(head.headers["last-modified"]) == exact
    assert listed[:19] == exact.strftime("%Y-%m-%dT%H:%M:%S")


def test_every_answer_has_its_id_and_date(raw):
    for answer in (raw.send("GET", "hundred"), raw.send("GET", "missing"), raw.send("GET", "x", sign=False)):
        assert answer.headers["x-amz-request-id"] and answer.headers["date"] and answer.headers["server"]
    error = raw.send("GET", "missing ü")
    assert error.headers["content-type"] == "application/xml"
    assert error.xml.findtext("RequestId") == error.headers["x-amz-request-id"]
    assert error.xml.findtext("Resource") in (f"/{BUCKET}/missing ü", f"/{BUCKET}/missing%20%C3%BC")
