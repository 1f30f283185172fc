"""A node with one of everything, whose configuration changes under a constant load that counts what fails.

The load keeps its connections, two of HTTP/1.1 and two of HTTP/2: one that is dropped is a failure.
"""

import copy
import http.client
import json
import shutil
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import frames
from frames import Connection
from guide import ACCESS_KEY, BUCKET
from node import BINARY, Node
from raw import Raw
from settings import toml

BODY = b"x" * 1000
OTHER = "app2-files"
EXTRA = ("AKID_EXTRA", "extra-and-secret")


class Configured(Node):
    """A node whose configuration is data."""

    settings: dict = None

    def write_config(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(toml(self.settings) + "\n")
        self.config.chmod(0o600)

    def ask(self, *arguments, code=0):
        """A command's answer."""
        command = [BINARY, *arguments, "--config", self.config, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)


class SecureRaw(Raw):
    """Over TLS, from any address of this machine."""

    authority, source, host = None, "127.0.0.1", None

    def connection(self):
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        return http.client.HTTPSConnection(self.node.host, timeout=60, context=context, source_address=(self.source, 0))


def signed_head(raw, method, key):
    """The headers of a signed request, for a body that is not."""
    path = f"/{BUCKET}/{key}"
    headers = {"host": raw.node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    return path, raw.authorized(method, path, "", headers)[0]


class OverOne:
    """Requests over one connection of HTTP/1.1."""

    def __init__(self, raw):
        self.raw, self.line = raw, raw.connection()

    def ask(self, method, key, body=b""):
        path, headers = signed_head(self.raw, method, key)
        self.line.request(method, path, body=body or None, headers=headers)
        answer = self.line.getresponse()
        assert not answer.will_close, "the connection is to be closed"
        return answer.status == 200, answer.read()


class OverTwo:
    """Requests over one connection of HTTP/2."""

    def __init__(self, raw):
        self.raw, self.line = raw, Connection(raw.node, raw.authority)

    def ask(self, method, key, body=b""):
        path, headers = signed_head(self.raw, method, key)
        more = [(name, value) for name, value in headers.items() if name != "host"]
        more += [("content-length", str(len(body)))] if body else []
        stream, head = self.line.head(method, path, more, end=not body)
        self.line.send(head + (frames.frame(frames.DATA, frames.END_STREAM, stream, body) if body else b""))
        ended = lambda kind, flags, at, _: at == stream and (flags & frames.END_STREAM or kind == frames.RST_STREAM)  # noqa: E731
        got = [f for f in self.line.frames(30, ended) if f[2] == stream]
        data = b"".join(payload for kind, _, _, payload in got if kind == frames.DATA)
        self.line.send(frames.frame(frames.WINDOW_UPDATE, 0, 0, max(1, len(data)).to_bytes(4, "big")))
        # ":status: 200" is one byte of HPACK's static table.
        return any(kind == frames.HEADERS and b"\x88" in payload[:3] for kind, _, _, payload in got), data


class Load:
    def __init__(self, lines):
        self.stop, self.done, self.failures = threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(line, n)) for n, line in enumerate(lines)]
        for thread in self.threads:
            thread.start()

    def run(self, line, n):
        # Far below the limits that changes set for everybody.
        while not self.stop.wait(0.2):
            for method, body, wanted in (("PUT", BODY, b""), ("GET", b"", BODY)):
                try:
                    good, data = line.ask(method, f"load-{n}", body)
                except Exception as error:  # noqa: BLE001
                    good, data = False, repr(error).encode()
                self.done += 1
                if not good or data != wanted:
                    self.failures.append((type(line).__name__, n, method, data[:300]))
                    return

    def went_on(self, requests=8):
        wanted, end = self.done + requests, time.monotonic() + 30
        while self.done < wanted and not self.failures and time.monotonic() < end:
            time.sleep(0.005)
        assert not self.failures, self.failures
        assert self.done >= wanted, "the load does not go on"

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures


@dataclass
class World:
    home: Path
    authority: object
    monitor: int
    node: Configured = None
    far: Node = None
    load: Load = None
    base: dict = None
    notes: dict = field(default_factory=dict)

    def start(self):
        """A provider, the node, and the load."""
        for name in ("disk", "mount", "full"):
            (self.home / name).mkdir(parents=True)
        (self.home / "full" / "in-the-way").write_text("x")
        for name, serial in (("first", 5001), ("second", 5002)):
            certificate, key = self.authority.issue(name, serial)
            shutil.copy(certificate, self.home / f"{name}.crt")
            shutil.copy(key, self.home / f"{name}.key")
        self.far = Configured(self.home / "far")
        self.far.settings = {"data_dir": "data", "s3": {"listen": "127.0.0.1:0"}, "buckets": [bucket("far", "AKID_FAR", "secret-of-far")]}
        self.far.start()
        (self.home / "far.secret").write_text("secret-of-far\n")
        (self.home / "far.secret").chmod(0o600)
        self.node = Configured(self.home)
        self.base = self.settings()
        self.node.settings = copy.deepcopy(self.base)
        self.node.start()
        self.load = Load([OverOne(self.raw()), OverOne(self.raw()), OverTwo(self.raw()), OverTwo(self.raw())])
        return self

    def settings(self):
        node = self.node
        far = {"name": "far", "kind": "s3", "endpoint": self.far.endpoint, "bucket": "far", "path_style": True,
               "access_key_id": "AKID_FAR", "secret_access_key_file": "far.secret"}
        return {
            "data_dir": "data",
            "s3": {"listen": "127.0.0.1:0", "tls": {"certificate": "first.crt", "key": "first.key"}},
            "buckets": [
                bucket(BUCKET, ACCESS_KEY, node.secret),
                bucket(OTHER, *EXTRA),
            ],
            "backends": [{"name": "local", "kind": "embedded"}, {"name": "disk", "kind": "disk", "path": "disk"}, far],
            "admin": {"listen": f"127.0.0.1:{self.monitor}"},
        }

    def raw(self, source="127.0.0.1", access_key=ACCESS_KEY, secret=None):
        raw = SecureRaw(self.node, access_key, secret or self.node.secret)
        raw.authority, raw.source = self.authority, source
        return raw

    def extra(self, **options):
        """Somebody else than the load."""
        return self.raw(access_key=EXTRA[0], secret=EXTRA[1], **options)

    def reload(self):
        self.node.write_config()
        reloaded = self.node.ask("reload")
        assert reloaded["needs_restart"] == [], reloaded
        return reloaded

    def change(self, *changed, **tables):
        """Puts the settings of these tables into force; `changed` is what the node calls them."""
        settings = self.node.settings
        for table, values in tables.items():
            place = settings
            for name in table.split("__"):
                place = place[int(name)] if name.isdigit() else place.setdefault(name, {})
            place.update(values)
        reloaded = self.reload()
        assert set(changed) <= set(reloaded["changed"]) and reloaded["warnings"] == [], (changed, reloaded)
        self.load.went_on()

    def back(self):
        """As it was at the start."""
        self.node.settings = copy.deepcopy(self.base)
        self.reload()
        self.load.went_on(4)

    def end(self):
        try:
            self.load.end()
        finally:
            for node in (self.node, self.far):
                if node.process.poll() is None:
                    node.stop()


def bucket(name, access_key, secret, **more):
    return {"name": name, **more, "credentials": [{"access_key_id": access_key, "secret_access_key": secret}]}
