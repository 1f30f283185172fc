"""POST Object: uploads from a browser's form, with a policy."""

import base64
import hashlib
import hmac
import json
import re
import time

import pytest

from guide import ACCESS_KEY, BUCKET
from raw import Raw, checksum, etag
from s3client import client

BOUNDARY = "----boundary"
FILE = b"from a form\r\n--not the boundary\r\n"


def multipart(fields, data=FILE, name="dir/file name.txt", more=()):
    out = b""
    for field, value in fields:
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n'.encode()
        out += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    if data is not None:
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/ignored\r\n\r\n'.encode()
        out += data + b"\r\n"
    for field, value in more:
        out += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
    return out + f"--{BOUNDARY}--\r\n".encode()


def post(raw, body, bucket=BUCKET):
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "host": raw.node.host}
    return raw.send("POST", None, bucket=bucket, body=body, headers=headers, sign=False)


def iso(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def fields_of(raw, key, conditions=(), fields=(), expires=300, policy=None):
    """A form as a server would make it, signed with version 4."""
    stamp = raw.stamp()
    signed = {
        "key": key, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": f"{raw.access_key}/{raw.scope(stamp)}",
        "x-amz-date": stamp, **dict(fields),
    }
    exact = [{name: value} for name, value in signed.items() if name != "key"]
    if policy is None:
        policy = json.dumps({"expiration": iso(expires), "conditions": [{"bucket": BUCKET}, ["starts-with", "$key", ""], *exact, *conditions]})
    encoded = base64.b64encode(policy.encode()).decode()
    signature = hmac.new(raw.key(stamp), encoded.encode(), hashlib.sha256).hexdigest()
    return [*signed.items(), ("policy", encoded), ("x-amz-signature", signature)]


@pytest.fixture(autouse=True)
def fresh(raw):
    raw.send("DELETE", "form")


def untouched(raw, answer, outcome):
    assert answer.outcome == outcome, answer.body
    assert raw.send("GET", "form").status == 404


def test_a_form(raw):
    answer = post(raw, multipart(fields_of(raw, "form")))
    assert answer.status == 204 and answer.headers["etag"] == etag(FILE)
    assert answer.headers["location"] == f"{raw.node.endpoint}/{BUCKET}/form"
    got = raw.send("GET", "form")
    assert got.body == FILE and got.headers["content-type"] == "binary/octet-stream"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_forms_of_boto3(node, raw, region):
    """Version 2 in the first region, version 4 in the other."""
    made = client(node, region=region).generate_presigned_post(
        BUCKET, "form", Fields={"Content-Type": "text/x"}, Conditions=[{"Content-Type": "text/x"}, ["content-length-range", 1, 100]], ExpiresIn=60)
    assert ("x-amz-signature" in made["fields"]) == (region != "us-east-1")
    assert post(raw, multipart(made["fields"].items())).status == 204
    got = raw.send("GET", "form")
    assert got.body == FILE and got.headers["content-type"] == "text/x"
    raw.send("DELETE", "form")
    untouched(raw, post(raw, multipart(made["fields"].items(), b"x" * 101)), (400, "EntityTooLarge"))
    untouched(raw, post(raw, multipart(made["fields"].items(), b"")), (400, "EntityTooSmall"))
    changed = made["fields"] | {"Content-Type": "text/html"}
    untouched(raw, post(raw, multipart(changed.items())), (403, "AccessDenied"))


def test_fields(raw):
    fields = {"Content-Type": "text/x", "x-amz-meta-a": "ü", "Cache-Control": "no-store",
              "tagging": "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
              "x-amz-checksum-crc32": checksum("CRC32", FILE), "success_action_status": "201"}
    answer = post(raw, multipart(fields_of(raw, "form", fields=fields.items())))
    assert answer.status == 201 and answer.xml.tag == "PostResponse"
    assert answer.xml.findtext("Key") == "form" and answer.xml.findtext("ETag") == etag(FILE) and answer.xml.findtext("Bucket") == BUCKET
    got = raw.send("GET", "form").headers
    assert (got["content-type"], got["cache-control"], got["x-amz-tagging-count"]) == ("text/x", "no-store", "1")


def test_the_name_of_the_file(raw):
    answer = post(raw, multipart(fields_of(raw, "up/${filename}"), name="C:\\dir\\my file.txt"))
    assert answer.status == 204
    keys = raw.send("GET", None, query={"list-type": 2, "prefix": "up/"}).texts("Contents/Key")
    assert keys in (["up/my file.txt"], ["up/C:\\dir\\my file.txt"])
    for key in keys:
        raw.send("DELETE", key)


def test_a_redirect(raw):
    fields = [("success_action_redirect", "http://example.org/done?a=1")]
    answer = post(raw, multipart(fields_of(raw, "form", fields=fields)))
    assert answer.status == 303
    assert re.fullmatch(r"http://example\.org/done\?a=1&bucket=app1-files&key=form&etag=%22[0-9a-f]{32}%22", answer.headers["location"])


def test_a_wrong_checksum(raw):
    fields = [("x-amz-checksum-crc32", checksum("CRC32", b"other"))]
    untouched(raw, post(raw, multipart(fields_of(raw, "form", fields=fields))), (400, "BadDigest"))


@pytest.mark.parametrize("conditions, good", [
    ([["starts-with", "$key", "fo"]], True), ([["starts-with", "$key", "other"]], False), ([["eq", "$key", "form"]], True), ([{"key": "other"}], False),
    ([["content-length-range", 0, 1000]], True), ([["content-length-range", 0, 5]], False), ([["content-length-range", 1000, 2000]], False),
    ([{"bucket": "app2-files"}], False), ([["starts-with", "$x-amz-meta-a", "1"]], False), ([{"acl": "private"}], False),
])
def test_conditions(raw, conditions, good):
    answer = post(raw, multipart(fields_of(raw, "form", conditions)))
    if good:
        assert answer.status == 204 and raw.send("GET", "form").body == FILE
    else:
        assert answer.status in (400, 403) and raw.send("GET", "form").status == 404


def test_a_field_that_the_policy_does_not_name(raw):
    fields = fields_of(raw, "form")
    untouched(raw, post(raw, multipart([*fields, ("x-amz-meta-extra", "1")])), (403, "AccessDenied"))
    assert post(raw, multipart([*fields, ("x-ignore-this", "1")])).status == 204


def test_fields_behind_the_file_do_not_count(raw):
    assert post(raw, multipart(fields_of(raw, "form"), more=[("x-amz-meta-late", "1")])).status == 204
    assert "x-amz-meta-late" not in raw.send("HEAD", "form").headers


def changed(fields, name, value):
    return [(field, value if field == name else old) for field, old in fields if not (field == name and value is None)]


@pytest.mark.parametrize("name, value, statuses", [
    ("x-amz-signature", "0" * 64, (403,)), ("x-amz-signature", None, (400, 403)), ("policy", None, (400, 403)), ("policy", "!!!", (400, 403)),
    ("x-amz-credential", None, (400, 403)), ("x-amz-credential", "nobody/20260101/us-east-1/s3/aws4_request", (400, 403)),
    ("x-amz-algorithm", "AWS4-HMAC-MD5", (400, 403)), ("x-amz-date", None, (400, 403)), ("key", None, (400,)), ("key", "", (400,)),
])
def test_broken_forms(raw, name, value, statuses):
    answer = post(raw, multipart(changed(fields_of(raw, "form"), name, value)))
    assert answer.status in statuses and answer.code, answer.body
    assert raw.send("GET", "form").status == 404


def test_policies_that_are_none(raw):
    for policy in ("{}", "[]", "x", json.dumps({"expiration": "tomorrow", "conditions": []}), json.dumps({"expiration": iso(60)}),
                   json.dumps({"expiration": iso(60), "conditions": [["matches", "$key", "x"]]})):
        untouched(raw, post(raw, multipart(fields_of(raw, "form", policy=policy))), (400, "InvalidPolicyDocument"))
    untouched(raw, post(raw, multipart(fields_of(raw, "form", expires=-60))), (403, "AccessDenied"))


@pytest.mark.parametrize("spoil", [
    lambda body: body[:-30], lambda body: body.replace(BOUNDARY.encode(), b"other"), lambda body: b"", lambda body: body[len(BOUNDARY) :],
    lambda body: body.replace(b'name="file"', b'name="fil"'), lambda body: body.replace(b"form-data", b"attachment"),
], ids=["cut", "boundary", "nothing", "head", "no file", "no form"])
def test_bodies_that_are_no_form(raw, spoil):
    answer = post(raw, spoil(multipart(fields_of(raw, "form"))))
    assert answer.status in (400, 403, 412) and answer.code
    assert raw.send("GET", "form").status == 404


def test_who_may(raw, node, open_node):
    untouched(raw, post(raw, multipart([("key", "form")])), (403, "AccessDenied"))
    reader = Raw(node, "AKID_APP1_READER", node.reader_secret)
    untouched(raw, post(raw, multipart(fields_of(reader, "form"))), (403, "AccessDenied"))
    other = Raw(node, "AKID_APP2_WRITER", node.other_secret)
    untouched(raw, post(raw, multipart(fields_of(other, "form"))), (403, "AccessDenied"))
    stranger = Raw(node, ACCESS_KEY, "not the secret at all")
    untouched(raw, post(raw, multipart(fields_of(stranger, "form"))), (403, "SignatureDoesNotMatch"))
    assert post(Raw(open_node), multipart([("key", "form")])).status == 204
    assert Raw(open_node).send("GET", "form").body == FILE


def test_a_large_file(raw):
    data = b"0123456789abcdef" * 600_000
    assert post(raw, multipart(fields_of(raw, "form"), data)).status == 204
    assert raw.send("GET", "form").body == data
