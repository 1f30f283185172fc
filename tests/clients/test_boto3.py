"""The guide's code with boto3, and what programs that use it do beside."""

import ast
import io
import socket
import urllib.error
import urllib.request
from types import SimpleNamespace

import boto3
import pytest
from boto3.s3.transfer import TransferConfig

import guide
from guide import BUCKET
from s3client import client, keys_of, refused
from shell import noise

MIB = 1024 * 1024
PARTS = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=5 * MIB)


class Snippets:
    """Runs blocks of the guide one after the other, as in one program, in an empty directory."""

    def __init__(self, node):
        self.node = node
        self.names = {}

    def run(self, first, last):
        code = guide.filled(guide.block(first, last), self.node)
        ast.parse(code)
        exec(compile(code, f"guide: {first}", "exec"), self.names)


@pytest.fixture
def snippets(node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = Snippets(node)
    found.run("import boto3", ")")
    assert found.names["s3"].meta.endpoint_url == node.endpoint
    return found


def test_setup():
    """The guide installs boto3 without naming a version; the newest is pinned for this suite."""
    guide.command("pip install boto3")
    assert boto3.__version__


def test_upload_and_download(snippets, s3, tmp_path):
    data = noise(100_000, "boto3")
    (tmp_path / "myfile.txt").write_bytes(data)
    snippets.run("# From a file", ")")
    assert s3.get_object(Bucket=BUCKET, Key="path/to/myfile.txt")["Body"].read() == data
    (tmp_path / "myfile.txt").unlink()
    snippets.run("# To a file", "data = response[\"Body\"].read()")
    assert (tmp_path / "myfile.txt").read_bytes() == data
    response = snippets.names["response"]
    assert snippets.names["data"] == b'{"key": "value"}'
    assert response["ContentType"] == "application/json"
    assert response["Metadata"] == {"project": "acme", "env": "prod"}
    assert response["ETag"] == '"88bac95f31528d13a072c05f2a1cf371"'


def test_list(snippets, s3, capsys):
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"photos/{number}.jpg", Body=b"x" * number)
    snippets.run('response = s3.list_objects_v2(Bucket="app1-files", Prefix="photos/")', '        print(obj["Key"])')
    names = [f"photos/{number}.jpg" for number in range(3)]
    sized = [f"{name}  ({number} bytes)" for number, name in enumerate(names)]
    assert capsys.readouterr().out.splitlines() == sized + names


def test_a_listing_over_many_pages(s3):
    names = [f"pages/{number:03}" for number in range(23)]
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name)
    paginator = s3.get_paginator("list_objects_v2")
    pages = list(paginator.paginate(Bucket=BUCKET, Prefix="pages/", PaginationConfig={"PageSize": 5}))
    assert len(pages) == 5
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == names


def test_delete(snippets, s3):
    s3.put_object(Bucket=BUCKET, Key="path/to/myfile.txt")
    line = 's3.delete_object(Bucket="app1-files", Key="path/to/myfile.txt")'
    snippets.run(line, line)
    assert "path/to/myfile.txt" not in keys_of(s3, BUCKET)
    snippets.run(line, line)


def test_copy(snippets, s3):
    s3.put_object(Bucket=BUCKET, Key="old/location.txt", Body=b"copied", Metadata={"a": "b"})
    snippets.run("s3.copy_object(", ")")
    copied = s3.get_object(Bucket=BUCKET, Key="new/location.txt")
    assert copied["Body"].read() == b"copied"
    assert copied["Metadata"] == {"a": "b"}


def test_conditional_write(snippets, s3):
    lines = guide.TEXT.splitlines()
    end = lines.index('    IfNoneMatch="*",')
    text = guide.filled("\n".join(lines[end - 4 : end + 2]), snippets.node)
    assert text.startswith("s3.put_object(") and text.endswith(")")
    exec(text, snippets.names)
    assert s3.get_object(Bucket=BUCKET, Key="new.txt")["Body"].read() == b"contents"
    assert refused(lambda: exec(text, snippets.names)) == (412, "PreconditionFailed")


def presigned(snippets):
    snippets.run("url = s3.generate_presigned_url(", ")")
    return snippets.names["url"]


def fetch(url, method="GET", data=None, headers=()):
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers))
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def test_presigned_url(snippets, s3):
    s3.put_object(Bucket=BUCKET, Key="path/to/myfile.txt", Body=b"presigned")
    url = presigned(snippets)
    assert "AWSAccessKeyId=" in url, "boto3 signs with version 2 in us-east-1"
    assert fetch(url) == b"presigned"
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(url.replace("myfile.txt", "other.txt"))
    assert error.value.code == 403


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_presigned_urls_of_both_versions(node, region):
    s3 = client(node, region=region)
    url = lambda operation, key: s3.generate_presigned_url(  # noqa: E731
        operation, Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=300
    )
    assert ("X-Amz-Signature" in url("get_object", "x")) == (region != "us-east-1")
    key = f"presigned/{region} ü+.txt"
    # An empty type: otherwise Python's own would have to be signed under version 2.
    fetch(url("put_object", key), "PUT", b"put", {"Content-Type": ""})
    assert fetch(url("get_object", key)) == b"put"
    assert fetch(url("head_object", key), "HEAD") == b""
    fetch(url("delete_object", key), "DELETE")
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(url("get_object", key))
    assert error.value.code == 404


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_presigned_urls_end(node, region):
    url = lambda seconds: client(node, region=region).generate_presigned_url(  # noqa: E731
        "get_object", Params={"Bucket": BUCKET, "Key": "x"}, ExpiresIn=seconds
    )
    for seconds, statuses in ((7 * 86400 + 60, (400, 403)), (-10, (400, 403)), (7 * 86400 - 5, (404,))):
        with pytest.raises(urllib.error.HTTPError) as error:
            fetch(url(seconds))
        assert error.value.code in statuses, seconds


