"""The guide's commands with the AWS CLI."""

import json

import pytest

import guide
from guide import BUCKET
from s3client import keys_of
from shell import noise, tree

LARGE = noise(20 * 1024 * 1024 + 17)


@pytest.fixture(scope="module", autouse=True)
def profile(node, home, tmp_path_factory):
    """The guide's setup: the answers that it shows are typed."""
    from shell import Shell

    shell = Shell(node, home, tmp_path_factory.mktemp("setup"))
    answers = f"AKID_APP1_WRITER\n{node.secret}\nus-east-1\njson\n".encode()
    shell.guide("aws configure --profile orchestrator", stdin=answers)
    shell.guide(
        "alias s3o='aws --profile orchestrator --endpoint-url http://s3-orchestrator.service.consul:9000'"
    )


def body(s3, key):
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def put(s3, **objects):
    for key, data in objects.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)


def test_upload_and_download(shell, s3):
    data = noise(70_000, "up")
    shell.write("myfile.txt", data)
    shell.guide("s3o s3 cp myfile.txt s3://app1-files/path/to/myfile.txt")
    assert body(s3, "path/to/myfile.txt") == data
    (shell.cwd / "myfile.txt").unlink()
    shell.guide("s3o s3 cp s3://app1-files/path/to/myfile.txt ./myfile.txt")
    assert shell.read("myfile.txt") == data


def test_upload_with_metadata(shell, s3):
    shell.write("myfile.txt", b"with metadata\n")
    said = shell.guide(
        "s3o s3api put-object --bucket app1-files --key path/to/myfile.txt"
        ' --body myfile.txt --metadata \'{"project":"acme","env":"prod"}\''
    )
    assert json.loads(said)["ETag"] == '"13bbf2fa2d92d32c6bd6ef8ca6c9d1c6"' or "ETag" in said
    head = s3.head_object(Bucket=BUCKET, Key="path/to/myfile.txt")
    assert head["Metadata"] == {"project": "acme", "env": "prod"}
    assert body(s3, "path/to/myfile.txt") == b"with metadata\n"
    said = shell.run("s3o s3api head-object --bucket app1-files --key path/to/myfile.txt")
    assert json.loads(said)["Metadata"] == {"project": "acme", "env": "prod"}


def test_an_empty_file(shell, s3):
    shell.write("empty", b"")
    shell.run("s3o s3 cp empty s3://app1-files/empty && s3o s3 cp s3://app1-files/empty back")
    assert shell.read("back") == b""


def test_standard_input_and_output(shell):
    data = noise(9 * 1024 * 1024, "pipe")
    shell.write("in", data)
    shell.run("cat in | s3o s3 cp - s3://app1-files/piped && s3o s3 cp s3://app1-files/piped - >out")
    assert shell.read("out") == data


def test_listings(shell, s3):
    for key in ("path/to/a.txt", "path/to/deep/b.txt", "photos/1.jpg", "photos/2.jpg", "top.txt"):
        put(s3, **{key: key.encode()})
    top = shell.guide("s3o s3 ls s3://app1-files/")
    assert "PRE path/" in top and "PRE photos/" in top and "top.txt" in top
    assert "a.txt" not in top
    below = shell.guide("s3o s3 ls s3://app1-files/path/to/ --recursive")
    assert "path/to/a.txt" in below and "path/to/deep/b.txt" in below and "photos" not in below
    photos = json.loads(
        shell.guide('s3o s3api list-objects-v2 --bucket app1-files --prefix "photos/"')
    )
    assert [entry["Key"] for entry in photos["Contents"]] == ["photos/1.jpg", "photos/2.jpg"]
    assert [entry["Size"] for entry in photos["Contents"]] == [12, 12]


def test_a_listing_over_many_pages(shell, s3):
    names = [f"many/{number:04}" for number in range(25)]
    for name in names:
        put(s3, **{name: b"x"})
    said = shell.run(
        "s3o s3api list-objects-v2 --bucket app1-files --prefix many/ --page-size 4"
        " --query 'Contents[].Key'"
    )
    assert json.loads(said) == names
    said = shell.run("s3o s3 ls s3://app1-files/many/ --page-size 3")
    assert [line.split()[-1] for line in said.splitlines()] == [name[5:] for name in names]


