"""Multipart uploads: every step, good and bad."""

import pytest

from guide import BUCKET
from raw import ALGORITHMS, Raw, checksum, composite, composite_etag, etag, md5
from s3client import refused
from shell import noise

MIB = 1024 * 1024
# The smallest that may stand before another.
FIRST = noise(5 * MIB, "first")
SECOND = noise(5 * MIB, "second")
LAST = noise(1000, "last")


class Upload:
    """One upload, step by step, over requests of our own."""

    def __init__(self, raw, key="multi", **headers):
        self.raw, self.key = raw, key
        self.created = raw.send("POST", key, query={"uploads": ""}, headers={n.replace("_", "-"): v for n, v in headers.items()})
        assert self.created.status == 200, self.created.body
        self.id = self.created.xml.findtext("UploadId")

    def part(self, number, data, **options):
        query = {"partNumber": number, "uploadId": self.id}
        return self.raw.send("PUT", self.key, query=query, body=data, **options)

    def complete(self, parts, **headers):
        """`parts` as (number, ETag, more XML)."""
        body = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag>{''.join(more)}</Part>" for number, tag, *more in parts)
        return self.document(f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>", **headers)

    def document(self, text, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.raw.send("POST", self.key, query={"uploadId": self.id}, body=text.encode(), headers=headers)

    def abort(self):
        return self.raw.send("DELETE", self.key, query={"uploadId": self.id})

    def parts(self, **query):
        query = {name.replace("_", "-"): value for name, value in query.items()}
        return self.raw.send("GET", self.key, query=query | {"uploadId": self.id})


@pytest.fixture(autouse=True)
def clean(raw):
    """Uploads that a test left, and the object."""
    yield
    for upload in raw.send("GET", None, query={"uploads": ""}).xml.findall("Upload"):
        raw.send("DELETE", upload.findtext("Key"), query={"uploadId": upload.findtext("UploadId")})
    raw.send("DELETE", "multi")


def fetched(raw, key="multi"):
    answer = raw.send("GET", key)
    return answer.body if answer.status == 200 else answer.code


def test_an_upload(raw):
    upload = Upload(raw, content_type="text/x-multi", x_amz_meta_a="1", x_amz_tagging="k=v", cache_control="no-store")
    assert upload.created.xml.findtext("Bucket") == BUCKET and upload.created.xml.findtext("Key") == "multi"
    assert upload.part(1, FIRST).headers["etag"] == etag(FIRST)
    assert upload.part(2, LAST).headers["etag"] == etag(LAST)
    assert fetched(raw) == "NoSuchKey", "unfinished"
    done = upload.complete([(1, etag(FIRST)), (2, etag(LAST))])
    assert done.status == 200 and done.xml.tag == "CompleteMultipartUploadResult"
    assert done.xml.findtext("ETag") == composite_etag([FIRST, LAST])
    assert done.xml.findtext("Location") == f"{raw.node.endpoint}/{BUCKET}/multi"
    answer = raw.send("GET", "multi")
    assert answer.body == FIRST + LAST and answer.headers["etag"] == composite_etag([FIRST, LAST])
    assert answer.headers["content-type"] == "text/x-multi" and answer.headers["x-amz-meta-a"] == "1"
    assert answer.headers["x-amz-tagging-count"] == "1" and answer.headers["cache-control"] == "no-store"


def test_reading_parts(raw):
    upload = Upload(raw)
    for number, data in ((1, FIRST), (7, SECOND), (9, LAST)):
        upload.part(number, data)
    upload.complete([(1, etag(FIRST)), (7, etag(SECOND)), (9, etag(LAST))])
    size, start = len(FIRST + SECOND + LAST), 0
    for number, data in enumerate((FIRST, SECOND, LAST), 1):
        answer = raw.send("GET", "multi", query={"partNumber": number})
        assert answer.status == 206 and answer.body == data
        assert answer.headers["x-amz-mp-parts-count"] == "3"
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(data) - 1}/{size}"
        start += len(data)
    assert raw.send("GET", "multi", query={"partNumber": 4}).outcome == (416, "InvalidPartNumber")
    across = raw.send("GET", "multi", headers={"range": f"bytes={len(FIRST) - 10}-{len(FIRST) + 9}"})
    assert across.body == FIRST[-10:] + SECOND[:10]


def test_a_part_may_be_replaced_left_out_and_empty(raw):
    upload = Upload(raw)
    upload.part(1, SECOND)
    upload.part(1, FIRST)
    upload.part(2, b"left out")
    upload.part(3, b"")
    done = upload.complete([(1, etag(FIRST)), (3, etag(b""))])
    assert done.status == 200 and fetched(raw) == FIRST


def test_a_single_small_part(raw):
    upload = Upload(raw)
    upload.part(10_000, b"only")
    assert upload.complete([(10_000, etag(b"only"))]).xml.findtext("ETag") == composite_etag([b"only"])
    assert fetched(raw) == b"only"


@pytest.mark.parametrize("spelling", [lambda tag: tag, lambda tag: tag.strip('"'), lambda tag: tag.replace('"', "&#34;"), lambda tag: tag.replace('"', "&quot;")])
def test_spellings_of_etags(raw, spelling):
    upload = Upload(raw)
    upload.part(1, LAST)
    assert upload.complete([(1, spelling(etag(LAST)))]).status == 200


def test_complete_again(raw):
    """A client whose answer was lost asks once more."""
    upload = Upload(raw)
    upload.part(1, LAST)
    first = upload.complete([(1, etag(LAST))])
    again = upload.complete([(1, etag(LAST))])
    assert (again.status, again.xml.findtext("ETag")) == (200, first.xml.findtext("ETag"))
    assert upload.abort().outcome == (404, "NoSuchUpload")
    assert upload.part(2, LAST).outcome == (404, "NoSuchUpload")
    assert fetched(raw) == LAST


@pytest.mark.parametrize("parts, outcome", [
    ([(2, etag(LAST)), (1, etag(FIRST))], (400, "InvalidPartOrder")),
    ([(1, etag(FIRST)), (1, etag(FIRST))], (400, "InvalidPartOrder")),
    ([(1, etag(LAST))], (400, "InvalidPart")),
    ([(3, etag(FIRST))], (400, "InvalidPart")),
    ([(1, "nonsense")], (400, "InvalidPart")),
    ([(2, etag(LAST)), (4, etag(LAST))], (400, "EntityTooSmall")),
    ([(0, etag(FIRST))], (400, "InvalidArgument")),
    ([(10_001, etag(FIRST))], (400, "InvalidArgument")),
])
def test_bad_lists_of_parts(raw, parts, outcome):
    upload = Upload(raw)
    for number, data in ((1, FIRST), (2, LAST), (4, LAST)):
        upload.part(number, data)
    assert upload.complete(parts).outcome == outcome
    assert fetched(raw) == "NoSuchKey"
    assert upload.complete([(1, etag(FIRST)), (2, etag(LAST))]).status == 200, "still usable"


@pytest.mark.parametrize("document, outcome", [
    ("", (400, "MissingRequestBodyError")), ("<", (400, "MalformedXML")), ("<CompleteMultipartUpload>", (400, "MalformedXML")),
    ("<CompleteMultipartUpload/>", (400, "MalformedXML")), ("<Other/>", (400, "MalformedXML")),
    ("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>", (400, "MalformedXML")),
    ("<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>", (400, "MalformedXML")),
    ("<!DOCTYPE a [<!ENTITY b 'c'>]><CompleteMultipartUpload>&b;</CompleteMultipartUpload>", (400, "MalformedXML")),
    ("\x01", (400, "MalformedXML")),
])
def test_documents_that_are_none(raw, document, outcome):
    upload = Upload(raw)
    upload.part(1, LAST)
    assert upload.document(document).outcome == outcome
    assert upload.parts().status == 200


def test_a_list_of_ten_thousand_parts_is_read(raw):
    upload = Upload(raw)
    upload.part(1, LAST)
    parts = [(number, etag(LAST), f"<ChecksumSHA256>{checksum('SHA256', b'')}</ChecksumSHA256>") for number in range(1, 10_001)]
    assert upload.complete(parts).code in ("InvalidPart", "EntityTooSmall")
    assert upload.complete(parts + [(10_000, etag(LAST))]).outcome == (400, "MalformedXML")


@pytest.mark.parametrize("number, outcome", [
    ("0", (400, "InvalidArgument")), ("10001", (400, "InvalidArgument")), ("-1", (400, "InvalidArgument")), ("x", (400, "InvalidArgument")),
    ("", (400, "InvalidArgument")),
])
def test_numbers_of_parts(raw, number, outcome):
    assert Upload(raw).part(number, b"x").outcome == outcome


def test_a_part_number_alone_writes_no_object(raw):
    assert raw.send("PUT", "multi", query={"partNumber": 1}, body=b"x").outcome == (400, "InvalidArgument")
    assert fetched(raw) == "NoSuchKey"


@pytest.mark.parametrize("headers, outcome", [
    ({"content-md5": md5(b"other")}, (400, "BadDigest")), ({"content-md5": "x"}, (400, "InvalidDigest")),
    ({"x-amz-checksum-crc32": checksum("CRC32", b"other")}, (400, "BadDigest")), ({"x-amz-checksum-crc32": "x"}, (400, "InvalidRequest")),
    ({"x-amz-checksum-type": "COMPOSITE"}, (200, "")),
])
def test_bad_parts_are_not_kept(raw, headers, outcome):
    upload = Upload(raw)
    assert upload.part(1, LAST, headers=headers).outcome == outcome
    assert len(upload.parts().texts("Part")) == (1 if outcome[0] == 200 else 0)


def test_uploads_that_are_not_there(raw, node):
    upload = Upload(raw)
    other = Raw(node, "AKID_APP2_WRITER", node.other_secret)
    steps = [
        lambda raw, key, id, bucket: raw.send("PUT", key, bucket=bucket, query={"partNumber": 1, "uploadId": id}, body=b"x"),
        lambda raw, key, id, bucket: raw.send("GET", key, bucket=bucket, query={"uploadId": id}),
        lambda raw, key, id, bucket: raw.send("DELETE", key, bucket=bucket, query={"uploadId": id}),
        lambda raw, key, id, bucket: raw.send(
            "POST", key, bucket=bucket, query={"uploadId": id},
            body=f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag(b'x')}</ETag></Part></CompleteMultipartUpload>".encode()),
    ]
    for step in steps:
        for id in ("0" * len(upload.id), "x", "", "../" + upload.id, upload.id + "0"):
            assert step(raw, "multi", id, BUCKET).outcome == (404, "NoSuchUpload"), id
        assert step(raw, "other key", upload.id, BUCKET).outcome == (404, "NoSuchUpload")
        assert step(other, "multi", upload.id, BUCKET).outcome == (403, "AccessDenied")
        assert step(other, "multi", upload.id, "app2-files").outcome == (403, "AccessDenied")
    assert upload.parts().status == 200, "nobody ended it"


def test_abort(raw):
    upload = Upload(raw)
    upload.part(1, FIRST)
    assert upload.abort().status == 204
    assert upload.abort().outcome == (404, "NoSuchUpload")
    assert upload.parts().outcome == (404, "NoSuchUpload")
    assert raw.send("GET", None, query={"uploads": ""}).texts("Upload") == []


@pytest.mark.parametrize("exists, headers, status", [
    (True, {"if_none_match": "*"}, 412), (False, {"if_none_match": "*"}, 200), (True, {"if_match": etag(b"before")}, 200),
    (True, {"if_match": '"other"'}, 412), (False, {"if_match": etag(b"before")}, 404),
])
def test_conditional_complete(raw, exists, headers, status):
    if exists:
        raw.send("PUT", "multi", body=b"before")
    upload = Upload(raw)
    upload.part(1, LAST)
    answer = upload.complete([(1, etag(LAST))], **headers)
    assert answer.status == status
    assert fetched(raw) == (LAST if status == 200 else b"before" if exists else "NoSuchKey")
    if status != 200:
        assert upload.complete([(1, etag(LAST))]).status == 200, "the upload is usable still"


@pytest.mark.parametrize("size, status", [(str(len(LAST)), 200), ("999", 400), ("-1", 400), ("x", 400)])
def test_the_promised_size(raw, size, status):
    upload = Upload(raw)
    upload.part(1, LAST)
    answer = upload.complete([(1, etag(LAST))], x_amz_mp_object_size=size)
    assert answer.outcome == (status, "" if status == 200 else "InvalidRequest")


PAIRS = [
    ("CRC32", None, "COMPOSITE"), ("CRC32C", None, "COMPOSITE"), ("CRC64NVME", None, "FULL_OBJECT"), ("SHA1", None, "COMPOSITE"),
    ("SHA256", None, "COMPOSITE"), ("crc32", "full_object", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT", "FULL_OBJECT"),
    ("SHA1", "COMPOSITE", "COMPOSITE"),
]


@pytest.mark.parametrize("algorithm, wish, kind", PAIRS)
def test_checksums_of_uploads(raw, algorithm, wish, kind):
    upload = Upload(raw, x_amz_checksum_algorithm=algorithm, x_amz_checksum_type=wish)
    algorithm = algorithm.upper()
    name = f"x-amz-checksum-{algorithm.lower()}"
    assert upload.created.headers["x-amz-checksum-algorithm"] == algorithm
    assert upload.created.headers["x-amz-checksum-type"] == kind
    parts = [FIRST, LAST]
    for number, data in enumerate(parts, 1):
        sent = upload.part(number, data, headers={name: checksum(algorithm, data)})
        assert sent.status == 200 and sent.headers[name] == checksum(algorithm, data)
    listed = upload.parts()
    assert listed.xml.findtext("ChecksumAlgorithm") == algorithm and listed.xml.findtext("ChecksumType") == kind
    assert listed.texts(f"Part/Checksum{algorithm}") == [checksum(algorithm, data) for data in parts]
    value = composite(algorithm, parts) if kind == "COMPOSITE" else checksum(algorithm, FIRST + LAST)
    named = [(number, etag(data), f"<Checksum{algorithm}>{checksum(algorithm, data)}</Checksum{algorithm}>") for number, data in enumerate(parts, 1)]
    wrong = checksum(algorithm, b"other")
    bad = upload.complete(named, **{name.replace("-", "_"): wrong})
    assert bad.outcome == (400, "BadDigest")
    other = "FULL_OBJECT" if kind == "COMPOSITE" else "COMPOSITE"
    assert upload.complete(named, x_amz_checksum_type=other).outcome == (400, "InvalidRequest")
    spoilt = [named[0], (2, etag(LAST), f"<Checksum{algorithm}>{wrong}</Checksum{algorithm}>")]
    assert upload.complete(spoilt).outcome == (400, "InvalidPart")
    done = upload.complete(named, **{name.replace("-", "_"): value, "x_amz_checksum_type": kind})
    assert done.status == 200, done.body
    assert done.xml.findtext(f"Checksum{algorithm}") == value and done.xml.findtext("ChecksumType") == kind
    head = raw.send("HEAD", "multi", headers={"x-amz-checksum-mode": "ENABLED"}).headers
    assert head[name] == value and head["x-amz-checksum-type"] == kind


@pytest.mark.parametrize("algorithm, kind", [
    (None, "COMPOSITE"), ("CRC64NVME", "COMPOSITE"), ("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("MD5", None), ("CRC32", "x"), ("SHA512", None),
])
def test_checksums_that_uploads_cannot_have(raw, algorithm, kind):
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    answer = raw.send("POST", "multi", query={"uploads": ""}, headers=headers)
    assert answer.outcome == (400, "InvalidRequest")


def test_parts_keep_to_the_uploads_checksum(raw):
    upload = Upload(raw, x_amz_checksum_algorithm="SHA256")
    crc = {"x-amz-checksum-crc32": checksum("CRC32", LAST)}
    assert upload.part(1, LAST, headers=crc).outcome == (400, "InvalidRequest")
    assert upload.part(1, LAST).outcome == (400, "InvalidRequest"), "COMPOSITE needs one of each part"
    upload.part(1, LAST, headers={"x-amz-checksum-sha256": checksum("SHA256", LAST)})
    assert upload.complete([(1, etag(LAST))]).outcome == (400, "InvalidRequest"), "and in the list"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums_of_parts_alone(raw, algorithm):
    """boto3 sends them without having said so at the beginning."""
    upload = Upload(raw)
    value = checksum(algorithm, LAST)
    assert upload.part(1, LAST, headers={f"x-amz-checksum-{algorithm.lower()}": value}).status == 200
    assert upload.complete([(1, etag(LAST), f"<Checksum{algorithm}>{value}</Checksum{algorithm}>")]).status == 200
    assert fetched(raw) == LAST


def test_list_parts(raw, s3):
    upload = Upload(raw)
    for number in (1, 2, 5, 9):
        upload.part(number, b"x" * number)
    page = upload.parts(max_parts=2)
    assert page.texts("Part/PartNumber") == ["1", "2"] and page.texts("Part/Size") == ["1", "2"]
    assert page.xml.findtext("IsTruncated") == "true" and page.xml.findtext("NextPartNumberMarker") == "2"
    rest = upload.parts(part_number_marker=2)
    assert rest.texts("Part/PartNumber") == ["5", "9"] and rest.xml.findtext("IsTruncated") == "false"
    assert upload.parts(max_parts=0).texts("Part") == []
    for bad in ({"max_parts": "x"}, {"max_parts": -1}, {"part_number_marker": "x"}, {"part_number_marker": -1}):
        assert upload.parts(**bad).outcome == (400, "InvalidArgument"), bad
    pages = s3.get_paginator("list_parts").paginate(Bucket=BUCKET, Key="multi", UploadId=upload.id, PaginationConfig={"PageSize": 1})
    assert [part["PartNumber"] for page in pages for part in page.get("Parts", [])] == [1, 2, 5, 9]


def test_list_uploads(raw, s3):
    keys = ["a", "a/b", "a/c", "a/c", "b/x", "ü"]
    ids = {Upload(raw, key).id: key for key in keys}
    listed = raw.send("GET", None, query={"uploads": ""})
    assert listed.texts("Upload/Key") == sorted(keys, key=str.encode)
    assert set(listed.texts("Upload/UploadId")) == set(ids)
    assert listed.xml.findtext("Upload/Initiated").endswith("Z") and listed.xml.findtext("Upload/StorageClass") == "STANDARD"
    by = lambda **query: raw.send("GET", None, query={"uploads": ""} | {n.replace("_", "-"): v for n, v in query.items()})  # noqa: E731
    assert by(prefix="a/").texts("Upload/Key") == ["a/b", "a/c", "a/c"]
    grouped = by(delimiter="/")
    assert grouped.texts("Upload/Key") == ["a", "ü"] and grouped.texts("CommonPrefixes/Prefix") == ["a/", "b/"]
    assert by(key_marker="a/b").texts("Upload/Key") == ["a/c", "a/c", "b/x", "ü"]
    assert by(max_uploads=0).texts("Upload") == []
    assert by(encoding_type="url", prefix="ü").texts("Upload/Key") == ["%C3%BC"]
    for size in (1, 2, 3):
        pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": size})
        found = [entry["UploadId"] for page in pages for entry in page.get("Uploads", [])]
        assert sorted(found) == sorted(ids), size
    for bad in ({"max_uploads": "x"}, {"max_uploads": -1}, {"encoding_type": "x"}):
        assert by(**bad).outcome == (400, "InvalidArgument"), bad


def test_boto3_refuses_the_same(s3):
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="multi")["UploadId"]
    assert refused(s3.complete_multipart_upload, Bucket=BUCKET, Key="multi", UploadId=upload, MultipartUpload={"Parts": []}) == (400, "MalformedXML")
    assert refused(s3.upload_part, Bucket=BUCKET, Key="multi", UploadId="nope", PartNumber=1, Body=b"x") == (404, "NoSuchUpload")
    assert refused(s3.upload_part, Bucket=BUCKET, Key="multi", UploadId=upload, PartNumber=0, Body=b"x") == (400, "InvalidArgument")
