"""The guide's commands with curl: without credentials, conditional, with presigned URLs."""

import json
import re
import shutil

import pytest

import guide
from guide import BUCKET
from s3client import client
from shell import Shell, noise

PUT = "curl -X PUT -H 'If-None-Match: *' --data-binary @new.txt http://s3-orchestrator.service.consul:9000/app1-files/new.txt"
GET = 'curl -H "X-Request-Id: my-trace-123" http://s3-orchestrator.service.consul:9000/app1-files/test.txt'
FETCH = 'curl -o myfile.txt "THE_PRESIGNED_URL"'

if shutil.which("curl") is None:
    pytest.skip("CURL IS NOT INSTALLED: the guide's curl commands are not run", allow_module_level=True)


def said_with_head(shell, text):
    """The command with the head of the answer printed before the body, without the meter."""
    answer = shell.run(guide.command(text).replace("curl ", "curl -sS -i ", 1))
    head, _, body = answer.replace("\r\n", "\n").removeprefix("HTTP/1.1 100 Continue\n\n").partition("\n\n")
    headers = dict(re.findall(r"^([^:\n]+): (.*)$", head.lower(), re.MULTILINE))
    return int(head.split()[1]), headers, body


def test_without_anonymous_access_both_lines_are_refused(shell, s3):
    s3.put_object(Bucket=BUCKET, Key="test.txt", Body=b"not for everybody")
    shell.write("new.txt", b"not from everybody")
    status, _, body = said_with_head(shell, PUT)
    assert status == 403 and "<Code>AccessDenied</Code>" in body
    status, headers, body = said_with_head(shell, GET)
    assert status == 403 and "not for everybody" not in body
    assert headers["x-amz-request-id"] == "my-trace-123"
    assert "<RequestId>my-trace-123</RequestId>" in body
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="new.txt")


def test_with_anonymous_access_both_lines_work(open_node, tmp_path):
    shell = Shell(open_node, tmp_path, tmp_path)
    data = noise(50_000, "curl")
    shell.write("new.txt", data)
    status, headers, _ = said_with_head(shell, PUT)
    assert status == 200 and headers["etag"]
    status, _, body = said_with_head(shell, PUT)
    assert status == 412 and "<Code>PreconditionFailed</Code>" in body
    s3 = client(open_node)
    assert s3.get_object(Bucket=BUCKET, Key="new.txt")["Body"].read() == data

    s3.put_object(Bucket=BUCKET, Key="test.txt", Body=b"for everybody")
    status, headers, body = said_with_head(shell, GET)
    assert (status, body) == (200, "for everybody")
    assert headers["x-amz-request-id"] == "my-trace-123"
    audit = [line for line in open_node.audit("my-trace-123") if line.get("key", "test.txt") == "test.txt"]
    assert audit, open_node.log.read_text()[-1000:]


def test_anonymous_access_does_not_delete_or_list_other_buckets(open_node, tmp_path):
    shell = Shell(open_node, tmp_path, tmp_path)
    client(open_node).put_object(Bucket=BUCKET, Key="kept", Body=b"kept")
    status = lambda text: shell.run(f"curl -sS -o /dev/null -w '%{{http_code}}' {text}")  # noqa: E731
    assert status(f"-X DELETE {open_node.endpoint}/{BUCKET}/kept") == "403"
    assert status(f"{open_node.endpoint}/app2-files/") == "403"
    assert status(f"{open_node.endpoint}/{BUCKET}/kept") == "200"


@pytest.mark.parametrize("sent, echoed", [
    ("my-trace-123", True), ("a" * 128, True), ("{}[]|=;:,. x", True), ("a" * 129, False), ("ümlaut", False), ("", False),
])
def test_request_ids(shell, node, sent, echoed):
    said = shell.run(f"curl -sS -i -H 'X-Request-Id: {sent}' {node.endpoint}/{BUCKET}/x" if sent
                     else f"curl -sS -i -H 'X-Request-Id;' {node.endpoint}/{BUCKET}/x")
    found = re.search(r"(?im)^x-amz-request-id: (.*?)\r?$", said).group(1)
    assert found and (found == sent) == echoed
    assert f"<RequestId>{found}</RequestId>" in said


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_presigned_urls_of_boto3(shell, node, region):
    s3 = client(node, region=region)
    data = noise(300_000, region)
    s3.put_object(Bucket=BUCKET, Key="path/to/myfile.txt", Body=data)
    url = s3.generate_presigned_url(
        "get_object", Params={"Bucket": BUCKET, "Key": "path/to/myfile.txt"}, ExpiresIn=300
    )
    shell.run(guide.command(FETCH).replace("THE_PRESIGNED_URL", url))
    assert shell.read("myfile.txt") == data
    shell.run(f"curl -sS -r 1000-1999 -o range '{url}'")
    assert shell.read("range") == data[1000:2000]


def test_presigned_put(shell, node, s3):
    data = noise(2_000_000, "put")
    shell.write("up", data)
    for region in ("us-east-1", "eu-central-1"):
        url = client(node, region=region).generate_presigned_url(
            "put_object", Params={"Bucket": BUCKET, "Key": region}, ExpiresIn=300
        )
        shell.run(f"curl -sS -f -T up '{url}'")
        assert s3.get_object(Bucket=BUCKET, Key=region)["Body"].read() == data


def test_curls_own_signatures(shell, node, s3):
    """The line of the README; curl signs neither its query nor the hash of a file that it sends."""
    s3.put_object(Bucket=BUCKET, Key="hello.txt", Body=b"hello")
    said = shell.run(
        f"curl -sS --user 'AKID_APP1_WRITER:{node.secret}' --aws-sigv4 aws:amz:us-east-1:s3"
        f" --header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' {node.endpoint}/{BUCKET}/hello.txt"
    )
    assert said == "hello"


def test_audit_lines_have_no_secret(node):
    for line in node.log.read_text().splitlines():
        json.loads(line)
        assert node.secret not in line and "Signature" not in line