def test_delete(shell, s3):
    put(s3, **{"path/to/myfile.txt": b"1", "old-backups/a": b"2", "old-backups/b/c": b"3", "old": b"4"})
    shell.guide("s3o s3 rm s3://app1-files/path/to/myfile.txt")
    assert "path/to/myfile.txt" not in keys_of(s3, BUCKET)
    shell.guide("s3o s3 rm s3://app1-files/old-backups/ --recursive")
    assert keys_of(s3, BUCKET, "old") == ["old"]


def test_copy(shell, s3):
    put(s3, **{"old/location.txt": b"it moves"})
    shell.guide("s3o s3 cp s3://app1-files/old/location.txt s3://app1-files/new/location.txt")
    assert body(s3, "new/location.txt") == b"it moves"
    assert body(s3, "old/location.txt") == b"it moves"


def test_a_copy_to_another_bucket_is_refused(shell, s3):
    put(s3, **{"old/location.txt": b"it stays"})
    code, said = shell.run(
        "s3o s3 cp s3://app1-files/old/location.txt s3://app2-files/new.txt", check=False
    )
    assert code == 1 and "AccessDenied" in said


def test_sync(shell, s3):
    files = {"a.txt": noise(10), "deep/b.bin": noise(300_000), "deep/er/c": b"", "with space": b"s"}
    for name, data in files.items():
        shell.write(f"local-dir/{name}", data)
    upload = "s3o s3 sync ./local-dir/ s3://app1-files/backup/"
    assert shell.guide(upload).count("upload:") == 4
    assert shell.guide(upload) == "", "the second run had something to do"
    shell.write("local-dir/a.txt", noise(11))
    assert shell.guide(upload).count("upload:") == 1

    (shell.cwd / "local-dir").rename(shell.cwd / "original")
    download = "s3o s3 sync s3://app1-files/backup/ ./local-dir/"
    assert shell.guide(download).count("download:") == 4
    assert tree(shell.cwd / "local-dir") == tree(shell.cwd / "original")
    assert shell.guide(download) == ""

    (shell.cwd / "local-dir/deep/b.bin").unlink()
    delete = "s3o s3 sync ./local-dir/ s3://app1-files/backup/ --delete"
    dry = shell.run(f"{delete} --dryrun")
    assert "(dryrun) delete: s3://app1-files/backup/deep/b.bin" in dry
    assert "backup/deep/b.bin" in keys_of(s3, BUCKET, "backup/")
    assert shell.guide(delete).count("delete:") == 1
    assert keys_of(s3, BUCKET, "backup/") == ["backup/a.txt", "backup/deep/er/c", "backup/with space"]


def test_a_large_file_goes_in_parts(shell, s3):
    shell.write("large", LARGE)
    shell.run("s3o s3 cp large s3://app1-files/large")
    head = s3.head_object(Bucket=BUCKET, Key="large")
    assert head["ETag"].endswith('-3"'), "8 MiB parts"
    shell.run("s3o s3 cp s3://app1-files/large back")
    assert shell.read("back") == LARGE

    shell.run("s3o s3 cp s3://app1-files/large s3://app1-files/large-copy --metadata-directive REPLACE")
    assert s3.head_object(Bucket=BUCKET, Key="large-copy")["ETag"].endswith('-3"'), "UploadPartCopy"
    assert body(s3, "large-copy") == LARGE
    shell.run("s3o s3 mv s3://app1-files/large-copy s3://app1-files/moved")
    assert body(s3, "moved") == LARGE
    assert keys_of(s3, BUCKET, "large") == ["large"]


