"""Every command, as text and as JSON, with its exit code: what it prints is kept in commands.txt, with what differs from
run to run made the same. S3O_WRITE_SNAPSHOTS=1 writes that file anew."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from guide import ACCESS_KEY, BUCKET
from node import BINARY
from raw import Raw
from terminal import on_terminal
from world import Configured, bucket

SNAPSHOTS = Path(__file__).parent / "commands.txt"
HAS_FUSE = os.access("/dev/fuse", os.W_OK) and os.geteuid() == 0

#: Commands of a running node, in this order, each as text and as JSON, with the exit code. Of "A|B" the text is asked for A.
RUNNING = [
    ("status", 0),
    ("usage", 0),
    ("cleanup", 0),
    ("cleanup --dry-run", 0),
    ("cleanup --run", 0),
    ("reload", 0),
    ("credentials", 0),
    ("credentials list", 0),
    ("credentials add app1-files --rights read", 0),
    ("credentials rotate AKID_APP1_WRITER", 0),
    ("credentials limit AKID_SECOND read,write", 0),
    ("credentials restore AKID_APP1_WRITER|AKID_SECOND", 0),
    ("credentials remove AKID_SECOND|AKID_THIRD", 0),
    ("credentials remove AKID_NOBODY", 1),
    ("mounts", 0),
    ("locate app1-files/kept", 0),
    ("locate app1-files/none", 1),
    ("lost", 0),
    ("probe usb", 0),
    ("scrub", 0),
    ("scrub --now", 0),
    ("snapshot", 0),
    ("snapshot --list", 0),
    ("reconcile usb --dry-run", 0),
    ("reconcile none", 1),
    ("import usb app1-files --dry-run", 0),
    ("jobs", 0),
    ("jobs list", 0),
    ("jobs pause scrub", 0),
    ("jobs resume scrub", 0),
    ("jobs cancel scrub", 1),
    ("jobs run cleanup", 0),
    ("jobs run none", 1),
    ("rebalance --dry-run", 0),
    ("drain usb", 0),
    ("drain usb --cancel", 0),
    ("remove-backend none", 1),
    ("remove-backend usb|spare", 0),
    ("log-level", 0),
    ("log-level debug", 0),
    ("log-level loud", 1),
    ("logs --lines 1", 0),
]
#: Where /dev/fuse is. Each is done twice, as text and as JSON, so the second time it must be undone.
MOUNTING = [("mount app1-files @HOME/mount", 0), ("mounts", 0), ("umount @HOME/mount", 0), ("umount @HOME/mount", 1)]
#: Those that need no node, or none that runs.
ALONE = [
    ("version", 0),
    ("check", 0),
    ("check --config @HOME/bad.toml", 1),
    ("init --config @HOME/new/one.toml|@HOME/new/two.toml --yes", 0),
    ("fsck", 0),
    ("fsck --verify", 0),
    ("restore", 1),
]
#: What no snapshot can hold, and the test that drives it.
ELSEWHERE = {
    "serve": "node/cli.rs a_first_start_makes_everything_and_shows_it",
    "doctor": "node/first_steps.rs doctor_says_what_to_do",
    "generate": "node/docs.rs each_command_has_a_manual_page_with_the_flags_of_its_help",
}


def plain(text, home):
    """What differs from run to run, and from machine to machine, made the same."""
    text = text.replace(str(home), "@HOME")
    text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:PORT", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{16,}\b", "HEX", text)
    text = re.sub(r"\b(?=[A-Z0-9]*\d)[A-Z0-9]{16,}\b", "KEY", text)
    text = re.sub(r"(secret\S* +)\S+$", r"\1SECRET", text, flags=re.MULTILINE)
    text = re.sub(r"\d+(\.\d+)? ([KMGT]i?)?B\b", "N B", text)
    text = re.sub(r"\b\d+(\.\d+)?(ms|s|m|h|d)?\b", "N", text)
    return "\n".join(re.sub(r"  +", "  ", line).rstrip() for line in text.splitlines())


KINDS = {str: "text", bool: "yes or no", int: "number", float: "number", type(None): "nothing"}


def shape(value):
    """A document without what is in it: its keys, and the kinds of its values. Of a list, what all in it have."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [merged([shape(inner) for inner in value])] if value else []
    return KINDS[type(value)]