def test_large_files_go_in_parts(s3, tmp_path):
    data = noise(17 * MIB + 3, "parts")
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "large", ExtraArgs={"Metadata": {"k": "v"}}, Config=PARTS)
    head = s3.head_object(Bucket=BUCKET, Key="large", ChecksumMode="ENABLED")
    assert head["ETag"].endswith('-4"') and head["Metadata"] == {"k": "v"}
    assert head["ChecksumType"] == "COMPOSITE" and head["ChecksumCRC32"].endswith("-4")
    s3.download_file(BUCKET, "large", tmp_path / "back", Config=PARTS)
    assert (tmp_path / "back").read_bytes() == data

    s3.copy({"Bucket": BUCKET, "Key": "large"}, BUCKET, "large copy", Config=PARTS)
    copied = s3.get_object(Bucket=BUCKET, Key="large copy")
    assert copied["ETag"].endswith('-4"'), "copied in parts"
    assert copied["Body"].read() == data


# The others need awscrt, with which boto3 would sign by other code than the guide's.
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_large_files_with_each_checksum(s3, algorithm):
    data = noise(11 * MIB, algorithm)
    extra = {"ChecksumAlgorithm": algorithm}
    s3.upload_fileobj(io.BytesIO(data), BUCKET, "checked", ExtraArgs=extra, Config=PARTS)
    assert s3.get_object(Bucket=BUCKET, Key="checked")["Body"].read() == data
    assert s3.head_object(Bucket=BUCKET, Key="checked", ChecksumMode="ENABLED")[f"Checksum{algorithm}"]


ODD = [
    "with space", "plus+plus", "per%cent%20", "a//b", "/leading", "trailing/", "ünï/cödé", "emoji-🦀",
    "q?m=1&x=2#y", "./dot", "../dots", "'\"quotes`", "star*(1)!", "new\nline", "tab\there", "cr\r", "<xml>&amp;",
    "back\\slash", "%2F", "~tilde", "a:b@c", "k" * 1000, "null%00",
]


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_odd_keys(s3, name):
    key = f"odd/{name}"
    s3.put_object(Bucket=BUCKET, Key=key, Body=name.encode())
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == name.encode()
    assert keys_of(s3, BUCKET, key) == [key]
    s3.copy_object(Bucket=BUCKET, Key=f"copy/{name}", CopySource={"Bucket": BUCKET, "Key": key})
    assert s3.head_object(Bucket=BUCKET, Key=f"copy/{name}")["ContentLength"] == len(name.encode())
    deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key}, {"Key": f"copy/{name}"}]})
    assert sorted(entry["Key"] for entry in deleted["Deleted"]) == sorted([key, f"copy/{name}"])
    assert keys_of(s3, BUCKET, "odd/") == []


@pytest.mark.parametrize("config", [
    {"request_checksum_calculation": "when_required"},
    {"s3": {"payload_signing_enabled": False}},
    {"signature_version": "s3v4"},
    {"response_checksum_validation": "when_required"},
])
def test_other_settings_of_the_client(node, config):
    s3 = client(node, **config)
    data = noise(200_000, "settings")
    s3.put_object(Bucket=BUCKET, Key="settings", Body=data)
    assert s3.get_object(Bucket=BUCKET, Key="settings")["Body"].read() == data


def test_virtual_host_style(tmp_path_factory, monkeypatch):
    from conftest import running

    resolve = socket.getaddrinfo
    asked = set()

    def to_loopback(host, *arguments, **options):
        asked.add(host)
        return resolve("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", to_loopback)
    for node in running(tmp_path_factory.mktemp("virtual"), s3='domain = "s3.example.org"'):
        port = node.endpoint.rpartition(":")[2]
        # boto3 keeps to path style where the endpoint is a number.
        named = SimpleNamespace(endpoint=f"http://s3.example.org:{port}", secret=node.secret)
        s3 = client(named, s3={"addressing_style": "virtual"})
        s3.put_object(Bucket=BUCKET, Key="a/b c", Body=b"virtual")
        assert f"{BUCKET}.s3.example.org" in asked
        assert keys_of(s3, BUCKET) == ["a/b c"]
        assert client(node).get_object(Bucket=BUCKET, Key="a/b c")["Body"].read() == b"virtual"