def test_large_files_with_the_guides_threshold(shell, s3):
    shell.guide("aws configure set s3.multipart_threshold 64MB --profile orchestrator")
    shell.guide("aws configure set s3.multipart_chunksize 16MB --profile orchestrator")
    try:
        shell.write("large", LARGE)
        shell.run("s3o s3 cp large s3://app1-files/one-piece")
        assert "-" not in s3.head_object(Bucket=BUCKET, Key="one-piece")["ETag"]
        assert body(s3, "one-piece") == LARGE
        huge = noise(65 * 1024 * 1024, "huge")
        shell.write("huge", huge)
        shell.run("s3o s3 cp huge s3://app1-files/huge && s3o s3 cp s3://app1-files/huge back")
        assert s3.head_object(Bucket=BUCKET, Key="huge")["ETag"].endswith('-5"'), "16 MiB parts"
        assert shell.read("back") == huge
    finally:
        shell.run("aws configure set s3.multipart_threshold 8MB --profile orchestrator")
        shell.run("aws configure set s3.multipart_chunksize 8MB --profile orchestrator")


def test_conditional_write(shell, s3):
    shell.write("new.txt", b"first")
    # The guide leaves the profile and the endpoint of this one to the reader.
    text = guide.command(
        "aws s3api put-object --bucket app1-files --key new.txt --body new.txt --if-none-match '*'"
    )
    text = text.replace("aws ", "s3o ", 1)
    shell.run(text)
    shell.write("new.txt", b"second")
    code, said = shell.run(text, check=False)
    assert code != 0 and "PreconditionFailed" in said
    assert body(s3, "new.txt") == b"first"


def test_presigned_url(shell, s3):
    put(s3, **{"path/to/myfile.txt": b"by a URL\n"})
    url = shell.guide("s3o s3 presign s3://app1-files/path/to/myfile.txt --expires-in 300").strip()
    assert "Signature=" in url
    shell.run(guide.command('curl -o myfile.txt "THE_PRESIGNED_URL"').replace("THE_PRESIGNED_URL", url))
    assert shell.read("myfile.txt") == b"by a URL\n"


def test_request_id(shell):
    """The guide greps what the command prints; the header itself shows with --debug."""
    shell.write("test.txt", b"test")
    text = "s3o s3api put-object --bucket app1-files --key test.txt --body test.txt 2>&1 | grep -i request-id"
    code, _ = shell.guide(text, check=False)
    assert code in (0, 1), "the upload itself must not fail"
    said = shell.run(text.replace("put-object", "put-object --debug"))
    assert "x-amz-request-id" in said.lower()


ODD = ["with space", "plus+plus", "per%cent%20", "a//b", "ünï/cödé", "emoji-🦀", "q?m=1&x#y", "dot/./dot", "'\"quotes", "star*(1)"]


@pytest.mark.parametrize("name", ODD)
def test_odd_keys(shell, s3, name):
    shell.write("data", name.encode())
    (shell.cwd / "name").write_text(f"odd/{name}")
    shell.run('s3o s3api put-object --bucket app1-files --key "$(cat name)" --body data')
    assert f"odd/{name}" in keys_of(s3, BUCKET, "odd/")
    shell.run('s3o s3 cp "s3://app1-files/$(cat name)" back')
    assert shell.read("back") == name.encode()
    shell.run('s3o s3 cp "s3://app1-files/$(cat name)" "s3://app1-files/copied/$(cat name)"')
    assert body(s3, f"copied/odd/{name}") == name.encode()
    shell.run('s3o s3 rm "s3://app1-files/$(cat name)"')
    assert f"odd/{name}" not in keys_of(s3, BUCKET, "odd/")


def test_a_wrong_secret_is_refused(shell):
    code, said = shell.run("AWS_SECRET_ACCESS_KEY=wrong AWS_ACCESS_KEY_ID=AKID_APP1_WRITER aws --region us-east-1"
        " --endpoint-url http://s3-orchestrator.service.consul:9000 s3 ls s3://app1-files/", check=False)
    assert code != 0 and "SignatureDoesNotMatch" in said


@pytest.mark.parametrize("region", ["eu-central-1", "ap-south-1", "us-gov-west-1"])
def test_any_region(shell, region):
    shell.run(f"s3o --region {region} s3 ls s3://app1-files/")
