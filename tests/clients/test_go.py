"""The guide's code for the AWS SDK for Go v2: `go/main.go`, built once, one run a step."""

import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

import guide
from guide import BUCKET

MODULE = Path(__file__).parent / "go"

if shutil.which("go") is None:
    pytest.skip("GO IS NOT INSTALLED: the guide's Go code is not run", allow_module_level=True)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    path = tmp_path_factory.mktemp("go") / "clients"
    build = subprocess.run(["go", "build", "-o", path, "."], cwd=MODULE, capture_output=True, text=True, timeout=600)
    assert build.returncode == 0, build.stderr
    return path


@pytest.fixture
def go(binary, node):
    def run(step):
        env = os.environ | {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        command = [binary, node.endpoint, node.secret, step]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
        assert done.returncode == 0, f"{step}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def plain(line):
    """`=` and `:=` tell only where a variable was declared first."""
    return line.strip().replace(":=", "=")


def test_the_program_has_every_line_of_the_guide():
    program = {plain(line) for line in (MODULE / "main.go").read_text().splitlines()}
    program |= {line.replace("endpoint)", f'"{guide.ENDPOINT}")') for line in program}
    program |= {line.replace("secret,", f'"{guide.SECRET}",') for line in program}
    lines = guide.TEXT.splitlines()
    first, last = lines.index("func newClient() *s3.Client {"), lines.index("Conditional Writes")
    code = [line for line in lines[first:last] if line and line not in ("Upload", "Download", "List objects", "Delete")]
    begin = lines.index("presignClient := s3.NewPresignClient(client)")
    code += lines[begin : lines.index("// req.URL contains the presigned URL") + 1]
    assert [line for line in code if plain(line) not in program] == []


def test_the_module_has_the_packages_of_the_guide():
    wanted = [command.split()[-1] for command in guide.commands() if command.startswith("go get ")]
    module = (MODULE / "go.mod").read_text()
    assert len(wanted) == 2 and all(f"\t{package} v" in module for package in wanted)


def test_upload_download_delete(go, s3):
    go("upload")
    assert go("download") == "hello world|text/plain|acme|prod"
    answer = s3.get_object(Bucket=BUCKET, Key="path/to/data.txt")
    assert answer["Body"].read() == b"hello world"
    assert answer["Metadata"] == {"project": "acme", "env": "prod"}
    go("remove")
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="path/to/data.txt")
    go("remove")


def test_list(go, s3):
    for key in ("photos/1.jpg", "photos/a b.jpg", "other"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"12345")
    assert go("list") == "photos/1.jpg  (5 bytes)\nphotos/a b.jpg  (5 bytes)\n"


def test_presigned_urls(go, s3):
    s3.put_object(Bucket=BUCKET, Key="path/to/myfile.txt", Body=b"signed by Go")
    with urllib.request.urlopen(go("presign"), timeout=30) as answer:
        assert answer.read() == b"signed by Go"
    request = urllib.request.Request(go("presign-put"), data=b"put by URL", method="PUT")
    # Python would add a type of its own.
    request.add_unredirected_header("Content-Type", "text/x-go")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
    stored = s3.get_object(Bucket=BUCKET, Key="by go.txt")
    assert stored["Body"].read() == b"put by URL"
    assert stored["ContentType"] == "text/x-go"


@pytest.mark.parametrize("step", ["conditional", "missing", "large", "odd", "copy", "attributes"])
def test_beyond_the_guide(go, step):
    go(step)
