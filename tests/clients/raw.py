"""Requests that no client would send: built, signed and sent here, byte for byte."""

import base64
import hashlib
import hmac
import http.client
import re
import time
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import dataclass
from urllib.parse import quote

from guide import ACCESS_KEY, BUCKET

EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def xml(self):
        """The document, names without their namespace."""
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    @property
    def code(self):
        """The error's code; nothing where it was none."""
        if self.status < 300 and b"<Error>" not in self.body:
            return ""
        return self.xml.findtext("Code") if self.body else ""

    @property
    def outcome(self):
        return self.status, self.code

    def texts(self, path):
        return [element.text or "" for element in self.xml.findall(path)]


def encoded(text, safe=""):
    return quote(text, safe=f"-_.~{safe}")


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def squeezed(value):
    return re.sub(" +", " ", value.strip())


def merged(headers, more):
    """Names are lower-case; `None` takes one away."""
    result = {name.lower(): value for name, value in headers.items()}
    result |= {name.lower(): value for name, value in (more or {}).items()}
    return {name: value for name, value in result.items() if value is not None}


class Raw:
    def __init__(self, node, access_key=ACCESS_KEY, secret=None, region="us-east-1"):
        self.node = node
        self.access_key = access_key
        self.secret = node.secret if secret is None else secret
        self.region = region
        self.date = None

    def stamp(self):
        return self.date or time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())

    def scope(self, stamp):
        return f"{stamp[:8]}/{self.region}/s3/aws4_request"

    def key(self, stamp):
        key = f"AWS4{self.secret}".encode()
        for part in self.scope(stamp).split("/"):
            key = mac(key, part)
        return key

    def signature(self, stamp, canonical):
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{self.scope(stamp)}\n{digest}"
        return hmac.new(self.key(stamp), text.encode(), hashlib.sha256).hexdigest()

    def authorized(self, method, path, query, headers):
        """The headers with the signature over all of them."""
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{squeezed(headers[name])}\n" for name in sorted(headers))
        canonical = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{headers['x-amz-content-sha256']}"
        stamp = headers["x-amz-date"]
        signature = self.signature(stamp, canonical)
        credential = f"{self.access_key}/{self.scope(stamp)}"
        value = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": value}, signature

    def send(self, method, key=None, query=(), headers=None, body=b"", payload=None, sign=True, bucket=BUCKET, unsigned=None):
        """`payload` is the value of `x-amz-content-sha256`; `unsigned` headers are added after signing."""
        path = "/" if bucket is None else f"/{bucket}" + ("" if key is None else f"/{encoded(key, '/')}")
        pairs = sorted((encoded(name), encoded(str(value))) for name, value in dict(query).items())
        query = "&".join(f"{name}={value}" for name, value in pairs)
        own = {"host": self.node.host}
        if sign:
            own |= {"x-amz-date": self.stamp()}
            own |= {"x-amz-content-sha256": payload or hashlib.sha256(body).hexdigest()}
        headers = merged(own, headers)
        if sign:
            headers, _ = self.authorized(method, path, query, headers)
        headers = merged(headers, unsigned)
        if body or method in ("PUT", "POST"):
            headers = {"content-length": str(len(body))} | headers
        return self.exchange(method, f"{path}?{query}" if query else path, headers, body)

    def connection(self):
        return http.client.HTTPConnection(self.node.host, timeout=60)

    def exchange(self, method, target, headers, body=b""):
        connection = self.connection()
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value.encode() if isinstance(value, str) else value)
            connection.endheaders()
            try:
                connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # answered early: the answer is what counts
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def chunked(self, key, data, mode, sizes=(8192,), trailer=(), headers=None, spoil=lambda framed: framed, query=()):
        """PUT with an aws-chunked body. `sizes` of the chunks, the last of them for all that is left;
        `trailer` as (name, value) pairs; `spoil` may change the framed bytes."""
        stamp = self.stamp()
        own = {
            "host": self.node.host,
            "x-amz-date": stamp,
            "x-amz-content-sha256": mode,
            "x-amz-decoded-content-length": str(len(data)),
            "content-encoding": "aws-chunked",
        }
        if trailer:
            own["x-amz-trailer"] = ",".join(name for name, _ in trailer)
        path = f"/{BUCKET}/{encoded(key, '/')}"
        pairs = "&".join(f"{encoded(n)}={encoded(str(v))}" for n, v in sorted(dict(query).items()))
        headers, seed = self.authorized("PUT", path, pairs, merged(own, headers))
        chain = Chain(self, stamp, seed) if mode != UNSIGNED_CHUNKS_TRAILER else None
        body = spoil(framed(data, sizes, trailer, chain))
        return self.exchange("PUT", f"{path}?{pairs}" if pairs else path, headers | {"content-length": str(len(body))}, body)


class Chain:
    """The signatures of chunks: each covers the one before."""

    def __init__(self, raw, stamp, seed):
        self.key = raw.key(stamp)
        self.head = f"{stamp}\n{raw.scope(stamp)}"
        self.previous = seed

    def next(self, kind, *rest):
        text = "\n".join((f"AWS4-HMAC-SHA256-{kind}", self.head, self.previous, *rest))
        self.previous = hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()
        return self.previous

    def chunk(self, data):
        return self.next("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())

    def trailer(self, lines):
        return self.next("TRAILER", hashlib.sha256(lines).hexdigest())


def pieces(data, sizes):
    sizes = list(sizes)
    while data:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        yield data[:size]
        data = data[size:]


def framed(data, sizes, trailer, chain):
    out = bytearray()
    for piece in [*pieces(data, sizes), b""]:
        sign = f";chunk-signature={chain.chunk(piece)}" if chain else ""
        out += f"{len(piece):x}{sign}\r\n".encode() + piece
        if piece:
            out += b"\r\n"
    lines = "".join(f"{name}:{value}\n" for name, value in trailer).encode()
    out += lines.replace(b"\n", b"\r\n")
    if chain and trailer:
        out += f"x-amz-trailer-signature:{chain.trailer(lines)}\r\n".encode()
    return bytes(out + b"\r\n")


def table(polynomial):
    result = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        result.append(value)
    return result


CRC32C = table(0x82F63B78)
CRC64NVME = table(0x9A6C9329AC4BC9B5)


def crc(data, lookup, size):
    value = mask = (1 << (8 * size)) - 1
    for byte in data:
        value = (value >> 8) ^ lookup[(value ^ byte) & 0xFF]
    return (value ^ mask).to_bytes(size, "big")


DIGESTS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crc(data, CRC32C, 4),
    "CRC64NVME": lambda data: crc(data, CRC64NVME, 8),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
ALGORITHMS = list(DIGESTS)


def b64(data):
    return base64.b64encode(data).decode()


def checksum(algorithm, data):
    return b64(DIGESTS[algorithm](data))


def composite(algorithm, parts):
    """The checksum of checksums, with the number of parts."""
    whole = b"".join(DIGESTS[algorithm](part) for part in parts)
    return f"{checksum(algorithm, whole)}-{len(parts)}"


def md5(data):
    return b64(hashlib.md5(data).digest())


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def composite_etag(parts):
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'
