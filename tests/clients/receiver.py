"""Somebody outside who is told things over HTTP: remembers what came, answers as the test says."""

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Delivery:
    path: str
    headers: dict
    body: bytes
    status: int

    @property
    def records(self):
        return json.loads(self.body)["Records"]


class Receiver:
    """`status`: the answer; 0 hangs up. `delay` in seconds comes before it."""

    def __init__(self):
        self.status, self.delay, self.deliveries = 200, 0, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                status, delay = outer.status, outer.delay
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.deliveries.append(Delivery(self.path, headers, body, 0 if delay else status))
                time.sleep(delay)
                if status:
                    self.send_response(status)
                    self.send_header("content-length", "0")
                    self.end_headers()
                self.close_connection = not status

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path=""):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def received(self):
        """Records of deliveries that were answered well."""
        good = [delivery for delivery in list(self.deliveries) if 200 <= delivery.status < 300]
        return [record for delivery in good for record in delivery.records]

    @property
    def told(self):
        """Of objects only, as `name key`."""
        return [f"{r['eventName']} {r['s3']['object']['key']}" for r in self.received if "s3" in r]


def until(done, patience=60):
    """Whether it came to that in time."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
