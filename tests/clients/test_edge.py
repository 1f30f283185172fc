"""Limits, forwarded addresses, CORS and public prefixes, as clients meet them."""

import time

import pytest

from guide import ACCESS_KEY, BUCKET
from node import Node
from raw import Raw
from s3client import client

PAGE = "https://app.example.org"


@pytest.fixture
def started(tmp_path):
    nodes = []

    def start(**options):
        nodes.append(Node(tmp_path / f"node{len(nodes)}", **options).start())
        return nodes[-1]

    yield start
    for node in nodes:
        node.stop()


def outcomes(raw, count, **options):
    return [raw.send("GET", "x", **options) for _ in range(count)]


def test_an_address_has_a_burst_and_is_then_told_to_wait(started):
    raw = Raw(started(s3="[s3.per_address]\nrequests_per_second = 2\nburst = 5\n"))
    answers = outcomes(raw, 8, sign=False)
    assert [answer.status for answer in answers[:5]] == [403] * 5
    slow = [answer for answer in answers if answer.status == 503]
    assert slow and all(answer.code == "SlowDown" and int(answer.headers["retry-after"]) >= 1 for answer in slow)
    time.sleep(int(slow[-1].headers["retry-after"]))
    assert raw.send("GET", "x", sign=False).status == 403


def test_a_credential_has_its_own_limits_and_nobody_else_can_use_them_up(started):
    node = started(s3="[s3.per_credential]\nrequests_per_second = 1\nburst = 3\n")
    writer, reader = Raw(node), Raw(node, "AKID_APP1_READER", node.reader_secret)
    forger = Raw(node, ACCESS_KEY, "not the secret of this key")
    assert {answer.code for answer in outcomes(forger, 10)} == {"SignatureDoesNotMatch"}
    assert [answer.status for answer in outcomes(writer, 3)] == [404] * 3
    assert "SlowDown" in {answer.code for answer in outcomes(writer, 3)}
    assert [answer.status for answer in outcomes(reader, 3)] == [404] * 3


def test_one_credential_may_have_other_limits_than_the_rest(started):
    more = '[[buckets]]\nname = "app3-files"\n  [[buckets.credentials]]\n  access_key_id = "AKID_SLOW"\n' \
           '  secret_access_key = "slow-and-secret"\n  requests_per_second = 1\n'
    node = started(more=more)
    slow = Raw(node, "AKID_SLOW", "slow-and-secret")
    answers = [slow.send("GET", "x", bucket="app3-files").status for _ in range(4)]
    assert answers[0] == 404 and 503 in answers
    assert {answer.status for answer in outcomes(Raw(node), 10)} == {404}


def test_bytes_are_paid_after_they_have_flowed(started):
    raw = Raw(started(s3='[s3.per_credential]\nbytes_per_second = "100KB"\n'))
    assert raw.send("PUT", "x", body=b"x" * 400_000).status == 200
    refused = raw.send("GET", "x")
    assert refused.outcome == (503, "SlowDown")
    assert 1 <= int(refused.headers["retry-after"]) <= 4
    time.sleep(3.5)
    assert raw.send("HEAD", "x").status == 200


def test_connections_of_an_address_are_limited(started):
    import socket

    node = started(s3="[s3.per_address]\nconnections = 3\n")
    host, port = node.host.split(":")
    held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(3)]
    time.sleep(0.3)
    answer = Raw(node).send("GET", "x", sign=False)
    assert answer.outcome == (503, "SlowDown")
    held.pop().close()
    time.sleep(0.3)
    assert Raw(node).send("GET", "x", sign=False).status == 403
    for connection in held:
        connection.close()


def remote(node, headers):
    """The address that the audit log has for a request with these headers."""
    name = f"remote-{time.monotonic_ns()}"
    Raw(node).send("GET", "x", sign=False, headers={"x-request-id": name} | headers)
    until = time.monotonic() + 10
    while not node.audit(name) and time.monotonic() < until:
        time.sleep(0.05)
    return node.audit(name)[0]["remote"]


def test_only_trusted_proxies_say_who_the_client_is(started):
    trusting = started(s3='trusted_proxies = ["127.0.0.0/8", "10.0.0.0/8"]')
    assert remote(trusting, {"x-forwarded-for": "6.6.6.6, 203.0.113.7, 10.1.2.3"}) == "203.0.113.7"
    assert remote(trusting, {"forwarded": "for=203.0.113.7"}).startswith("127.0.0.1:")
    standard = started(s3='trusted_proxies = ["127.0.0.1"]\nforwarded_header = "forwarded"')
    assert remote(standard, {"forwarded": 'for="[2001:db8::7]:1234";proto=https'}) == "2001:db8::7"
    assert remote(started(), {"x-forwarded-for": "203.0.113.7"}).startswith("127.0.0.1:")


