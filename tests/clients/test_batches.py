"""Tags, DeleteObjects, GetObjectAttributes."""

import pytest

from guide import BUCKET
from raw import Raw, b64, checksum, composite, etag, md5
from s3client import keys_of, refused
from shell import noise

MIB = 1024 * 1024


def put_tags(raw, document, key="tagged", **headers):
    body = document.encode()
    headers = {"content-md5": md5(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.send("PUT", key, query={"tagging": ""}, body=body, headers=headers)


def tagging(pairs):
    tags = "".join(f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>" for key, value in pairs)
    return f"<Tagging><TagSet>{tags}</TagSet></Tagging>"


def get_tags(raw, key="tagged"):
    answer = raw.send("GET", key, query={"tagging": ""})
    assert answer.status == 200
    return dict(zip(answer.texts("TagSet/Tag/Key"), answer.texts("TagSet/Tag/Value")))


@pytest.fixture
def tagged(raw):
    raw.send("PUT", "tagged", body=b"x", headers={"x-amz-tagging": "a=1&b=%20%2B&c="})


def test_tags(raw, tagged, s3):
    assert get_tags(raw) == {"a": "1", "b": " +", "c": ""}
    assert raw.send("HEAD", "tagged").headers["x-amz-tagging-count"] == "3"
    before = raw.send("HEAD", "tagged").headers
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": [{"Key": "ü", "Value": "µ b"}]})
    assert get_tags(raw) == {"ü": "µ b"}
    after = raw.send("GET", "tagged")
    assert after.body == b"x" and after.headers["etag"] == before["etag"] and after.headers["x-amz-tagging-count"] == "1"
    assert raw.send("DELETE", "tagged", query={"tagging": ""}).status == 204
    assert get_tags(raw) == {} and "x-amz-tagging-count" not in raw.send("HEAD", "tagged").headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_tags_of_nothing(raw, method):
    answer = put_tags(raw, tagging([]), "missing") if method == "PUT" else raw.send(method, "missing", query={"tagging": ""})
    assert answer.outcome == (404, "NoSuchKey")
    assert raw.send("GET", "missing").status == 404


LIMITS = [
    ([(f"k{number}", "v") for number in range(10)], ""), ([(f"k{number}", "v") for number in range(11)], ("BadRequest", "InvalidTag")),
    ([("k" * 128, "v" * 256)], ""), ([("k" * 129, "v")], ("InvalidTag",)), ([("k", "v" * 257)], ("InvalidTag",)), ([("", "v")], ("InvalidTag",)),
    ([("ü" * 128, "µ" * 256)], ""), ([("a", "1"), ("a", "2")], ("InvalidTag",)), ([("a*b", "1")], ("InvalidTag",)), ([("a", "1;2")], ("InvalidTag",)),
    ([("_.:/=+-@ 9", "_.:/=+-@ 9")], ""), ([("a\tb", "1")], ("InvalidTag",)),
]


@pytest.mark.parametrize("pairs, codes", LIMITS)
def test_limits_of_tags(raw, tagged, pairs, codes):
    answer = put_tags(raw, tagging(pairs))
    assert (answer.status, answer.code in codes if codes else answer.code == "") == ((400 if codes else 200), True), answer.body
    assert get_tags(raw) == (dict(pairs) if not codes else {"a": "1", "b": " +", "c": ""})


@pytest.mark.parametrize("pairs, codes", LIMITS)
def test_limits_of_tags_in_the_header(raw, pairs, codes):
    from urllib.parse import quote

    raw.send("DELETE", "tagged")
    text = "&".join(f"{quote(key)}={quote(value)}" for key, value in pairs)
    answer = raw.send("PUT", "tagged", body=b"x", headers={"x-amz-tagging": text})
    assert answer.status == (400 if codes else 200), answer.body
    assert not codes or answer.code in codes + ("InvalidArgument",)
    if codes:
        assert raw.send("GET", "tagged").status == 404
    else:
        assert get_tags(raw) == dict(pairs)


@pytest.mark.parametrize("document", ["<Tagging/>", "<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "<", "<Other/>", "<Tagging><TagSet/><TagSet/></Tagging>"])
def test_documents_that_are_no_tags(raw, tagged, document):
    assert put_tags(raw, document).outcome == (400, "MalformedXML")
    assert len(get_tags(raw)) == 3


def test_tags_need_a_digest(raw, tagged):
    body = tagging([]).encode()
    assert raw.send("PUT", "tagged", query={"tagging": ""}, body=body).outcome in ((400, "InvalidRequest"), (200, ""))
    assert put_tags(raw, tagging([("n", "1")]), content_md5=md5(b"other")).outcome == (400, "BadDigest")
    crc = {"x_amz_checksum_crc32": checksum("CRC32", tagging([("n", "2")]).encode()), "content_md5": None}
    assert put_tags(raw, tagging([("n", "2")]), **crc).status == 200


def batch(raw, document, **headers):
    body = document.encode()
    headers = {"content-md5": md5(body)} | {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.send("POST", None, query={"delete": ""}, body=body, headers=headers)


def test_delete_objects(raw, s3):
    for key in ("del/a", "del/b", "del/ü <&>", "del/kept"):
        s3.put_object(Bucket=BUCKET, Key=key)
    names = ["del/a", "del/b", "del/never there", "del/ü <&>", "del/a"]
    done = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name} for name in names]})
    assert [entry["Key"] for entry in done["Deleted"]] == names and "Errors" not in done
    assert keys_of(s3, BUCKET, "del/") == ["del/kept"]


def test_quiet(raw, s3):
    s3.put_object(Bucket=BUCKET, Key="quiet")
    objects = [{"Key": "quiet"}, {"Key": "k" * 1025}, {"Key": "quiet", "VersionId": "v"}]
    done = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects, "Quiet": True})
    assert "Deleted" not in done
    assert [error["Code"] for error in done["Errors"]] == ["KeyTooLongError", "NotImplemented"]
    assert keys_of(s3, BUCKET, "quiet") == []


