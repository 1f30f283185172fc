"""The guide's commands with rclone, and what its users run every day."""

import re
import time

import pytest

import guide
from guide import BUCKET
from s3client import keys_of
from shell import Shell, noise, tree

MIB = 1024 * 1024


def config(node):
    """The guide's section for rclone.conf."""
    return guide.filled(guide.block("[orchestrator]", "region = us-east-1"), node)


@pytest.fixture(scope="module", autouse=True)
def remote(node, home):
    path = home / ".config/rclone/rclone.conf"
    path.parent.mkdir(parents=True)
    path.write_text(config(node))


def test_rclone_config_asks_what_the_guide_shows(node, tmp_path):
    shell = Shell(node, tmp_path, tmp_path)
    lines = guide.TEXT.splitlines()
    begin = lines.index("n) New remote")
    answers = ["n"] + [line.partition("> ")[2] for line in lines[begin + 1 : begin + 9]]
    # What the guide leaves out: location_constraint, acl, object lock; then: no advanced settings, keep, quit.
    answers += ["", "", "", "n", "y", "q"]
    said = shell.run("rclone config", stdin=guide.filled("\n".join(answers) + "\n", node).encode())
    made = (tmp_path / ".config/rclone/rclone.conf").read_text()
    assert set(config(node).split("\n")) - {""} <= set(made.split("\n")), said
    shell.run("rclone lsd orchestrator:app1-files/")


def stats(said):
    """Files that a run says it transferred."""
    found = re.findall(r"Transferred:\s+(\d+) / \d+, ", said)
    return int(found[-1]) if found else 0


def test_copy(shell, s3):
    data = noise(123_456, "rclone")
    shell.write("myfile.txt", data)
    upload = "rclone copy myfile.txt orchestrator:app1-files/path/to/"
    shell.guide(upload)
    stored = s3.get_object(Bucket=BUCKET, Key="path/to/myfile.txt")
    assert stored["Body"].read() == data and stored["Metadata"]["mtime"]
    assert stats(shell.run(f"{upload} -v")) == 0, "the second run has nothing to do"
    (shell.cwd / "myfile.txt").unlink()
    shell.guide("rclone copy orchestrator:app1-files/path/to/myfile.txt ./")
    assert shell.read("myfile.txt") == data


