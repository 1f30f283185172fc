"""Each setting that a running node can change, changed under load: no request of the load fails, no connection of it
is dropped, and the change is seen by somebody else. A new key without a change here fails the last test."""

import base64
import hashlib
import hmac
import os
import shutil
import socket
import ssl
import time
from urllib.parse import quote

import pytest

from guide import BUCKET
from pki import Authority
from receiver import Receiver, until
from settings import is_fixed, tables
from test_observed import scrape, total
from world import EXTRA, OTHER, World

if shutil.which("openssl") is None:
    pytest.skip("OPENSSL IS NOT INSTALLED: reloads under load are not tested", allow_module_level=True)

HAS_FUSE = os.access("/dev/fuse", os.W_OK) and os.geteuid() == 0
CHANGES = []
DONE = {}


def change(title, *keys):
    """Registers what changes these keys of a table, and looks whether they act."""

    def register(function):
        DONE.update({(title, key): function.__name__ for key in keys})
        CHANGES.append(pytest.param(function, id=f"{title.strip('[]')}-{function.__name__}"))
        return function

    return register


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    home = tmp_path_factory.mktemp("world")
    world = World(home, Authority(tmp_path_factory.mktemp("pki")), port).start()
    world.monitor = world.node.monitor = f"http://127.0.0.1:{port}"
    yield world
    world.end()
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("setting", CHANGES)
def test_a_change_under_load(world, setting):
    setting(world)
    world.back()


def test_every_reloadable_key_is_changed_here():
    wanted = {(title, key) for title, keys in tables().items() for key in keys if not is_fixed(title, key)}
    assert wanted == set(DONE), (wanted - set(DONE), set(DONE) - wanted)


def connect(world, source="127.0.0.1"):
    host, port = world.node.host.split(":")
    context = ssl.create_default_context(cafile=str(world.authority.certificate))
    plain = socket.create_connection((host, int(port)), timeout=20, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname="localhost")


def seconds_until_closed(line, sent=b""):
    began = time.monotonic()
    line.sendall(sent)
    try:
        while line.recv(1000):
            pass
    except OSError:
        pass
    return time.monotonic() - began


@change("[s3]", "domain")
def hosts_name_buckets(world):
    ask = lambda: world.extra().send("GET", None, bucket=None, headers={"host": f"{OTHER}.s3.example.test"})  # noqa: E731
    world.change("s3.domain", s3={"domain": "s3.example.test"})
    assert b"<ListBucketResult" in ask().body
    world.back()
    assert b"<ListAllMyBucketsResult" in ask().body


