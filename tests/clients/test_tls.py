"""TLS with real clients: curl over HTTP/1.1 and HTTP/2, boto3, the AWS CLI; renewal; client certificates."""

import shutil
import socket
import ssl
import subprocess
import time

import pytest
from botocore.config import Config

import boto3
from guide import ACCESS_KEY, BUCKET
from node import Node
from pki import Authority, tls
from shell import Shell, noise

if shutil.which("openssl") is None or shutil.which("curl") is None:
    pytest.skip("OPENSSL OR CURL IS NOT INSTALLED: TLS is not tested with clients", allow_module_level=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority):
    folder = tmp_path_factory.mktemp("secure")
    certificate, key = authority.issue("first", 1001)
    shutil.copy(certificate, folder / "tls.crt")
    shutil.copy(key, folder / "tls.key")
    node = Node(folder, anonymous=("read",), s3=tls("tls.crt", "tls.key")).start()
    assert node.endpoint.startswith("https://")
    yield node
    node.stop()


def s3_of(node, authority, **config):
    return boto3.client(
        "s3",
        endpoint_url=node.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=node.secret,
        region_name="us-east-1",
        verify=str(authority.certificate),
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, **config),
    )


def curl(node, authority, *arguments):
    command = ["curl", "-sS", "--cacert", str(authority.certificate), *arguments]
    return subprocess.run(command, capture_output=True, timeout=120)


def signed(node):
    return [
        "--user", f"{ACCESS_KEY}:{node.secret}", "--aws-sigv4", "aws:amz:us-east-1:s3",
        "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
    ]


def serial_of(node, authority):
    host, port = node.host.split(":")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
            return int(wrapped.getpeercert()["serialNumber"], 16)


@pytest.mark.parametrize("version, number", [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_speaks_both_protocols(secure, authority, tmp_path, version, number):
    data = noise(3_000_000, number)
    (tmp_path / "up").write_bytes(data)
    url = f"{secure.endpoint}/{BUCKET}/curl-{number}"
    done = curl(secure, authority, version, *signed(secure), "-f", "-T", str(tmp_path / "up"), url)
    assert done.returncode == 0, done.stderr
    done = curl(secure, authority, version, "-w", "%{stderr}%{http_version} %{http_code}", url)
    assert (done.stdout == data, done.stderr.decode()) == (True, f"{number} 200")
    done = curl(secure, authority, version, *signed(secure), "-r", "1000-1999", url)
    assert done.stdout == data[1000:2000]
    done = curl(secure, authority, version, "-I", url)
    assert f"content-length: {len(data)}" in done.stdout.decode().lower()
    done = curl(secure, authority, version, "-o", "/dev/null", "-w", "%{http_code}", f"{url}-missing")
    assert done.stdout == b"404"
    # A body for which there is nobody: the answer comes, and the client is not reset.
    done = curl(secure, authority, version, "-T", str(tmp_path / "up"), "-w", "%{http_code}", "-o", "/dev/null",
                f"{url}-denied")
    assert done.stdout == b"403", done.stderr


def test_many_requests_share_one_connection_of_http2(secure, authority, tmp_path):
    names = [f"shared-{n}" for n in range(40)]
    s3 = s3_of(secure, authority)
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name, Body=noise(50_000, name))
    urls = [part for name in names for part in ("-o", str(tmp_path / name), f"{secure.endpoint}/{BUCKET}/{name}")]
    done = curl(secure, authority, "--http2", "-Z", "--parallel-max", "40", "-w", "%{num_connects}\\n", *urls)
    assert done.returncode == 0, done.stderr
    for name in names:
        assert (tmp_path / name).read_bytes() == noise(50_000, name)
    assert sum(int(n) for n in done.stdout.split()) < 10, done.stdout


def test_boto3_and_its_chunks(secure, authority):
    s3 = s3_of(secure, authority, request_checksum_calculation="when_required")
    data = noise(6_000_000, "boto3")
    s3.put_object(Bucket=BUCKET, Key="boto3", Body=data)
    assert s3.get_object(Bucket=BUCKET, Key="boto3")["Body"].read() == data
    # With a trailing checksum boto3 sends aws-chunked over https.
    s3 = s3_of(secure, authority)
    answer = s3.put_object(Bucket=BUCKET, Key="chunked", Body=data, ChecksumAlgorithm="SHA256")
    assert answer["ChecksumSHA256"]
    assert s3.get_object(Bucket=BUCKET, Key="chunked")["Body"].read() == data


def test_the_aws_cli(secure, authority, tmp_path):
    shell = Shell(secure, tmp_path, tmp_path)
    shell.write("file", noise(9_000_000, "cli"))
    run = f"AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={secure.secret} AWS_DEFAULT_REGION=us-east-1"
    aws = f"{run} aws --ca-bundle {authority.certificate} --endpoint-url {secure.endpoint}"
    shell.run(f"{aws} s3 cp file s3://{BUCKET}/cli && {aws} s3 cp s3://{BUCKET}/cli back && cmp file back")


def test_nobody_gets_an_answer_in_the_clear(secure):
    plain = secure.endpoint.replace("https://", "http://")
    done = subprocess.run(["curl", "-sS", "-m", "10", plain], capture_output=True, timeout=30)
    assert done.returncode != 0 and not done.stdout


def test_a_slow_handshake_is_cut_off(secure):
    host, port = secure.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as quiet:
        began = time.monotonic()
        quiet.sendall(b"\x16\x03\x01")
        assert quiet.recv(100) == b""
        assert 0.5 < time.monotonic() - began < 10


def test_a_renewed_certificate_is_taken_up_without_a_restart(secure, authority):
    assert serial_of(secure, authority) == 1001
    s3 = s3_of(secure, authority)
    s3.put_object(Bucket=BUCKET, Key="kept", Body=b"x")
    certificate, key = authority.issue("second", 1002)
    # As tools do it: one file after the other. In between nothing breaks.
    shutil.copy(certificate, secure.home / "tls.crt")
    time.sleep(2.5)
    assert serial_of(secure, authority) == 1001
    shutil.copy(key, secure.home / "tls.key")
    until = time.monotonic() + 30
    while serial_of(secure, authority) != 1002 and time.monotonic() < until:
        time.sleep(0.2)
    assert serial_of(secure, authority) == 1002
    # The connection from before is still good.
    assert s3.get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"x"


def test_client_certificates(tmp_path, authority):
    certificate, key = authority.issue("server", 2001)
    ours, our_key = authority.issue("client", 2002)
    strange, strange_key = Authority(tmp_path / "strange", "strangers").issue("client", 2003)
    node = Node(tmp_path / "node", anonymous=("read",), s3=tls(certificate, key, f'client_ca = "{authority.certificate}"\n'))
    node.start()
    try:
        status = lambda *arguments: curl(  # noqa: E731
            node, authority, "-o", "/dev/null", "-w", "%{http_code}", *arguments, f"{node.endpoint}/{BUCKET}/none"
        )
        assert status("--cert", ours, "--key", our_key).stdout == b"404"
        assert status("--http1.1", "--cert", ours, "--key", our_key).stdout == b"404"
        assert status().returncode != 0
        assert status("--cert", strange, "--key", strange_key).returncode != 0
    finally:
        node.stop()
