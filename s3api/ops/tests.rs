//! The verbs against a store in a temporary directory, without sockets and signatures.

#![allow(clippy::unwrap_used)]

mod dropped;

use super::Call;
use crate::auth::{Access, Authenticated, Payload, Via, testing};
use crate::buffers::Buffers;
use crate::dispatch::perform;
use crate::error::S3Error;
use crate::operation::Operation;
use crate::query::Query;
use crate::{Anonymous, Bucket, Options, RequestBody, RequestId, ResponseBody, router, xml};
use base64::Engine as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt as _;
use md5::Digest as _;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use types::{BucketName, Timestamp};

struct World {
    store: Store,
    bucket: Arc<Bucket>,
    options: Options,
    buffers: Buffers,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    code: Option<&'static str>,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn root(&self, name: &str) -> xml::Element {
        xml::parse(self.body.as_bytes(), name).unwrap()
    }

    /// The texts of all elements of this name, wherever they are.
    fn texts(&self, tag: &str) -> Vec<&str> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        self.body.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    // Empty reserves: laying 80 MiB for each store would be most of the work.
    for reserve in ["ballast", "start-reserve"] {
        std::fs::write(dir.path().join(reserve), b"").unwrap();
    }
    let name = BucketName::new("own").unwrap();
    let buckets = vec![store::BucketOptions::new(name.clone())];
    let mut options = store::Options::new(dir.path().to_owned(), buckets, || testing::NOW);
    options.durability = store::Durability::ProcessCrash;
    options.max_object_size_bytes = 8 << 20;
    options.multipart_expiry = Duration::from_secs(3600);
    let store = Store::open_dir(options).unwrap();
    let id = store.bucket(&name).unwrap();
    let (anonymous, anonymous_prefixes, cors) = (Anonymous::default(), Vec::new(), Vec::new());
    let bucket = Arc::new(Bucket { name, id, created: Timestamp(0), anonymous, anonymous_prefixes, cors });
    World { store, bucket, options: testing::options(), buffers: Buffers::new(1 << 20), _dir: dir }
}

impl World {
    async fn send(&self, method: &str, uri: &str, lines: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("node:9000"));
        headers.insert("content-length", HeaderValue::from(body.len()));
        for (name, value) in lines {
            let name = HeaderName::try_from(*name).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        match self.perform(method, uri, &headers, body).await {
            Ok(response) => answered(response, None).await,
            Err(error) => {
                let mut response = Response::new(ResponseBody::Empty);
                *response.status_mut() = error.code.status();
                answered(response, Some(error.code.name())).await
            }
        }
    }

    async fn perform(
        &self,
        method: &str,
        uri: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Response<ResponseBody>, S3Error> {
        let (path, raw_query) = uri.split_once('?').unwrap_or((uri, ""));
        let target = router::target(path, None, None)?;
        let query = Query::parse(raw_query)?;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let operation: Operation = router::route(&method, &target, &query, headers)?;
        let signed = Authenticated {
            credential: testing::credential(),
            payload: Payload::Unsigned,
            via: Via::Header,
            length_range: None,
        };
        let call = Call {
            store: &self.store,
            options: &self.options,
            buffers: &self.buffers,
            bucket: &self.bucket,
            target: &target,
            query: &query,
            headers,
            path,
            access: &Access::Signed(signed),
            id: &RequestId::generate(),
            now: testing::NOW,
        };
        perform(operation, &call, RequestBody::from_bytes(body.to_vec())).await
    }

    async fn put(&self, key: &str, body: &[u8]) -> Answer {
        let answer = self.send("PUT", &format!("/own/{key}"), &[], body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.code);
        answer
    }

    async fn get(&self, uri: &str, lines: &[(&str, &str)]) -> Answer {
        self.send("GET", uri, lines, b"").await
    }

    async fn with_md5(&self, method: &str, uri: &str, body: &str) -> Answer {
        let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body));
        self.send(method, uri, &[("content-md5", &md5)], body.as_bytes()).await
    }
}