def test_lists(shell, s3):
    for key in ("top.txt", "dir/one.txt", "dir/sub/two.txt"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    listed = shell.guide("rclone ls orchestrator:app1-files/")
    assert "7 top.txt" in listed and "15 dir/sub/two.txt" in listed
    directories = shell.guide("rclone lsd orchestrator:app1-files/")
    assert re.search(r" dir$", directories, re.MULTILINE) and "top.txt" not in directories
    assert re.search(r" app1-files$", shell.run("rclone lsd orchestrator:"), re.MULTILINE)


def test_sync(shell, s3):
    files = {"a.txt": noise(10), "deep/b.bin": noise(300_000), "deep/er/c": b"", "with space+": b"s", "ünï": b"u"}
    for name, data in files.items():
        shell.write(f"local-dir/{name}", data)
    sync = "rclone sync ./local-dir/ orchestrator:app1-files/backup/"
    dry = "rclone sync ./local-dir/ orchestrator:app1-files/backup/ --dry-run"
    assert shell.guide(dry).count("Skipped copy") == 5
    assert keys_of(s3, BUCKET, "backup/") == []
    shell.guide(sync)
    assert {key: s3.get_object(Bucket=BUCKET, Key=f"backup/{key}")["Body"].read() for key in files} == files
    assert stats(shell.run(f"{sync} -v")) == 0
    assert "Skipped" not in shell.guide(dry)
    assert "0 differences found" in shell.run("rclone check ./local-dir/ orchestrator:app1-files/backup/")
    assert "0 differences found" in shell.run("rclone check --download ./local-dir/ orchestrator:app1-files/backup/")

    (shell.cwd / "local-dir/deep/b.bin").unlink()
    shell.write("local-dir/a.txt", noise(11))
    said = shell.guide(dry)
    assert "Skipped delete" in said and "Skipped copy" in said
    shell.guide(sync)
    assert "backup/deep/b.bin" not in keys_of(s3, BUCKET, "backup/")
    shell.run("rclone sync orchestrator:app1-files/backup/ ./back/")
    assert tree(shell.cwd / "back") == tree(shell.cwd / "local-dir")
    s3.put_object(Bucket=BUCKET, Key="backup/a.txt", Body=noise(11, "other"))
    code, said = shell.run("rclone check ./local-dir/ orchestrator:app1-files/backup/", check=False)
    assert code == 1 and "1 differences found" in said


def test_touch_changes_the_time_in_place(shell, s3):
    """rclone copies the object onto itself with new metadata."""
    shell.write("timed", b"content")
    shell.run("rclone copy timed orchestrator:app1-files/t/")
    before = s3.head_object(Bucket=BUCKET, Key="t/timed")
    time.sleep(1.1)
    (shell.cwd / "timed").touch()
    said = shell.run("rclone copy timed orchestrator:app1-files/t/ -v")
    assert stats(said) == 0 and "Updated modification time" in said
    after = s3.head_object(Bucket=BUCKET, Key="t/timed")
    assert after["Metadata"]["mtime"] != before["Metadata"]["mtime"]
    assert after["ETag"] == before["ETag"]
    assert after["LastModified"] > before["LastModified"]
    shell.run("rclone touch -t 2020-01-02T03:04:05 orchestrator:app1-files/t/timed")
    assert "2020-01-02 03:04:05" in shell.run("TZ=UTC rclone lsl orchestrator:app1-files/t/")
    assert s3.get_object(Bucket=BUCKET, Key="t/timed")["Body"].read() == b"content"


SMALL = "--s3-upload-cutoff 5Mi --s3-chunk-size 5Mi --s3-copy-cutoff 6Mi"


def test_large_files_go_in_parts(shell, s3):
    data = noise(13 * MIB + 1, "rclone")
    shell.write("large", data)
    shell.run(f"rclone copy {SMALL} large orchestrator:app1-files/big/")
    head = s3.head_object(Bucket=BUCKET, Key="big/large")
    assert head["ETag"].endswith('-3"') and head["Metadata"]["md5chksum"]
    assert stats(shell.run(f"rclone copy {SMALL} large orchestrator:app1-files/big/ -v")) == 0
    assert "0 differences" in shell.run("rclone check . orchestrator:app1-files/big/")
    shell.run(f"rclone copyto {SMALL} orchestrator:app1-files/big/large orchestrator:app1-files/big/copied")
    assert s3.head_object(Bucket=BUCKET, Key="big/copied")["ETag"].endswith('-3"'), "UploadPartCopy"
    shell.run("rclone copyto --multi-thread-cutoff 5Mi orchestrator:app1-files/big/copied back")
    assert shell.read("back") == data
    shell.run("rclone touch orchestrator:app1-files/big/copied --s3-copy-cutoff 6Mi")
    assert s3.get_object(Bucket=BUCKET, Key="big/copied")["Body"].read() == data


def test_server_side_copy_and_move(shell, s3):
    s3.put_object(Bucket=BUCKET, Key="move/a", Body=b"moved", Metadata={"own": "kept"})
    shell.run("rclone copyto orchestrator:app1-files/move/a orchestrator:app1-files/move/b")
    assert s3.head_object(Bucket=BUCKET, Key="move/b")["Metadata"]["own"] == "kept"
    shell.run("rclone moveto orchestrator:app1-files/move/b orchestrator:app1-files/move/c")
    assert keys_of(s3, BUCKET, "move/") == ["move/a", "move/c"]
    assert s3.get_object(Bucket=BUCKET, Key="move/c")["Body"].read() == b"moved"


def test_streams(shell, s3):
    data = noise(7 * MIB, "rcat")
    shell.write("in", data)
    shell.run("rclone rcat --s3-chunk-size 5Mi orchestrator:app1-files/streamed <in")
    shell.run("rclone cat orchestrator:app1-files/streamed >out")
    assert shell.read("out") == data
    assert shell.run("rclone cat --offset 10 --count 5 orchestrator:app1-files/streamed | od -An -tx1").split() == [
        f"{byte:02x}" for byte in data[10:15]
    ]


def test_purge_mkdir_cleanup(shell, s3):
    for key in ("purged/a", "purged/b/c", "purged-not"):
        s3.put_object(Bucket=BUCKET, Key=key)
    shell.run("rclone purge orchestrator:app1-files/purged")
    assert keys_of(s3, BUCKET, "purged") == ["purged-not"]
    shell.run("rclone mkdir orchestrator:app1-files")
    shell.run("rclone mkdir --s3-directory-markers orchestrator:app1-files/marked")
    assert keys_of(s3, BUCKET, "marked") == ["marked/"]
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="abandoned")["UploadId"]
    said = shell.run("rclone backend list-multipart-uploads orchestrator:app1-files")
    assert upload in said and "abandoned" in said
    shell.run("rclone backend cleanup orchestrator:app1-files -o max-age=0s")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_link(shell, s3):
    s3.put_object(Bucket=BUCKET, Key="linked file", Body=b"linked")
    url = shell.run("rclone link --expire 1h orchestrator:app1-files/linked\\ file").strip()
    assert shell.run(f"curl -sS '{url}'") == "linked"


def test_odd_names(shell, s3):
    names = ["per%cent%20", "emoji-🦀", "q?m=1&x#y", "'quotes\"", "star*(1)", "a+b c", "~tilde", "#hash", "semi;colon"]
    for name in names:
        shell.write(f"odd/{name}", name.encode())
    shell.run("rclone sync odd orchestrator:app1-files/odd")
    assert keys_of(s3, BUCKET, "odd/") == sorted((f"odd/{name}" for name in names), key=str.encode)
    shell.run("rclone copy orchestrator:app1-files/odd back && rclone check odd orchestrator:app1-files/odd")
    assert tree(shell.cwd / "back") == tree(shell.cwd / "odd")
    shell.run("rclone copy orchestrator:app1-files/odd orchestrator:app1-files/odd2")
    assert len(keys_of(s3, BUCKET, "odd2/")) == len(names)
    shell.run("rclone delete orchestrator:app1-files/odd")
    assert keys_of(s3, BUCKET, "odd/") == []
