"""A release-built node of its own: started on a port that the system chose, stopped, examined."""

import json
import os
import secrets
import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from guide import ACCESS_KEY, BUCKET

BINARY = os.environ.get("S3O_BINARY") or str(
    Path.home() / ".cache/s3-orchestrator/target/release/s3-orchestrator"
)
READY = "s3-orchestrator listening on "
START_TIMEOUT = 60
STOP_TIMEOUT = 60


def new_secret():
    """With the characters that naive encodings of a secret break at."""
    return f"wJ/{secrets.token_hex(8)}+bP/xRfi"


@dataclass
class Node:
    home: Path
    anonymous: tuple = ()
    s3: str = ""
    # Lines of the first bucket, and at the end of the file.
    bucket: str = ""
    more: str = ""
    secret: str = field(default_factory=new_secret)
    reader_secret: str = field(default_factory=new_secret)
    other_secret: str = field(default_factory=new_secret)
    endpoint: str = ""
    process: subprocess.Popen = None

    @property
    def host(self):
        return self.endpoint.partition("://")[2]

    @property
    def config(self):
        return self.home / "s3-orchestrator.toml"

    @property
    def log(self):
        return self.home / "node.log"

    def write_config(self):
        self.home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            f"""data_dir = "data"
[s3]
listen = "127.0.0.1:0"
{self.s3}
[[buckets]]
name = "{BUCKET}"
anonymous = {json.dumps(list(self.anonymous))}
{self.bucket}
  [[buckets.credentials]]
  access_key_id = "{ACCESS_KEY}"
  secret_access_key = "{self.secret}"
  [[buckets.credentials]]
  access_key_id = "AKID_APP1_READER"
  secret_access_key = "{self.reader_secret}"
  rights = ["read"]
[[buckets]]
name = "app2-files"
  [[buckets.credentials]]
  access_key_id = "AKID_APP2_WRITER"
  secret_access_key = "{self.other_secret}"
{self.more}
"""
        )
        self.config.chmod(0o600)

    def start(self):
        self.write_config()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.config],
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log.open("wb"),
            text=True,
        )
        self.endpoint = self.first_line().removeprefix(READY).strip()
        return self

    def first_line(self):
        """Killed when it says nothing: the read then ends, and the assertion speaks."""
        watch = threading.Timer(START_TIMEOUT, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        assert line.startswith(READY), f"the node said {line!r}\n{self.log.read_text()[-2000:]}"
        # Whatever else it prints must not fill the pipe.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return line

    def stop(self):
        """In good order; then its records and files must add up."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert code == 0, f"the node ended with {code}\n{self.log.read_text()[-2000:]}"
        fsck = subprocess.run(
            [BINARY, "fsck", "--verify", "--config", self.config], capture_output=True, text=True, timeout=120
        )
        assert fsck.returncode == 0, f"fsck: {fsck.stdout}{fsck.stderr}"

    def audit(self, request_id):
        """The audit lines of one request."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if request_id in line]
