"""The snippets in packaging/ with the real nginx and the real Caddy: signatures, sizes, addresses."""

import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from botocore.config import Config

import boto3
from guide import ACCESS_KEY, BUCKET
from node import Node
from pki import Authority
from shell import noise

PACKAGING = Path(__file__).parents[2] / "packaging"
NAME = "s3.example.org"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(port, process):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert process.poll() is None, "the proxy ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the proxy does not listen")


def nginx(folder, node, port, certificate, key):
    """The snippet as it is, with the addresses and files of this test."""
    snippet = (PACKAGING / "nginx.conf").read_text()
    snippet = snippet.replace("listen [::]:443 ssl http2;", "").replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl")
    snippet = snippet.replace("/etc/ssl/s3.example.org.crt", str(certificate)).replace("/etc/ssl/s3.example.org.key", str(key))
    snippet = snippet.replace("127.0.0.1:9000", node.host)
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{snippet}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]


def caddy(folder, node, port, certificate, key):
    snippet = (PACKAGING / "Caddyfile").read_text()
    snippet = snippet.replace("s3.example.org {", f"https://s3.example.org:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}", 1)
    snippet = snippet.replace("127.0.0.1:9000", node.host)
    config = folder / "Caddyfile"
    config.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system {folder}/storage\n}}\n{snippet}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxied(request, tmp_path_factory):
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param.upper()} IS NOT INSTALLED: its snippet is not tested")
    folder = tmp_path_factory.mktemp(request.param)
    authority = Authority(folder / "pki")
    certificate, key = authority.issue("proxy", 3001)
    port = free_port()
    node = Node(
        folder / "node",
        anonymous=("read",),
        s3=f'external_url = "https://{NAME}:{port}"\ntrusted_proxies = ["127.0.0.1"]',
    ).start()
    (folder / "run").mkdir()
    make = {"nginx": nginx, "caddy": caddy}[request.param]
    command = make(folder / "run", node, port, certificate, key)
    process = subprocess.Popen(command, env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                               stdout=(folder / "proxy.log").open("wb"), stderr=subprocess.STDOUT)
    try:
        wait_for(port, process)
        yield node, port, authority
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        node.stop()


@pytest.fixture
def by_name(monkeypatch):
    """The proxy's name leads to this machine."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: real(
        "127.0.0.1" if host == NAME else host, *rest, **more))


def s3_of(proxied):
    node, port, authority = proxied
    return boto3.client(
        "s3",
        endpoint_url=f"https://{NAME}:{port}",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=node.secret,
        region_name="us-east-1",
        verify=str(authority.certificate),
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, s3={"addressing_style": "path"}),
    )


def test_what_clients_sign_is_right_behind_the_proxy(proxied, by_name):
    s3 = s3_of(proxied)
    for key in ("plain", "a b/ü+%&=?#.txt", "x//y/../z", "ends/"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata={"name": "value"})
        answer = s3.get_object(Bucket=BUCKET, Key=key)
        # Caddy writes the names of headers in its own way; they are the same names.
        metadata = {name.lower(): value for name, value in answer["Metadata"].items()}
        assert (answer["Body"].read(), metadata) == (key.encode(), {"name": "value"})
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert "x//y/../z" in listed


def test_large_bodies_and_ranges_pass(proxied, by_name):
    s3, data = s3_of(proxied), noise(30_000_000, "proxy")
    s3.put_object(Bucket=BUCKET, Key="large", Body=data)
    assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == data
    part = s3.get_object(Bucket=BUCKET, Key="large", Range="bytes=1000-1999")
    assert part["Body"].read() == data[1000:2000]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    etag = s3.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=data)["ETag"]
    done = s3.complete_multipart_upload(
        Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]})
    assert done["Location"].startswith(f"https://{NAME}:")


def test_presigned_urls_are_for_the_name_of_the_proxy(proxied, by_name):
    node, port, authority = proxied
    s3 = s3_of(proxied)
    s3.put_object(Bucket=BUCKET, Key="shared", Body=b"shared")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "shared"}, ExpiresIn=60)
    command = ["curl", "-sS", "--cacert", str(authority.certificate), "--resolve", f"{NAME}:{port}:127.0.0.1", url]
    for version in ("--http1.1", "--http2"):
        assert subprocess.run([*command, version], capture_output=True, timeout=60).stdout == b"shared"


def test_the_audit_log_has_the_client_that_the_proxy_names(proxied, by_name):
    node, port, authority = proxied
    # The client claims to be somebody else; what the proxy adds is what counts.
    command = ["curl", "-sS", "--cacert", str(authority.certificate), "--resolve", f"{NAME}:{port}:127.0.0.1",
               "-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Request-Id: through-the-proxy",
               f"https://{NAME}:{port}/{BUCKET}/none"]
    subprocess.run(command, capture_output=True, timeout=60)
    until = time.monotonic() + 10
    while not node.audit("through-the-proxy") and time.monotonic() < until:
        time.sleep(0.05)
    found = node.audit("through-the-proxy")[0]["remote"]
    assert re.fullmatch(r"127\.0\.0\.1", found), found
