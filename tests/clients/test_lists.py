"""ListObjects of both versions, against a model of a few lines."""

import itertools

import pytest

from guide import BUCKET

# The fourth to the ninth are those of a bug that many had: the search must skip the group "0/",
# not all that comes behind it.
KEYS = sorted([
    "a", "a/", "a/b", "a/b/c", "a/b/d", "a//x", "a!b", "a.b", "b/1", "b/2", "b/3", "c", "0/", "0/1000",
    "0/1001", "1999", "1999#", "1999+", "2000", "ü/1", "ü/2", "z--1", "z--2", "z-3", "sp ace", "per%41cent",
], key=str.encode)


@pytest.fixture(scope="module", autouse=True)
def objects(s3):
    for key in KEYS:
        s3.put_object(Bucket=BUCKET, Key=key, Body=key.encode())
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="a/unfinished")
    s3.upload_part(Bucket=BUCKET, Key="a/unfinished", UploadId=upload["UploadId"], PartNumber=1, Body=b"x")


def model(prefix="", delimiter="", after=""):
    """Keys and groups in their order; `after` is exclusive."""
    found = []
    for key in KEYS:
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix):]
        end = rest.find(delimiter) if delimiter else -1
        name = key if end < 0 else prefix + rest[: end + len(delimiter)]
        if key.encode() > after.encode() and (not found or found[-1] != (name, end >= 0)):
            found.append((name, end >= 0))
    return found


def entries(answer):
    """What a page has, in the order of names."""
    keys = [(key, False) for key in answer.texts("Contents/Key")]
    groups = [(name, True) for name in answer.texts("CommonPrefixes/Prefix")]
    assert keys == sorted(keys, key=lambda entry: entry[0].encode())
    assert groups == sorted(groups, key=lambda entry: entry[0].encode())
    return sorted(keys + groups, key=lambda entry: entry[0].encode())


def v2(raw, **query):
    return raw.send("GET", None, query={"list-type": 2} | {name.replace("_", "-"): value for name, value in query.items()})


def v1(raw, **query):
    return raw.send("GET", None, query={name.replace("_", "-"): value for name, value in query.items()})


COMBINATIONS = list(itertools.product(
    ("", "a", "a/", "a/b", "0", "ü", "z-", "nothing"), ("", "/", "-", "--", "b", "//"), (1, 2, 3, 1000)
))


@pytest.mark.parametrize("prefix, delimiter, size", COMBINATIONS)
def test_v2(raw, prefix, delimiter, size):
    expected, found, token = model(prefix, delimiter), [], {}
    while True:
        page = v2(raw, prefix=prefix, delimiter=delimiter, max_keys=size, **token)
        here = entries(page)
        found += here
        assert page.status == 200 and page.xml.findtext("KeyCount") == str(len(here)) and len(here) <= size
        more = page.xml.findtext("IsTruncated") == "true"
        assert more == (len(found) < len(expected)), "the last page says that it is"
        if not more:
            break
        assert len(here) == size
        token = {"continuation_token": page.xml.findtext("NextContinuationToken")}
    assert found == expected


@pytest.mark.parametrize("prefix, delimiter, size", COMBINATIONS)
def test_v1(raw, prefix, delimiter, size):
    expected, found, marker = model(prefix, delimiter), [], {}
    while True:
        page = v1(raw, prefix=prefix, delimiter=delimiter, max_keys=size, **marker)
        found += entries(page)
        if page.xml.findtext("IsTruncated") != "true":
            break
        following = page.xml.findtext("NextMarker")
        assert (following is not None) == bool(delimiter), "without a delimiter it is the last key"
        marker = {"marker": following or found[-1][0]}
    assert found == expected


@pytest.mark.parametrize("after", ["", "a", "a/b", "a/b/", "0", "0/", "0/1000", "zzz", "1999!", "ü", "~"])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_start_after(raw, after, delimiter):
    expected = model(delimiter=delimiter, after=after)
    assert entries(v2(raw, start_after=after, delimiter=delimiter)) == expected
    # A marker that is a group has all of it behind it: that is how version 1 pages.
    expected = [entry for entry in expected if not (delimiter and entry == (after, True))]
    assert entries(v1(raw, marker=after, delimiter=delimiter)) == expected


def test_the_token_wins_over_start_after(raw):
    first = v2(raw, max_keys=2)
    token = first.xml.findtext("NextContinuationToken")
    page = v2(raw, continuation_token=token, start_after="z")
    assert entries(page) == model()[2:]
    assert page.xml.findtext("ContinuationToken") == token and page.xml.findtext("StartAfter") == "z"
    assert entries(v2(raw, continuation_token="", max_keys=2)) == model()[:2]