def test_conditional_batches(s3):
    for key in ("cond/1", "cond/2"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    objects = [{"Key": "cond/1", "ETag": etag(b"x")}, {"Key": "cond/2", "ETag": '"other"'}]
    done = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": objects})
    assert [entry["Key"] for entry in done["Deleted"]] == ["cond/1"]
    assert [(error["Key"], error["Code"]) for error in done["Errors"]] == [("cond/2", "PreconditionFailed")]
    assert keys_of(s3, BUCKET, "cond/") == ["cond/2"]


@pytest.mark.parametrize("document, outcome", [
    ("", (400, "MissingRequestBodyError")), ("<Delete/>", (400, "MalformedXML")), ("<Delete><Object/></Delete>", (400, "MalformedXML")),
    ("<Other/>", (400, "MalformedXML")), ("<Delete><Object><Key>\x01</Key></Object></Delete>", (400, "MalformedXML")),
    ("<Delete><Quiet>perhaps</Quiet><Object><Key>a</Key></Object></Delete>", (400, "MalformedXML")),
    ("<Delete>" + "<Object><Key>a</Key></Object>" * 1001 + "</Delete>", (400, "MalformedXML")),
    ("<Delete>" + "<a>" * 100 + "</a>" * 100 + "</Delete>", (400, "MalformedXML")),
    ("<Delete xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Object><Key>a</Key></Object></Delete>", (200, "")),
    ("<?xml version='1.0' encoding='UTF-8'?><Delete><Object><Key>a&#xA;b</Key></Object></Delete>", (200, "")),
    ("<Delete>" + "<Object><Key>a</Key></Object>" * 1000 + "</Delete>", (200, "")),
])
def test_documents_of_batches(raw, document, outcome):
    assert batch(raw, document).outcome == outcome


def test_a_batch_needs_a_digest(raw):
    document = "<Delete><Object><Key>a</Key></Object></Delete>"
    assert batch(raw, document, content_md5=None).outcome == (400, "InvalidRequest")
    assert batch(raw, document, content_md5=md5(b"x")).outcome == (400, "BadDigest")
    assert batch(raw, document, content_md5="x").outcome == (400, "InvalidDigest")
    assert batch(raw, document, content_md5=None, x_amz_checksum_sha256=checksum("SHA256", document.encode())).status == 200
    assert batch(raw, document, content_md5=None, x_amz_checksum_crc32=checksum("CRC32", b"x")).outcome == (400, "BadDigest")


def test_a_batch_that_is_too_large(raw):
    document = "<Delete>" + " " * (5 * MIB) + "<Object><Key>a</Key></Object></Delete>"
    assert batch(raw, document).outcome == (400, "MaxMessageLengthExceeded")


def test_batches_need_the_right_to_delete(raw, node):
    raw.send("PUT", "mine", body=b"x")
    reader = Raw(node, "AKID_APP1_READER", node.reader_secret)
    answer = batch(reader, "<Delete><Object><Key>mine</Key></Object></Delete>")
    assert answer.outcome == (403, "AccessDenied") or b"<Code>AccessDenied</Code>" in answer.body
    assert raw.send("GET", "mine").status == 200


ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


def attributes(raw, key, names, **headers):
    headers = {"x-amz-object-attributes": names} | {name.replace("_", "-"): value for name, value in headers.items()}
    return raw.send("GET", key, query={"attributes": ""}, headers=headers)


def test_attributes(raw, s3):
    s3.put_object(Bucket=BUCKET, Key="attr", Body=b"hello", ChecksumAlgorithm="SHA1")
    found = s3.get_object_attributes(Bucket=BUCKET, Key="attr", ObjectAttributes=ALL)
    assert found["ETag"] == etag(b"hello").strip('"') and found["ObjectSize"] == 5 and found["StorageClass"] == "STANDARD"
    assert found["Checksum"] == {"ChecksumSHA1": checksum("SHA1", b"hello"), "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in found and found["LastModified"]
    only = attributes(raw, "attr", "ObjectSize").xml
    assert [element.tag for element in only] == ["ObjectSize"]


@pytest.mark.parametrize("names, outcome", [(None, (400, "InvalidRequest")), ("", (400, "InvalidRequest")), ("Colour", (400, "InvalidArgument")), ("ETag,Colour", (400, "InvalidArgument")), ("etag", (400, "InvalidArgument"))])
def test_bad_names_of_attributes(raw, names, outcome):
    raw.send("PUT", "attr", body=b"x")
    assert attributes(raw, "attr", names).outcome == outcome


def test_other_errors_of_attributes(raw):
    raw.send("PUT", "attr", body=b"x")
    assert attributes(raw, "missing", "ETag").outcome == (404, "NoSuchKey")
    for bad in ({"x_amz_max_parts": "x"}, {"x_amz_max_parts": "-1"}, {"x_amz_part_number_marker": "x"}):
        assert attributes(raw, "attr", "ObjectParts", **bad).outcome == (400, "InvalidArgument"), bad


def test_attributes_of_parts(raw, s3):
    parts = [noise(5 * MIB, 1), noise(5 * MIB, 2), b"end"]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="attr", ChecksumAlgorithm="SHA256")["UploadId"]
    named = []
    for number, data in enumerate(parts, 1):
        sent = s3.upload_part(Bucket=BUCKET, Key="attr", UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="SHA256")
        named.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=BUCKET, Key="attr", UploadId=upload, MultipartUpload={"Parts": named})
    found = s3.get_object_attributes(Bucket=BUCKET, Key="attr", ObjectAttributes=ALL)
    assert found["Checksum"]["ChecksumSHA256"] == composite("SHA256", parts)
    listed = found["ObjectParts"]
    assert listed["TotalPartsCount"] == 3 and not listed["IsTruncated"]
    assert [(p["PartNumber"], p["Size"], p["ChecksumSHA256"]) for p in listed["Parts"]] == [
        (number, len(data), checksum("SHA256", data)) for number, data in enumerate(parts, 1)]
    page = s3.get_object_attributes(Bucket=BUCKET, Key="attr", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1)["ObjectParts"]
    assert [part["PartNumber"] for part in page["Parts"]] == [2] and page["IsTruncated"] and page["NextPartNumberMarker"] == 2


def test_refusals_reach_boto3(s3):
    assert refused(s3.get_object_tagging, Bucket=BUCKET, Key="missing") == (404, "NoSuchKey")
    assert refused(s3.get_object_acl, Bucket=BUCKET, Key="attr") == (501, "NotImplemented")
    assert refused(s3.put_bucket_versioning, Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})[0] in (405, 501)
    assert b64(b"x")