async fn answered(response: Response<ResponseBody>, code: Option<&'static str>) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(bytes.to_vec()).unwrap();
    Answer { status: head.status.as_u16(), code, headers: head.headers, body }
}

const HELLO_MD5: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn objects_come_back_as_they_went() {
    let world = world();
    let lines = [
        ("content-type", "text/plain"),
        ("x-amz-meta-mtime", "1.5"),
        ("content-encoding", "gzip,aws-chunked"),
        ("x-amz-tagging", "a=1"),
        ("x-amz-checksum-crc32", "NhCmhg=="),
    ];
    let put = world.send("PUT", "/own/a//b%20c", &lines, b"hello").await;
    assert_eq!((put.status, put.header("etag")), (200, HELLO_MD5), "{:?}", put.code);
    assert_eq!(put.header("x-amz-checksum-crc32"), "NhCmhg==");
    let got = world.get("/own/a//b%20c", &[("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((got.status, &*got.body, got.header("etag")), (200, "hello", HELLO_MD5));
    assert_eq!(got.header("content-type"), "text/plain");
    assert_eq!(got.header("content-encoding"), "gzip");
    assert_eq!(got.header("x-amz-meta-mtime"), "1.5");
    assert_eq!(got.header("x-amz-tagging-count"), "1");
    assert_eq!(got.header("x-amz-checksum-crc32"), "NhCmhg==");
    assert_eq!(got.header("last-modified"), crate::dates::http_date(testing::NOW));
    assert_eq!(world.get("/own/missing", &[]).await.code, Some("NoSuchKey"));
    let overridden = world.get("/own/a//b%20c?response-content-type=x%2Fy", &[]).await;
    assert_eq!(overridden.header("content-type"), "x/y");
}

#[tokio::test]
async fn ranges_and_conditions() {
    let world = world();
    world.put("k", b"hello").await;
    let range = world.get("/own/k", &[("range", "bytes=1-2"), ("x-amz-checksum-mode", "ENABLED")]).await;
    assert_eq!((range.status, &*range.body, range.header("content-range")), (206, "el", "bytes 1-2/5"));
    assert!(
        !range.headers.contains_key("x-amz-checksum-crc64nvme"),
        "a piece has not the checksum of the whole"
    );
    assert_eq!(world.get("/own/k", &[("range", "bytes=9-")]).await.code, Some("InvalidRange"));
    assert_eq!(world.get("/own/k", &[("range", "bytes=0-0,2-2")]).await.body, "hello");
    assert_eq!(world.get("/own/k", &[("range", "bytes=0-0"), ("if-range", "\"x\"")]).await.status, 200);
    assert_eq!(world.get("/own/k?partNumber=1", &[]).await.status, 206);
    assert_eq!(world.get("/own/k?partNumber=2", &[]).await.code, Some("InvalidPartNumber"));
    let unchanged = world.get("/own/k", &[("if-none-match", HELLO_MD5)]).await;
    assert_eq!((unchanged.status, &*unchanged.body, unchanged.header("etag")), (304, "", HELLO_MD5));
    assert_eq!(world.get("/own/k", &[("if-match", "\"x\"")]).await.code, Some("PreconditionFailed"));
    let taken = world.send("PUT", "/own/k", &[("if-none-match", "*")], b"new").await;
    assert_eq!(taken.code, Some("PreconditionFailed"));
    let head = world.perform("HEAD", "/own/k", &HeaderMap::new(), b"").await.unwrap();
    assert!(matches!(head.body(), ResponseBody::Head(5)));
    assert_eq!(
        world.send("DELETE", "/own/k", &[("if-match", "\"x\"")], b"").await.code,
        Some("PreconditionFailed")
    );
    for _ in 0..2 {
        assert_eq!(world.send("DELETE", "/own/k", &[], b"").await.status, 204);
    }
    assert_eq!(world.get("/own/k", &[]).await.status, 404);
}

#[tokio::test]
async fn a_wrong_digest_leaves_nothing() {
    let world = world();
    let wrong = [("x-amz-checksum-crc32", "AAAAAA==")];
    assert_eq!(world.send("PUT", "/own/k", &wrong, b"hello").await.code, Some("BadDigest"));
    assert_eq!(world.get("/own/k", &[]).await.code, Some("NoSuchKey"));
}

#[tokio::test]
async fn listings_page_without_missing_or_repeating() {
    let world = world();
    for key in ["0/", "0/1000", "0/2", "1999", "1999%23", "1999+", "2000"] {
        world.put(key, b"x").await;
    }
    for max in [1, 2, 3, 10] {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let uri = format!("/own?list-type=2&delimiter=/&max-keys={max}{token}");
            let page = world.get(&uri, &[]).await;
            let root = page.root("ListBucketResult");
            assert_eq!(
                root.text_of("KeyCount").unwrap(),
                (page.texts("Key").len() + page.texts("CommonPrefixes").len()).to_string()
            );
            names.extend(page.texts("Key").iter().map(|key| (*key).to_owned()));
            names.extend(root.all("CommonPrefixes").map(|p| p.text_of("Prefix").unwrap().to_owned()));
            if root.text_of("IsTruncated").unwrap() == "false" {
                break;
            }
            token = format!("&continuation-token={}", root.text_of("NextContinuationToken").unwrap());
        }
        names.sort_unstable();
        assert_eq!(names, ["0/", "1999", "1999#", "1999+", "2000"], "{max}");
    }
    assert_eq!(world.get("/own?list-type=2&continuation-token=x", &[]).await.code, Some("InvalidArgument"));
    let none = world.get("/own?list-type=2&max-keys=0", &[]).await;
    assert_eq!(none.texts("IsTruncated"), ["false"]);
}

#[tokio::test]
async fn version_one_pages_by_marker() {
    let world = world();
    for key in ["a/1", "a/2", "b", "c%01%20"] {
        world.put(key, b"x").await;
    }
    let first = world.get("/own?delimiter=/&max-keys=1", &[]).await;
    assert_eq!((first.texts("NextMarker"), first.texts("IsTruncated")), (vec!["a/"], vec!["true"]));
    let next = world.get("/own?delimiter=/&max-keys=1&marker=a/", &[]).await;
    assert_eq!(next.texts("Key"), ["b"]);
    let inside = world.get("/own?delimiter=/&marker=a/1", &[]).await;
    assert_eq!(inside.texts("CommonPrefixes").len(), 1);
    let plain = world.get("/own?prefix=c", &[]).await;
    assert_eq!(plain.texts("Key"), ["c&#x1; "]);
    let encoded = world.get("/own?prefix=c&encoding-type=url", &[]).await;
    assert_eq!((encoded.texts("Key"), encoded.texts("EncodingType")), (vec!["c%01%20"], vec!["url"]));
    assert_eq!(world.get("/own?encoding-type=x", &[]).await.code, Some("InvalidArgument"));
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let world = world();
    world.put("a", b"x").await;
    world.put("b", b"hello").await;
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>missing&lt;</Key></Object><Object><Key>b</Key><ETag>\"x\"</ETag></Object></Delete>";
    let refused = world.send("POST", "/own?delete", &[], body.as_bytes()).await;
    assert_eq!(refused.code, Some("InvalidRequest"));
    let answer = world.with_md5("POST", "/own?delete", body).await;
    let root = answer.root("DeleteResult");
    let keys =
        |tag: &'static str| root.all(tag).map(|e| e.text_of("Key").unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys("Deleted"), ["a", "missing<"]);
    assert_eq!(keys("Error"), ["b"]);
    assert_eq!(answer.texts("Code"), ["PreconditionFailed"]);
    assert_eq!(world.get("/own/a", &[]).await.status, 404);
    assert_eq!(world.get("/own/b", &[]).await.status, 200);
}

#[tokio::test]
async fn copies() {
    let world = world();
    let lines = [("x-amz-meta-a", "1"), ("x-amz-tagging", "t=1"), ("content-type", "text/plain")];
    world.send("PUT", "/own/s%20k", &lines, b"hello").await;
    let copy = |uri: &'static str, lines: Vec<(&'static str, &'static str)>| {
        let world = &world;
        async move { world.send("PUT", uri, &lines, b"").await }
    };
    let source = ("x-amz-copy-source", "/own/s%20k");
    let done = copy("/own/d", vec![source, ("x-amz-meta-b", "ignored")]).await;
    assert_eq!(done.root("CopyObjectResult").text_of("ETag").unwrap(), HELLO_MD5);
    let got = world.get("/own/d", &[]).await;
    assert_eq!(
        (&*got.body, got.header("x-amz-meta-a"), got.header("x-amz-tagging-count")),
        ("hello", "1", "1")
    );
    assert!(!got.headers.contains_key("x-amz-meta-b"));
    copy("/own/d", vec![source, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")]).await;
    let got = world.get("/own/d", &[]).await;
    assert_eq!((got.header("x-amz-meta-b"), got.header("content-type")), ("2", "binary/octet-stream"));
    assert_eq!(got.header("x-amz-tagging-count"), "1", "tags have a directive of their own");
    copy("/own/d", vec![source, ("x-amz-tagging-directive", "REPLACE")]).await;
    assert_eq!(world.get("/own/d", &[]).await.header("x-amz-tagging-count"), "");

    let code = |lines| async { copy("/own/s%20k", lines).await.code };
    assert_eq!(code(vec![source]).await, Some("InvalidRequest"));
    assert_eq!(code(vec![source, ("x-amz-metadata-directive", "REPLACE")]).await, None);
    assert_eq!(code(vec![source, ("x-amz-metadata-directive", "MERGE")]).await, Some("InvalidArgument"));
    assert_eq!(code(vec![("x-amz-copy-source", "other/k")]).await, Some("AccessDenied"));
    assert_eq!(code(vec![("x-amz-copy-source", "own/missing")]).await, Some("NoSuchKey"));
    assert_eq!(
        copy("/own/d", vec![source, ("x-amz-copy-source-if-none-match", "*")]).await.code,
        Some("PreconditionFailed")
    );
    let sum = copy("/own/d", vec![source, ("x-amz-checksum-algorithm", "sha256")]).await;
    assert_eq!(sum.texts("ChecksumSHA256"), ["LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="]);
}

async fn begin(world: &World, lines: &[(&str, &str)]) -> String {
    let created = world.send("POST", "/own/big?uploads", lines, b"").await;
    created.texts("UploadId").first().map(|id| (*id).to_owned()).unwrap()
}

fn crc32(body: &[u8]) -> String {
    let mut hasher = types::checksum::Hasher::new(types::Algorithm::Crc32);
    hasher.update(body);
    hasher.finish().to_base64()
}

#[tokio::test]
async fn multipart_from_begin_to_end() {
    let world = world();
    let id = begin(&world, &[("x-amz-meta-a", "1"), ("x-amz-checksum-algorithm", "CRC32")]).await;
    let large = vec![b'x'; 5 << 20];
    let mut named = String::new();
    for (number, body) in [(2, &b"hello"[..]), (1, &large)] {
        let uri = format!("/own/big?partNumber={number}&uploadId={id}");
        let without = world.send("PUT", &uri, &[], body).await;
        assert_eq!(without.code, Some("InvalidRequest"), "a composite checksum is of the client's own");
        let sum = crc32(body);
        let part = world.send("PUT", &uri, &[("x-amz-checksum-crc32", &sum)], body).await;
        assert_eq!(part.status, 200, "{:?}", part.code);
        assert_eq!(part.header("x-amz-checksum-crc32"), sum);
        let etag = part.header("etag");
        named.insert_str(
            0,
            &format!(
                "<Part><ChecksumCRC32>{sum}</ChecksumCRC32><ETag>{etag}</ETag><PartNumber>{number}</PartNumber></Part>"
            ),
        );
    }
    let parts = world.get(&format!("/own/big?uploadId={id}&max-parts=1"), &[]).await;
    assert_eq!((parts.texts("PartNumber"), parts.texts("NextPartNumberMarker")), (vec!["1"], vec!["1"]));
    assert_eq!(parts.texts("IsTruncated"), ["true"]);
    let uploads = world.get("/own?uploads", &[]).await;
    assert_eq!(uploads.texts("UploadId"), [&*id]);

    let document = format!("<CompleteMultipartUpload>{named}</CompleteMultipartUpload>");
    let uri = format!("/own/big?uploadId={id}");
    let size = [("x-amz-mp-object-size", "7")];
    assert_eq!(world.send("POST", &uri, &size, document.as_bytes()).await.code, Some("InvalidRequest"));
    let done = world.send("POST", &uri, &[], document.as_bytes()).await;
    assert_eq!(done.status, 200, "{:?}", done.code);
    assert!(done.texts("ETag")[0].ends_with("-2&quot;"), "{}", done.body);
    assert_eq!(done.texts("Location"), ["http://node:9000/own/big"]);
    assert_eq!(done.texts("ChecksumType"), ["COMPOSITE"]);
    let again = world.send("POST", &uri, &[], document.as_bytes()).await;
    assert_eq!((again.status, again.texts("ETag")), (200, done.texts("ETag")));

    let second = world.get("/own/big?partNumber=2", &[]).await;
    assert_eq!((&*second.body, second.header("x-amz-mp-parts-count")), ("hello", "2"));
    assert_eq!(second.header("content-range"), "bytes 5242880-5242884/5242885");
    let attributes = [("x-amz-object-attributes", "ETag,ObjectParts,Checksum"), ("x-amz-max-parts", "1")];
    let attributes = world.get("/own/big?attributes", &attributes).await;
    assert_eq!((attributes.texts("PartsCount"), attributes.texts("Size")), (vec!["2"], vec!["5242880"]));
    assert!(attributes.texts("ETag")[0].ends_with("-2"));
    assert_eq!(world.get(&uri, &[]).await.code, Some("NoSuchUpload"));
}

#[tokio::test]
async fn multipart_errors() {
    let world = world();
    let id = begin(&world, &[]).await;
    let uri = |number: &str, id: &str| format!("/own/big?partNumber={number}&uploadId={id}");
    let code = async |uri: String| world.send("PUT", &uri, &[], b"x").await.code;
    assert_eq!(code(uri("0", &id)).await, Some("InvalidArgument"));
    assert_eq!(code(uri("1", "nonsense")).await, Some("NoSuchUpload"));
    assert_eq!(code(uri("1", &id).replace("big", "other")).await, Some("NoSuchUpload"));
    let large = vec![b'x'; (8 << 20) + 1];
    assert_eq!(world.send("PUT", &uri("1", &id), &[], &large).await.code, Some("EntityTooLarge"));
    assert_eq!(world.send("PUT", "/own/large", &[], &large).await.code, Some("EntityTooLarge"));
    world.put("source", b"hello").await;
    let copied = [("x-amz-copy-source", "own/source"), ("x-amz-copy-source-range", "bytes=1-2")];
    let part = world.send("PUT", &uri("1", &id), &copied, b"").await;
    assert_eq!(part.status, 200, "{:?}", part.code);
    let end = format!("/own/big?uploadId={id}");
    assert_eq!(world.send("DELETE", &end, &[], b"").await.status, 204);
    assert_eq!(world.send("DELETE", &end, &[], b"").await.code, Some("NoSuchUpload"));
    assert_eq!(world.send("POST", &end, &[], b"<CompleteMultipartUpload/>").await.code, Some("MalformedXML"));
}

#[tokio::test]
async fn tags() {
    let world = world();
    world.put("k", b"x").await;
    assert_eq!(world.get("/own/k?tagging", &[]).await.texts("TagSet"), [""]);
    let body = "<Tagging><TagSet><Tag><Key>a</Key><Value>1&amp;</Value></Tag></TagSet></Tagging>";
    assert_eq!(world.with_md5("PUT", "/own/k?tagging", body).await.code, Some("InvalidTag"));
    let body = body.replace("&amp;", "");
    assert_eq!(world.with_md5("PUT", "/own/k?tagging", &body).await.status, 200);
    assert_eq!(world.get("/own/k?tagging", &[]).await.texts("Value"), ["1"]);
    assert_eq!(
        world.send("DELETE", "/own/k?tagging", &[], b"").await.status,
        StatusCode::NO_CONTENT.as_u16()
    );
    assert_eq!(world.get("/own/k?tagging", &[]).await.texts("TagSet"), [""]);
    assert_eq!(world.get("/own/missing?tagging", &[]).await.code, Some("NoSuchKey"));
}

#[tokio::test]
async fn buckets() {
    let world = world();
    assert_eq!(world.get("/", &[]).await.texts("Name"), ["own"]);
    assert_eq!(world.send("PUT", "/own", &[], b"").await.code, Some("BucketAlreadyOwnedByYou"));
    assert_eq!(world.send("HEAD", "/own", &[], b"").await.status, 200);
    world.get("/own?location", &[]).await.root("LocationConstraint");
    world.get("/own?versioning", &[]).await.root("VersioningConfiguration");
}

async fn post(world: &World, anonymous: Anonymous, fields: &[(&str, &str)], file: &str) -> Answer {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\n{file}\r\n--b--\r\n"
    );
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("node:9000"));
    headers.insert("content-type", HeaderValue::from_static("multipart/form-data; boundary=b"));
    headers.insert("content-length", HeaderValue::from(body.len()));
    let bucket = Bucket { anonymous, ..Bucket::clone(&world.bucket) };
    let options = Options { buckets: [("own".to_owned(), Arc::new(bucket))].into(), ..testing::options() };
    let form = super::post_object::Post {
        store: &world.store,
        options: &options,
        buffers: &world.buffers,
        keys: &crate::auth::SigningKeys::default(),
        purses: &std::sync::Arc::default(),
        target: &router::target("/own", None, None).unwrap(),
        headers: &headers,
        now: testing::NOW,
    };
    let mut audit = crate::Audit::default();
    match super::post_object::post_object(&form, RequestBody::from_bytes(body), &mut audit, &mut None).await {
        Ok(response) => answered(response, None).await,
        Err(error) => answered(Response::new(ResponseBody::Empty), Some(error.code.name())).await,
    }
}

#[tokio::test]
async fn forms() {
    let world = world();
    let writable = Anonymous { read: false, write: true };
    let done =
        post(&world, writable, &[("key", "up/${filename}"), ("Content-Type", "text/plain")], "hello").await;
    assert_eq!((done.status, done.header("etag"), done.code), (204, HELLO_MD5, None));
    assert_eq!(done.header("location"), "http://node:9000/own/up/f.txt");
    let got = world.get("/own/up/f.txt", &[]).await;
    assert_eq!((&*got.body, got.header("content-type")), ("hello", "text/plain"));
    let created = post(&world, writable, &[("key", "k"), ("success_action_status", "201")], "").await;
    assert_eq!((created.status, created.texts("Key")), (201, vec!["k"]));
    let elsewhere = [("key", "a b"), ("success_action_redirect", "https://x.example/?q=1")];
    let redirect = post(&world, writable, &elsewhere, "hello").await;
    assert_eq!(redirect.status, 303);
    assert!(redirect.header("location").starts_with("https://x.example/?q=1&bucket=own&key=a%20b&etag=%22"));

    let refused =
        async |anonymous, fields: &[(&str, &str)]| post(&world, anonymous, fields, "new").await.code;
    assert_eq!(refused(Anonymous::default(), &[("key", "k")]).await, Some("AccessDenied"));
    assert_eq!(refused(writable, &[]).await, Some("InvalidArgument"));
    assert_eq!(refused(writable, &[("key", "k"), ("acl", "public-read")]).await, Some("NotImplemented"));
    assert_eq!(
        refused(writable, &[("key", "k"), ("x-amz-checksum-crc32", "AAAAAA==")]).await,
        Some("BadDigest")
    );
    assert_eq!(world.get("/own/k", &[]).await.body, "", "a refused form changes nothing");
}