def test_what_a_page_says_of_itself(raw):
    page = v2(raw, prefix="a/", delimiter="/", start_after="a/b", max_keys=7).xml
    assert page.tag == "ListBucketResult"
    for name, value in (("Name", BUCKET), ("Prefix", "a/"), ("Delimiter", "/"), ("StartAfter", "a/b"), ("MaxKeys", "7")):
        assert page.findtext(name) == value
    bare = v2(raw).xml
    assert bare.find("Prefix") is not None and bare.findtext("MaxKeys") == "1000"
    for name in ("Delimiter", "StartAfter", "ContinuationToken", "EncodingType", "NextContinuationToken"):
        assert bare.find(name) is None, name
    old = v1(raw).xml
    assert old.find("Marker") is not None and old.find("KeyCount") is None


def test_entries(raw, s3):
    entry = v2(raw, prefix="c").xml.find("Contents")
    head = s3.head_object(Bucket=BUCKET, Key="c")
    assert entry.findtext("ETag") == head["ETag"] and entry.findtext("Size") == "1"
    assert entry.findtext("StorageClass") == "STANDARD"
    assert entry.findtext("ChecksumAlgorithm") == "CRC32", "boto3 sent one"
    assert entry.findtext("ChecksumType") == "FULL_OBJECT"
    assert entry.find("Owner") is None
    owner = v2(raw, prefix="c", fetch_owner="true").xml.find("Contents/Owner")
    assert owner.findtext("ID") and owner.find("DisplayName") is not None
    assert v1(raw, prefix="c").xml.find("Contents/Owner/ID") is not None


def test_encoding(raw):
    page = v2(raw, encoding_type="url", delimiter="ü", prefix="", start_after="a b+")
    assert page.xml.findtext("EncodingType") == "url"
    assert page.xml.findtext("Delimiter") == "%C3%BC" and page.xml.findtext("StartAfter") == "a%20b%2B"
    keys = page.texts("Contents/Key")
    assert {"a/b/c", "sp%20ace", "per%2541cent"} <= set(keys) and "sp ace" not in keys
    assert page.texts("CommonPrefixes/Prefix") == ["%C3%BC"]
    assert "1999%2B" in v2(raw, encoding_type="url").texts("Contents/Key")


@pytest.mark.parametrize("query", [
    {"max-keys": "-1"}, {"max-keys": "x"}, {"max-keys": "1.5"}, {"max-keys": "99999999999999999999"}, {"encoding-type": "base64"},
    {"continuation-token": "not one of ours"},
])
def test_bad_arguments(raw, query):
    assert raw.send("GET", None, query={"list-type": 2} | query).outcome == (400, "InvalidArgument")


def test_a_changed_token_is_refused(raw):
    token = v2(raw, max_keys=1).xml.findtext("NextContinuationToken")
    for bad in (token[:-1], token + "A", token[::-1], token.swapcase()):
        if bad != token:
            assert v2(raw, continuation_token=bad).outcome == (400, "InvalidArgument"), bad


def test_sizes_of_pages(raw, s3):
    none = v2(raw, max_keys=0)
    assert entries(none) == [] and none.xml.findtext("IsTruncated") == "false"
    assert none.xml.findtext("KeyCount") == "0" and none.xml.findtext("MaxKeys") == "0"
    assert entries(v1(raw, max_keys=0)) == []
    assert v2(raw, max_keys=5000).xml.findtext("MaxKeys") == "1000"


def test_a_page_has_at_most_a_thousand(raw, s3):
    from concurrent.futures import ThreadPoolExecutor

    names = [f"~many/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=BUCKET, Key=name), names))
    try:
        page = v2(raw, prefix="~many/", max_keys=5000)
        assert len(page.texts("Contents/Key")) == 1000 and page.xml.findtext("IsTruncated") == "true"
        rest = v2(raw, prefix="~many/", continuation_token=page.xml.findtext("NextContinuationToken"))
        assert page.texts("Contents/Key") + rest.texts("Contents/Key") == names
    finally:
        deleted = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": name} for name in names[:1000]]})
        assert len(deleted["Deleted"]) == 1000
        for name in names[1000:]:
            s3.delete_object(Bucket=BUCKET, Key=name)


def test_keys_that_xml_cannot_hold(raw):
    key = "~control/\x01\x1f"
    assert raw.send("PUT", key, body=b"x").status == 200
    page = v2(raw, prefix="~control/", encoding_type="url")
    assert page.texts("Contents/Key") == ["~control/%01%1F"]
    assert raw.send("DELETE", key).status == 204


def test_lists_of_other_buckets_are_refused(raw):
    for bucket in ("app2-files", "no-such-bucket"):
        assert raw.send("GET", None, bucket=bucket, query={"list-type": 2}).outcome == (403, "AccessDenied")
    buckets = raw.send("GET", bucket=None)
    assert buckets.texts("Buckets/Bucket/Name") == [BUCKET]
