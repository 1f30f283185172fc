"""HTTP/2 as no client speaks it: frames made and sent here, one by one (RFC 9113)."""

import socket
import ssl
import struct
import time

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CANCEL = 8
INITIAL_WINDOW_SIZE = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def number(value, prefix):
    """HPACK's integers (RFC 7541, section 5.1)."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([value])
    value, out = value - most, bytearray([most])
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def block(pairs):
    """Literal headers, without Huffman and without the table."""
    return b"".join(b"\0" + number(len(n), 7) + n.encode() + number(len(v), 7) + v.encode() for n, v in pairs)


def settings(**values):
    names = {"initial_window": INITIAL_WINDOW_SIZE}
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", names[n], v) for n, v in values.items()))


class Connection:
    """One connection; `closed` says that the node has ended it."""

    def __init__(self, node, authority, hello=settings()):
        self.authority = node.host
        host, port = node.host.split(":")
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection((host, int(port)), timeout=30)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"
        self.received, self.closed, self.next_stream = bytearray(), False, 1
        self.send(PREFACE + hello)

    def head(self, method, path, more=(), end=True):
        """A frame of headers, in a stream of its own."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        pairs = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path), *more]
        return stream, frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(pairs))

    def send(self, data):
        """False when the node does not listen any more."""
        try:
            self.socket.sendall(data)
        except (OSError, ssl.SSLError):
            self.closed = True
        return not self.closed

    def take(self, patience):
        """What comes until then, or until the node hangs up."""
        self.socket.settimeout(patience)
        try:
            data = self.socket.recv(1 << 16)
            self.closed |= not data
            self.received += data
        except TimeoutError:
            pass
        except (OSError, ssl.SSLError):
            self.closed = True

    def frames(self, patience=10, until=lambda kind, flags, stream, payload: False):
        """All frames that come, as (kind, flags, stream, payload), up to the one that is waited for."""
        end, found = time.monotonic() + patience, []
        while True:
            while len(self.received) >= 9:
                size = int.from_bytes(self.received[:3], "big")
                if len(self.received) < 9 + size:
                    break
                kind, flags, stream = self.received[3], self.received[4], int.from_bytes(self.received[5:9], "big")
                found.append((kind, flags, stream, bytes(self.received[9 : 9 + size])))
                del self.received[: 9 + size]
                if until(*found[-1]):
                    return found
            if self.closed or time.monotonic() > end:
                return found
            self.take(max(0.01, min(0.5, end - time.monotonic())))

    def ended(self, patience):
        """Whether the node hangs up within that time."""
        self.frames(patience, lambda kind, *_: self.closed)
        return self.closed

    def close(self):
        self.socket.close()