@change("[s3]", "external_url")
def clients_sign_another_host(world):
    def ask():
        raw = world.extra()
        headers = {"host": "outside.example", "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        signed, _ = raw.authorized("GET", f"/{OTHER}/none", "", headers)
        return raw.exchange("GET", f"/{OTHER}/none", signed | {"host": "inside.example"}).status

    assert ask() == 403
    world.change("s3.external_url", s3={"external_url": "https://outside.example"})
    assert ask() == 404


@change("[s3]", "max_object_size")
def large_objects_are_refused(world):
    world.change("s3.max_object_size", s3={"max_object_size": "100KB"})
    assert world.extra().send("PUT", "large", body=b"x" * 100_001, bucket=OTHER).code == "EntityTooLarge"
    world.back()
    assert world.extra().send("PUT", "large", body=b"x" * 100_001, bucket=OTHER).status == 200


@change("[s3]", "multipart_expiry")
def uploads_expire(world):
    raw = world.extra()
    uploads = lambda: raw.send("GET", None, query={"uploads": ""}, bucket=OTHER).texts("Upload/Key")  # noqa: E731
    raw.send("POST", "parts", query={"uploads": ""}, bucket=OTHER)
    assert uploads() == ["parts"]
    world.change("s3.multipart_expiry", s3={"multipart_expiry": "1s"})
    assert until(lambda: not uploads(), 20)


@change("[s3]", "sigv2_presigned")
def the_old_signature_is_refused(world):
    def ask():
        expires = str(int(time.time()) + 60)
        text = f"GET\n\n\n{expires}\n/{OTHER}/none"
        signature = base64.b64encode(hmac.new(EXTRA[1].encode(), text.encode(), hashlib.sha1).digest()).decode()
        query = f"AWSAccessKeyId={EXTRA[0]}&Expires={expires}&Signature={quote(signature, safe='')}"
        return world.extra().exchange("GET", f"/{OTHER}/none?{query}", {"host": world.node.host}).status

    assert ask() == 404
    world.change("s3.sigv2_presigned", s3={"sigv2_presigned": False})
    assert ask() in (400, 403)


@change("[s3]", "max_connections")
def connections_are_turned_away(world):
    world.change("s3.max_connections", s3={"max_connections": 8})
    held = [connect(world) for _ in range(4)]
    with pytest.raises((OSError, AssertionError)):
        answer = world.extra().send("GET", "none", bucket=OTHER)
        assert answer.status == 404
    for line in held:
        line.close()


@change("[s3]", "max_requests_in_flight")
def requests_in_flight_are_limited(world):
    # The load needs its places; tests/clients/test_keys.py shows what happens where there are none.
    world.change("s3.max_requests_in_flight", s3={"max_requests_in_flight": 20})


@change("[s3]", "max_head_size", "max_xml_size")
def heads_and_documents_have_a_size(world):
    head = lambda: world.extra().send("GET", "none", headers={"x-large": "y" * 9000}, bucket=OTHER).status  # noqa: E731
    xml = b"<Delete>" + b"<Object><Key>none</Key></Object>" * 900 + b" " * 50_000 + b"</Delete>"
    md5 = base64.b64encode(hashlib.md5(xml).digest()).decode()
    batch = lambda: world.extra().send("POST", None, {"delete": ""}, {"content-md5": md5}, xml, bucket=OTHER).status  # noqa: E731
    assert (head(), batch()) == (404, 200)
    world.change("s3.max_head_size", "s3.max_xml_size", s3={"max_head_size": "8KiB", "max_xml_size": "64KiB"})
    assert 400 <= head() < 500 and head() != 404
    assert batch() == 400


@change("[s3]", "head_timeout", "idle_timeout")
def who_says_nothing_is_cut_off(world):
    world.change("s3.head_timeout", "s3.idle_timeout", s3={"head_timeout": "1s", "idle_timeout": "1500ms"})
    assert 0.5 < seconds_until_closed(connect(world), b"GET / HTTP/1.1\r\nhost: x\r\n") < 8
    assert 1 < seconds_until_closed(connect(world)) < 8


@change("[s3]", "body_timeout", "min_body_rate")
def slow_bodies_are_cut_off(world):
    world.change("s3.body_timeout", "s3.min_body_rate", s3={"body_timeout": "1s", "min_body_rate": "100KB"})

    def slowly():
        raw, line = world.extra(), connect(world)
        headers = {"host": world.node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        signed, _ = raw.authorized("PUT", f"/{OTHER}/slow", "", headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
        line.sendall(f"PUT /{OTHER}/slow HTTP/1.1\r\n{lines}content-length: 15000\r\n\r\n".encode())
        try:
            for _ in range(15):
                line.sendall(b"x" * 1000)
                time.sleep(0.2)
            return line.recv(1000)
        except OSError:
            return b""
        finally:
            line.close()

    assert b" 200 " not in slowly()
    # As slow as before, and above what is asked for now.
    world.change("s3.min_body_rate", s3={"min_body_rate": "1KB"})
    assert b" 200 " in slowly()


@change("[s3]", "shutdown_grace")
def the_end_waits_so_long(world):
    # It is seen at the end only; tests/node/cli.rs looks there.
    world.change("s3.shutdown_grace", s3={"shutdown_grace": "5s"})


def remote(world, headers):
    name = f"remote-{time.monotonic_ns()}"
    world.extra().send("GET", "none", headers={"x-request-id": name} | headers, bucket=OTHER)
    assert until(lambda: world.node.audit(name), 10)
    return world.node.audit(name)[0]["remote"]


@change("[s3]", "trusted_proxies", "forwarded_header")
def proxies_are_believed(world):
    assert remote(world, {"x-forwarded-for": "203.0.113.7"}).startswith("127.0.0.1:")
    world.change("s3.trusted_proxies", s3={"trusted_proxies": ["127.0.0.1"]})
    assert remote(world, {"x-forwarded-for": "203.0.113.7"}) == "203.0.113.7"
    world.change("s3.forwarded_header", s3={"forwarded_header": "forwarded"})
    assert remote(world, {"forwarded": "for=203.0.113.8", "x-forwarded-for": "203.0.113.7"}) == "203.0.113.8"


@change("[s3.tls]", "certificate", "key")
def another_certificate_is_shown(world):
    serial = lambda: int(connect(world).getpeercert()["serialNumber"], 16)  # noqa: E731
    assert serial() == 5001
    assert world.node.ask("status")["endpoint"] == world.node.endpoint
    world.change("s3.tls.certificate", "s3.tls.key", s3__tls={"certificate": "second.crt", "key": "second.key"})
    assert serial() == 5002


@change("[s3.tls]", "client_ca", "handshake_timeout")
def clients_must_show_theirs(world):
    ca = str(world.authority.certificate)
    world.change("s3.tls.client_ca", "s3.tls.handshake_timeout", s3__tls={"client_ca": ca, "handshake_timeout": "1s"})
    with pytest.raises((OSError, ssl.SSLError)):
        # With TLS 1.3 the client hears of it with the first answer.
        world.extra().send("GET", "none", bucket=OTHER)
    host, port = world.node.host.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as quiet:
        assert 0.5 < seconds_until_closed(quiet, b"\x16\x03\x01") < 8


def told_to_slow_down(raw, requests=400):
    """Whether some of so many requests are, as fast as one connection carries them."""
    line, path, statuses = raw.connection(), f"/{OTHER}/none", set()
    for _ in range(requests):
        headers = {"host": raw.node.host, "x-amz-date": raw.stamp(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        line.request("HEAD", path, headers=raw.authorized("HEAD", path, "", headers)[0])
        answer = line.getresponse()
        answer.read()
        statuses.add(answer.status)
        if 503 in statuses:
            break
    assert statuses <= {404, 503}, statuses
    return 503 in statuses


def bytes_are_paid(raw):
    assert until(lambda: raw.send("PUT", "much", body=b"x" * 2_000_000, bucket=OTHER).status == 200, 10)
    return raw.send("HEAD", "much", bucket=OTHER).status == 503


@change("[s3.per_address]", "requests_per_second", "burst", "bytes_per_second", "connections")
def an_address_has_limits(world):
    """The load is far below them; another address of this machine is not."""
    limits = {"requests_per_second": 1000, "burst": 2000, "bytes_per_second": "1GB", "connections": 1000}
    world.change(*(f"s3.per_address.{key}" for key in limits), s3__per_address=limits)
    assert not told_to_slow_down(world.extra(source="127.0.0.2"), 200)
    world.change("s3.per_address.requests_per_second", "s3.per_address.burst", s3__per_address={"requests_per_second": 100, "burst": 110})
    assert told_to_slow_down(world.extra(source="127.0.0.2"))
    world.change("s3.per_address.bytes_per_second", s3__per_address={"bytes_per_second": "400KB"})
    assert bytes_are_paid(world.extra(source="127.0.0.3"))
    world.change("s3.per_address.connections", s3__per_address={"connections": 10})
    held = [connect(world, "127.0.0.4") for _ in range(10)]
    with pytest.raises((OSError, AssertionError)):
        assert world.extra(source="127.0.0.4").send("HEAD", "none", bucket=OTHER).status == 404
    for line in held:
        line.close()


@change("[s3.per_credential]", "requests_per_second", "burst", "bytes_per_second")
def a_credential_has_limits(world):
    limits = {"requests_per_second": 1000, "burst": 2000, "bytes_per_second": "1GB"}
    world.change(*(f"s3.per_credential.{key}" for key in limits), s3__per_credential=limits)
    assert not told_to_slow_down(world.extra(), 200)
    limits = {"requests_per_second": 90, "burst": 100}
    world.change(*(f"s3.per_credential.{key}" for key in limits), s3__per_credential=limits)
    assert told_to_slow_down(world.extra())
    world.change("s3.per_credential.bytes_per_second", s3__per_credential={"bytes_per_second": "400KB"})
    assert bytes_are_paid(world.extra())


@change("[[buckets.credentials]]", "requests_per_second", "burst", "bytes_per_second")
def one_credential_has_limits(world):
    name = f"buckets.{OTHER}.credentials.{EXTRA[0]}"
    world.change(name, buckets__1__credentials__0={"requests_per_second": 30, "burst": 35})
    assert told_to_slow_down(world.extra())
    world.change(name, buckets__1__credentials__0={"requests_per_second": 10_000, "burst": 10_000, "bytes_per_second": "400KB"})
    assert bytes_are_paid(world.extra())


@change("[[buckets.credentials]]", "access_key_id", "secret_access_key", "secret_access_key_file", "rights")
def credentials_are_replaced(world):
    status = lambda key, secret: world.raw(access_key=key, secret=secret).send("GET", "none", bucket=OTHER).status  # noqa: E731
    name = f"buckets.{OTHER}.credentials"
    world.change(f"{name}.{EXTRA[0]}", buckets__1__credentials__0={"secret_access_key": "another-secret"})
    assert (status(*EXTRA), status(EXTRA[0], "another-secret")) == (403, 404)
    world.change(f"{name}.AKID_NEW", f"{name}.{EXTRA[0]}", buckets__1__credentials__0={"access_key_id": "AKID_NEW"})
    assert (status(EXTRA[0], "another-secret"), status("AKID_NEW", "another-secret")) == (403, 404)
    secret = world.home / "new.secret"
    secret.write_text("secret-in-a-file\n")
    secret.chmod(0o600)
    del world.node.settings["buckets"][1]["credentials"][0]["secret_access_key"]
    world.change(f"{name}.AKID_NEW", buckets__1__credentials__0={"secret_access_key_file": "new.secret"})
    assert status("AKID_NEW", "secret-in-a-file") == 404
    secret.write_text("secret-changed-in-it\n")
    world.change(f"{name}.AKID_NEW")
    assert (status("AKID_NEW", "secret-in-a-file"), status("AKID_NEW", "secret-changed-in-it")) == (403, 404)
    world.change(f"{name}.AKID_NEW", buckets__1__credentials__0={"rights": ["write"]})
    assert status("AKID_NEW", "secret-changed-in-it") == 403


@change("[[buckets]]", "name")
def a_bucket_comes_and_goes(world):
    ask = lambda: world.raw(access_key="AKID_3", secret="secret-of-3").send("GET", "none", bucket="app3-files").status  # noqa: E731
    credential = {"access_key_id": "AKID_3", "secret_access_key": "secret-of-3"}
    world.node.settings["buckets"].append({"name": "app3-files", "credentials": [credential]})
    world.change("buckets.app3-files")
    assert ask() == 404
    world.back()
    assert ask() == 403


@change("[[buckets]]", "quota")
def quotas_follow(world):
    world.change(f"buckets.{OTHER}.quota", buckets__1={"quota": "10KB"})
    assert world.extra().send("PUT", "more", body=b"x" * 20_000, bucket=OTHER).status != 200
    world.change(f"buckets.{OTHER}.quota", buckets__1={"quota": "100MB"})
    assert world.extra().send("PUT", "more", body=b"x" * 20_000, bucket=OTHER).status == 200


def places(world, key):
    located = world.node.ask("locate", f"{OTHER}/{key}")
    return sorted(replica["backend"] for replica in located["pieces"][0]["replicas"])


@change("[[buckets]]", "copies", "acknowledge", "placement")
def copies_and_their_places_follow(world):
    put = lambda key: world.extra().send("PUT", key, body=key.encode() * 20_000, bucket=OTHER).status  # noqa: E731
    assert put("one") == 200 and places(world, "one") == ["local"]
    settings = {"copies": 3, "acknowledge": "all"}
    world.change(f"buckets.{OTHER}.copies", f"buckets.{OTHER}.acknowledge", buckets__1=settings)
    assert put("three") == 200 and places(world, "three") == ["disk", "far", "local"]
    settings = {"copies": 1, "acknowledge": 1, "placement": "spread"}
    world.change(f"buckets.{OTHER}.placement", buckets__1=settings)
    for n in range(4):
        put(f"spread-{n}")
    assert {places(world, f"spread-{n}")[0] for n in range(4)} != {"local"}


@change("the top level", "placement")
def buckets_that_do_not_say_their_placement_follow_that_of_all(world):
    put = lambda key: world.extra().send("PUT", key, body=key.encode() * 20_000, bucket=OTHER).status  # noqa: E731
    assert put("packed") == 200 and places(world, "packed") == ["local"]
    world.node.settings["placement"] = "spread"
    world.change("placement")
    for n in range(4):
        put(f"of-all-{n}")
    assert {places(world, f"of-all-{n}")[0] for n in range(4)} != {"local"}
    world.change(f"buckets.{OTHER}.placement", buckets__1={"placement": "pack"})
    assert put("its-own") == 200 and places(world, "its-own") == ["local"]


@change("[[buckets]]", "anonymous", "anonymous_prefixes")
def a_part_is_open_to_all(world):
    for key in ("open/a", "closed"):
        world.extra().send("PUT", key, body=b"x", bucket=OTHER)
    status = lambda key: world.extra().send("GET", key, sign=False, bucket=OTHER).status  # noqa: E731
    assert (status("open/a"), status("closed")) == (403, 403)
    world.change(f"buckets.{OTHER}.anonymous", buckets__1={"anonymous": ["read"]})
    assert (status("open/a"), status("closed")) == (200, 200)
    world.change(f"buckets.{OTHER}.anonymous_prefixes", buckets__1={"anonymous_prefixes": ["open/"]})
    assert (status("open/a"), status("closed")) == (200, 403)


@change("[[buckets.cors]]", "origins", "methods", "headers", "expose_headers", "max_age")
def pages_of_others_are_let_in(world):
    def ask(method="PUT", header="x-mine"):
        asked = {"origin": "https://app.example", "access-control-request-method": method, "access-control-request-headers": header}
        return world.extra().send("OPTIONS", "none", sign=False, headers=asked, bucket=OTHER)

    assert ask().status == 403
    rule = {"origins": ["https://app.example"], "methods": ["PUT"], "headers": ["x-mine"], "expose_headers": ["ETag"], "max_age": "1m"}
    world.node.settings["buckets"][1]["cors"] = [rule]
    world.change(f"buckets.{OTHER}.cors.0")
    answer = ask()
    assert answer.status == 200 and answer.headers["access-control-max-age"] == "60"
    assert answer.headers["access-control-expose-headers"] == "ETag"
    assert (ask("GET").status, ask(header="x-other").status) == (403, 403)
    world.change(f"buckets.{OTHER}.cors.0.origins", buckets__1__cors__0={"origins": ["https://other.example"]})
    assert ask().status == 403


@change("[[buckets.lifecycle]]", "prefix", "tags", "expire_after")
def objects_end(world):
    raw = world.extra()
    for key in ("tmp/tagged", "tmp/plain", "kept/tagged"):
        tagged = {"x-amz-tagging": "class=temporary"} if "tagged" in key else {}
        assert raw.send("PUT", key, headers=tagged, body=b"x", bucket=OTHER).status == 200
    world.node.settings["buckets"][1]["lifecycle"] = [{"prefix": "tmp/", "tags": ["class=temporary"], "expire_after": "1s"}]
    world.change(f"buckets.{OTHER}.lifecycle.0")
    status = lambda key: raw.send("HEAD", key, bucket=OTHER).status  # noqa: E731
    assert until(lambda: status("tmp/tagged") == 404, 20)
    assert (status("tmp/plain"), status("kept/tagged")) == (200, 200)


@change("[[backends]]", "quota", "monthly_calls", "monthly_egress", "monthly_ingress")
def backends_have_limits(world):
    usage = lambda: {b["name"]: b for b in world.node.ask("usage")["backends"]}["far"]  # noqa: E731
    limits = {"quota": "1GB", "monthly_calls": 100_000, "monthly_egress": "1TB", "monthly_ingress": "1TB"}
    world.change(*(f"backends.far.{key}" for key in limits), backends__2=limits)
    assert usage()["quota_bytes"] == 1_000_000_000
    settings = {"copies": 2, "acknowledge": "all"}
    first = lambda key: world.extra().send("PUT", key, body=key.encode() * 20_000, bucket=OTHER) and places(world, key)  # noqa: E731
    # With the far one first, its limits say where the copies go.
    backends = world.node.settings["backends"]
    backends.insert(0, backends.pop())
    world.change("the order of backends", buckets__1=settings)
    assert first("free") == ["far", "local"]
    for limit in ({"monthly_calls": 1}, {"monthly_ingress": "1KB"}, {"quota": "1KB"}):
        world.change(f"backends.far.{next(iter(limit))}", backends__0=limits | limit)
        assert first(next(iter(limit))) == ["disk", "local"], limit


@change("[[backends]]", "max_copy_bandwidth", "max_copy_calls")
def copying_has_its_pace(world):
    body = b"x" * 1_500_000
    world.extra().send("PUT", "heavy", body=body, bucket=OTHER)
    limits = {"max_copy_bandwidth": "700KB", "max_copy_calls": 1000}
    world.change("backends.disk.max_copy_bandwidth", "backends.disk.max_copy_calls", backends__1=limits)
    began = time.monotonic()
    world.change(f"buckets.{OTHER}.copies", buckets__1={"copies": 2})
    assert until(lambda: places(world, "heavy") == ["disk", "local"], 30)
    assert time.monotonic() - began > 0.7, "the copy was faster than it may be"


@change("[[backends]]", "access_key_id", "secret_access_key", "secret_access_key_file", "region")
def the_keys_of_a_provider_are_rotated(world):
    """As one does it: the provider gets a second key, the node is told, the first one is taken away."""
    put = lambda key: world.extra().send("PUT", key, body=key.encode() * 20_000, bucket=OTHER).status  # noqa: E731
    world.change(f"buckets.{OTHER}.copies", buckets__1={"copies": 3, "acknowledge": "all"})
    assert put("old-key") == 200
    credentials = world.far.settings["buckets"][0]["credentials"]

    def provider_knows(*known):
        credentials[:] = [{"access_key_id": key, "secret_access_key": secret} for key, secret in known]
        world.far.write_config()
        world.far.ask("reload")

    def works(key):
        assert put(key) == 200 and places(world, key) == ["disk", "far", "local"]
        assert world.node.ask("scrub", "far", "--now")["tally"]["verified"] > 0

    second = ("AKID_FAR_2", "second-secret-of-far")
    provider_knows(("AKID_FAR", "secret-of-far"), second)
    del world.node.settings["backends"][2]["secret_access_key_file"]
    world.change(
        "backends.far.access_key_id", "backends.far.secret_access_key", "backends.far.region",
        backends__2={"access_key_id": second[0], "secret_access_key": second[1], "region": "eu-test-1"},
    )
    provider_knows(second)
    works("second-key")
    # Back to a file, and then only what is in it changes.
    (world.home / "rotated.secret").write_text("third-secret-of-far\n")
    (world.home / "rotated.secret").chmod(0o600)
    del world.node.settings["backends"][2]["secret_access_key"]
    world.change("backends.far.secret_access_key_file", backends__2={"secret_access_key_file": "rotated.secret"})
    provider_knows((second[0], "third-secret-of-far"))
    works("third-key")
    (world.home / "rotated.secret").write_text("fourth-secret-of-far\n")
    world.change("backends.far.secret_access_key_file")
    provider_knows((second[0], "fourth-secret-of-far"))
    works("fourth-key")
    assert "secret-of-far" not in world.node.log.read_text()
    provider_knows(("AKID_FAR", "secret-of-far"))


@change("[[mounts]]", "bucket", "path", "prefix", "read_only", "nonempty", "allow_other", "uid", "gid", "file_mode", "dir_mode")
def mounts_come_change_and_go(world):
    if not HAS_FUSE:
        pytest.skip("THERE IS NO /dev/fuse: mounts are not changed under load")
    for key in ("in/a", "in/dir/b", "out"):
        world.extra().send("PUT", key, body=key.encode(), bucket=OTHER)
    place, mount = world.home / "mount", {"bucket": OTHER, "path": "mount"}
    listed = lambda: sorted(entry.name for entry in place.iterdir())  # noqa: E731

    def mounted(*changed, **more):
        world.node.settings["mounts"] = [mount | more]
        world.change(*changed)

    mounted()
    assert "out" in listed() and (place / "in/a").read_text() == "in/a"
    with pytest.raises(OSError):
        (place / "new").write_text("x")
    mounted(read_only=False)
    (place / "new").write_text("from the mount")
    assert world.extra().send("GET", "new", bucket=OTHER).body == b"from the mount"
    mounted(prefix="in", uid=12, gid=34, file_mode="0640", dir_mode="0710", allow_other=True)
    assert listed() == ["a", "dir"]
    about = [(f.st_uid, f.st_gid, oct(f.st_mode & 0o777)) for f in ((place / "a").stat(), (place / "dir").stat())]
    assert about == [(12, 34, "0o640"), (12, 34, "0o710")]
    assert any(str(place) in line and "allow_other" in line for line in open("/proc/mounts"))
    mounted(bucket=BUCKET)
    assert "load-0" in listed()
    mounted(path="full", nonempty=True)
    assert "in-the-way" not in [entry.name for entry in (world.home / "full").iterdir()]
    assert listed() == [], "the old place is still mounted"
    world.back()
    assert [entry.name for entry in (world.home / "full").iterdir()] == ["in-the-way"]


@change("[log]", "level")
def less_is_logged(world):
    world.change("log.level", log={"level": "warn"})
    world.extra().send("GET", "not-in-the-log", bucket=OTHER)
    world.change("log.level", log={"level": "info"})
    world.extra().send("GET", "in-the-log-again", bucket=OTHER)
    assert until(lambda: "in-the-log-again" in world.node.log.read_text(), 10)
    assert "not-in-the-log" not in world.node.log.read_text()


@change("[[webhooks]]", "name", "url", "events", "bucket", "prefix", "secret", "secret_file", "timeout", "ca")
def receivers_are_told_from_now_on(world):
    first, second = Receiver(), Receiver()
    secret = world.home / "hook.secret"
    secret.write_text("secret-in-a-file\n")
    secret.chmod(0o600)
    hook = {"name": "hook", "url": first.url("/a"), "secret": "secret-of-the-hook", "bucket": OTHER, "events": ["created"]}
    hooks = world.node.settings["webhooks"] = [hook]
    signed = lambda delivery, key: hmac.new(  # noqa: E731
        key, delivery.headers["x-s3o-signature"][2:].partition(",v1=")[0].encode() + b"." + delivery.body, hashlib.sha256
    ).hexdigest() == delivery.headers["x-s3o-signature"].partition(",v1=")[2]
    put = lambda key: world.extra().send("PUT", key, body=b"x", bucket=OTHER)  # noqa: E731
    try:
        world.change("webhooks.hook")
        put("told-1")
        assert until(lambda: first.told == ["ObjectCreated:Put told-1"], 20), first.told
        assert signed(first.deliveries[0], b"secret-of-the-hook")
        # What waits for the one that fails goes to where it is now: it has the same name.
        first.status = 500
        put("told-2")
        assert until(lambda: len(first.deliveries) > 1, 20)
        del hook["secret"]
        hook |= {"url": second.url("/b"), "secret_file": "hook.secret", "timeout": "5s", "ca": str(world.authority.certificate)}
        hooks[0] = hook
        world.change("webhooks.hook.url", "webhooks.hook.timeout", "webhooks.hook.ca")
        assert until(lambda: second.told == ["ObjectCreated:Put told-2"], 30), second.told
        assert signed(second.deliveries[0], b"secret-in-a-file")
        hooks[0] = hook | {"prefix": "in/", "events": ["removed"]}
        world.change("webhooks.hook.prefix", "webhooks.hook.events")
        for key in ("in/x", "out/x"):
            put(key)
            world.extra().send("DELETE", key, bucket=OTHER)
        assert until(lambda: len(second.told) > 1, 20)
        assert second.told[1:] == ["ObjectRemoved:Delete in/x"]
        hooks[0] = hook | {"bucket": BUCKET, "name": "another"}
        world.change("webhooks.another")
        assert until(lambda: any("load-" in told for told in second.told), 20)
    finally:
        world.back()
        first.close()
        second.close()


@change("the top level", "stuck_after")
def a_queue_that_does_not_move_is_found_sooner(world):
    receiver = Receiver()
    receiver.status = 503
    world.node.settings["webhooks"] = [{"name": "away", "url": receiver.url("/"), "secret": "secret-of-the-hook", "events": ["created"]}]
    codes = lambda: {finding["code"] for finding in world.node.ask("status")["findings"]}  # noqa: E731
    try:
        world.change("webhooks.away")
        assert until(lambda: receiver.deliveries, 20) and "webhook-stuck" not in codes()
        world.node.settings["stuck_after"] = "1s"
        world.change("stuck_after")
        assert until(lambda: "webhook-stuck" in codes(), 20), world.node.ask("status")
        receiver.status = 200
        assert until(lambda: "webhook-stuck" not in codes(), 90)
    finally:
        receiver.close()


@change("[scrub]", "period", "rate", "providers")
def copies_are_verified_more_often(world):
    verified = lambda: total(scrape(world.node)[0], "s3o_scrub_verified_copies_total", {})  # noqa: E731
    world.extra().send("PUT", "to-verify", body=b"x" * 50_000, bucket=OTHER)
    before = verified()
    world.change("scrub.period", scrub={"period": "1s"})
    assert until(lambda: verified() > before, 20), "the worker sleeps as long as the old period made it"
    world.change("scrub.rate", "scrub.providers", scrub={"rate": "1MiB", "providers": True})


@change("[snapshots]", "backends", "every", "keep")
def snapshots_are_taken(world):
    taken = lambda: sorted(p.name for p in (world.home / "disk").rglob("*manifest*")) or world.node.ask("snapshot", "--list")  # noqa: E731
    listed = lambda: world.node.ask("snapshot", "--list")  # noqa: E731
    before = listed()
    world.change("snapshots.backends", "snapshots.every", "snapshots.keep", snapshots={"backends": ["disk"], "every": "1s", "keep": 2})
    assert until(lambda: listed() != before, 40), taken()
    world.change("snapshots.keep", "snapshots.every", snapshots={"every": "2s", "keep": 1})