def test_limits_count_the_client_and_not_the_proxy(started):
    node = started(s3='trusted_proxies = ["127.0.0.1"]\n[s3.per_address]\nrequests_per_second = 1\nburst = 2\n')
    of = lambda address: Raw(node).send("GET", "x", sign=False, headers={"x-forwarded-for": address}).status  # noqa: E731
    assert [of("203.0.113.1") for _ in range(4)][-1] == 503
    assert of("203.0.113.2") == 403
    # A household of IPv6 is one client.
    assert 503 in [of(f"2001:db8:1:2::{n}") for n in range(4)]


CORS = """
  [[buckets.cors]]
  origins = ["https://app.example.org", "https://*.example.com"]
  methods = ["GET", "PUT"]
  headers = ["content-type", "x-amz-*", "authorization"]
  expose_headers = ["ETag"]
  max_age = "10m"
  [[buckets.cors]]
  origins = ["*"]
  methods = ["HEAD"]
"""


def test_browsers_are_told_what_the_configuration_says(started):
    # TOML: what belongs to the bucket's credentials' siblings comes behind them.
    node = started(more=f'[[buckets]]\nname = "pages"\nanonymous = ["read"]\n{CORS}')
    raw = Raw(node)

    def ask(origin, method, headers=None, bucket="pages"):
        asked = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
        return raw.send("OPTIONS", "x", sign=False, bucket=bucket, headers=asked)

    allowed = ask(PAGE, "PUT", "Content-Type, X-Amz-Date")
    assert allowed.status == 200 and allowed.body == b""
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert allowed.headers["access-control-allow-methods"] == "GET, PUT"
    assert allowed.headers["access-control-allow-headers"] == "content-type, x-amz-date"
    assert allowed.headers["access-control-max-age"] == "600"
    assert allowed.headers["access-control-expose-headers"] == "ETag"
    assert "Origin" in allowed.headers["vary"]
    assert ask("https://a.example.com", "GET").status == 200
    assert ask("https://evil.example", "HEAD").headers["access-control-allow-origin"] == "*"
    for refused in (ask("https://evil.example", "GET"), ask(PAGE, "DELETE"), ask(PAGE, "PUT", "x-other")):
        assert refused.outcome == (403, "AccessForbidden")
    assert ask(PAGE, "GET", bucket=BUCKET).outcome == (403, "AccessForbidden")

    for status, key in ((404, "missing"), (404, "other")):
        answer = raw.send("GET", key, sign=False, bucket="pages", headers={"origin": PAGE})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, PAGE)
        assert answer.headers["access-control-expose-headers"] == "ETag"
    plain = raw.send("GET", "missing", sign=False, bucket="pages")
    assert "access-control-allow-origin" not in plain.headers and "Origin" in plain.headers["vary"]
    other = raw.send("GET", "missing", sign=False, bucket="pages", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_what_is_public_ends_at_the_prefix(started):
    node = started(anonymous=("read", "write"), bucket='anonymous_prefixes = ["public/", "img"]')
    s3, raw = client(node), Raw(node)
    for key in ("public/a", "public/b", "img1", "private"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    public = lambda method, key, **more: raw.send(method, key, sign=False, **more)  # noqa: E731
    assert public("GET", "public/a").body == b"public/a"
    assert public("HEAD", "img1").status == 200
    assert public("PUT", "public/new", body=b"x").status == 200
    listed = public("GET", None, query={"list-type": 2, "prefix": "public/"})
    assert listed.texts("Contents/Key") == ["public/a", "public/b", "public/new"]
    for refused in (
        public("GET", "private"),
        public("GET", "missing"),
        public("PUT", "private", body=b"x"),
        public("GET", None, query={"list-type": 2}),
        public("GET", None, query={"list-type": 2, "prefix": "pub"}),
        public("GET", None, query={"uploads": ""}),
        public("PUT", "public/copy", headers={"x-amz-copy-source": f"/{BUCKET}/private"}),
        public("DELETE", "public/a"),
    ):
        assert refused.outcome == (403, "AccessDenied")
    assert s3.get_object(Bucket=BUCKET, Key="private")["Body"].read() == b"private"