def merged(shapes):
    if all(isinstance(each, dict) for each in shapes):
        keys = sorted({key for each in shapes for key in each})
        return {key: merged([each[key] for each in shapes if key in each]) for key in keys}
    if all(isinstance(each, list) for each in shapes):
        inner = [each for one in shapes for each in one]
        return [merged(inner)] if inner else []
    return " | ".join(sorted({part for each in map(str, shapes) for part in each.split(" | ")}))


class Commands:
    def __init__(self, home):
        self.home, self.said = home, []

    def run(self, line, code, as_json):
        words = [word.split("|")[as_json if "|" in word else 0] for word in line.replace("@HOME", str(self.home)).split()]
        words += [] if "--config" in words or words[0] == "version" else ["--config", str(self.home / "s3-orchestrator.toml")]
        words += ["--json"] if as_json else []
        done = subprocess.run([BINARY, *words], cwd=self.home, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode == code, f"{words}: {done}"
        assert not as_json or done.stdout.startswith("{"), f"{words}: {done}"
        assert "\x1b" not in done.stdout + done.stderr, f"{line}: escape sequences without a terminal"
        if as_json:
            # Also what went wrong is a document.
            printed = json.dumps(shape(json.loads(done.stdout)), indent=1)
        else:
            printed = plain(done.stdout + done.stderr, self.home)
        if line.startswith("logs"):
            printed = "(lines of the log)"
        self.said.append(f"=== {line}{' --json' if as_json else ''}\nexit code {code}\n{printed}\n")

    def all(self, commands):
        for line, code in commands:
            for as_json in (False, True):
                self.run(line, code, as_json)


@pytest.fixture
def node(tmp_path):
    node = Configured(tmp_path)
    for name in ("usb", "spare", "mount", "new"):
        (tmp_path / name).mkdir()
    first = bucket(BUCKET, ACCESS_KEY, node.secret)
    first["credentials"] += [{"access_key_id": key, "secret_access_key": "second-of-secrets"} for key in ("AKID_SECOND", "AKID_THIRD")]
    node.settings = {
        "data_dir": "data",
        "s3": {"listen": "127.0.0.1:0"},
        "buckets": [first],
        "backends": [{"name": "local", "kind": "embedded"}, {"name": "usb", "kind": "disk", "path": "usb", "quota": "1GB"},
                     {"name": "spare", "kind": "disk", "path": "spare"}],
    }
    (tmp_path / "bad.toml").write_text('[s3]\nlisen = 1\n[[buckets]]\nname = "X"\n')
    yield node.start()
    if node.process.poll() is None:
        node.stop()


def test_every_command_says_what_it_said_before(node):
    commands = Commands(node.home)
    for key, body in (("kept", b"x" * 50_000), ("small", b"x")):
        assert Raw(node).send("PUT", key, body=body).status == 200
    for line, code in RUNNING:
        for as_json in (False, True):
            commands.run(line, code, as_json)
            if line.startswith("drain") and "--cancel" in line and not as_json:
                commands.run("drain usb", 0, False)
                commands.said.pop()
    if HAS_FUSE:
        for line, code in MOUNTING[:2]:
            commands.run(line, code, False)
        commands.run(*MOUNTING[2], False)
        commands.run(*MOUNTING[0], True)
        commands.run(*MOUNTING[2], True)
        commands.all(MOUNTING[3:])
    node.stop()
    commands.all(ALONE)
    said = "\n".join(commands.said)
    if os.environ.get("S3O_WRITE_SNAPSHOTS"):
        SNAPSHOTS.write_text(said)
    kept = dict(part.split("\n", 1) for part in SNAPSHOTS.read_text().split("=== ")[1:])
    now = dict(part.split("\n", 1) for part in said.split("=== ")[1:])
    for line in now:
        assert kept.get(line, "").strip() == now[line].strip(), f"{line} is not as in {SNAPSHOTS.name}"
    assert not HAS_FUSE or set(kept) == set(now)


def drains_slowly(node):
    """A job that takes some seconds, object by object."""
    for n in range(200):
        assert Raw(node).send("PUT", f"moved-{n}", body=os.urandom(20_000)).status == 200
    node.ask("drain", "usb")


@pytest.fixture
def slow_node(node):
    node.stop()
    node.settings["backends"] = [{"name": "usb", "kind": "disk", "path": "usb", "max_copy_bandwidth": "1MiB"},
                                 {"name": "spare", "kind": "disk", "path": "spare"}]
    node.start()
    drains_slowly(node)
    return node


BAR = re.compile(r"drain/usb +running +\[(#+\.+)\] ")


def test_a_terminal_shows_how_far_jobs_are(slow_node):
    command = [BINARY, "jobs", "--follow", "--config", str(slow_node.config)]
    code, terminal = on_terminal(command)
    assert code == 0
    bars = set(BAR.findall(terminal.said))
    assert len(bars) > 1 and all(len(bar) == 20 for bar in bars), terminal.said
    # Narrower than the table, and yet each picture took the place of the one before.
    screen = terminal.screen()
    assert [line.split()[:2] for line in screen].count(["job", "state"]) == 1, "\n".join(screen)
    ended = [line for line in screen if line.strip().startswith("drain/usb ")]
    assert len(ended) == 1 and ended[0].split()[1] == "done", "\n".join(screen)


def test_what_is_no_terminal_sees_how_far_jobs_are_without_escapes(slow_node):
    command = [BINARY, "drain", "usb", "--watch", "--config", slow_node.config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and BAR.search(done.stdout), done
    assert "\x1b" not in done.stdout + done.stderr


def test_json_is_one_document_on_a_terminal_too(slow_node):
    code, terminal = on_terminal([BINARY, "jobs", "--follow", "--json", "--config", str(slow_node.config)])
    assert code == 0 and "\x1b" not in terminal.said
    drain = [job for job in json.loads(terminal.said)["jobs"] if job["name"] == "drain/usb"]
    assert drain[0]["state"] == "done" and drain[0]["done_bytes"] == drain[0]["total_bytes"] > 3_000_000


def known_commands():
    text = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=60).stdout
    listed = text.partition("Commands:\n")[2].partition("\n\n")[0]
    return {name for name in re.findall(r"^  ([a-z-]+)", listed, re.MULTILINE)} - {"help"}


def test_no_command_is_left_out():
    driven = {line.split()[0] for line, _ in RUNNING + MOUNTING + ALONE}
    assert known_commands() | {"generate"} == driven | set(ELSEWHERE)
    for where in ELSEWHERE.values():
        file, name = where.split()
        assert f"fn {name}(" in (Path(__file__).parents[1] / file).read_text(), where


@pytest.mark.parametrize("command", sorted({line.split()[0] for line, _ in RUNNING + MOUNTING + ALONE} - {"version"}))
def test_exit_codes_for_scripts(tmp_path, command):
    """2: the command line is wrong. 3: there is no node."""
    run = lambda *words: subprocess.run([BINARY, command, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)  # noqa: E731
    wrong = run("--no-such-flag")
    assert wrong.returncode == 2 and "--no-such-flag" in wrong.stderr and not wrong.stdout
    arguments = {"locate": ["b/k"], "mount": ["b", "d"], "umount": ["d"], "reconcile": ["b"], "import": ["b", "c"],
                 "drain": ["b"], "remove-backend": ["b"]}.get(command, [])
    if command not in {line.split()[0] for line, _ in ALONE} | {"probe", "init"}:
        nobody = run(*arguments, "--data-dir", str(tmp_path))
        assert nobody.returncode == 3, nobody
        assert json.loads(run(*arguments, "--data-dir", str(tmp_path), "--json").stdout), "an error is a document too"
