//! Writes the part of the corpus that is not written by hand: recorded requests and records.
//!
//! `cargo run --release --manifest-path tests/fuzz/Cargo.toml --example seeds`, from the top.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta::{
    Account, BackendId, BlobPart, BlobRecord, BucketRecord, CleanupTask, Content, Counters, EMBEDDED,
    FinishedUpload, Intent, ObjectRecord, PartRecord, Place, Replica, UploadRecord, keyspace, task,
};
use s3api::token;
use serde_json::Value;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use store::ListStart;
use types::checksum::composite;
use types::{
    Algorithm, BlobId, BucketId, Checksum, ChecksumKind, ETag, Key, ObjectHeaders, Tags, Timestamp, UploadId,
    Version,
};

/// Bodies in the corpus are small: what is long is long for the sake of length only.
const MAX_SEED_BYTES: usize = 3000;

fn main() {
    requests();
    records();
    tokens();
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new("tests/fuzz/corpus").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a file");
}

/// One recorded request of each shape: a scheme, an answer, a method, a set of signed headers.
fn requests() {
    let text = fs::read_to_string("tests/s3api/sigv4-vectors.json").expect("the vectors");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let mut seen = HashSet::new();
    for vector in file["vectors"].as_array().expect("a list") {
        let Some(wire) = wire(vector) else { continue };
        let shape =
            format!("{} {} {} {}", vector["scheme"], vector["expected"], vector["method"], kind(vector));
        if wire.len() > MAX_SEED_BYTES || !seen.insert(shape) {
            continue;
        }
        let name = format!("vector-{}", vector["id"].as_str().unwrap_or_default());
        write("signature", &name, &wire);
        if seen.len() % 4 == 0 {
            write("head", &name, &wire);
            write("headers", &name, header_lines(vector).as_bytes());
        }
    }
}

fn kind(vector: &Value) -> String {
    let headers = header_lines(vector).to_ascii_lowercase();
    let find =
        |name: &str| headers.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    let payload = find("x-amz-content-sha256");
    format!("{} {}", payload.contains("streaming"), find("x-amz-trailer"))
}

fn header_lines(vector: &Value) -> String {
    let pairs = vector["headers"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pairs.map(|pair| format!("{}: {}\r\n", text(&pair[0]), text(&pair[1]))).collect()
}

fn wire(vector: &Value) -> Option<Vec<u8>> {
    let text = |name: &str| vector[name].as_str().unwrap_or_default();
    let query = if text("query").is_empty() { String::new() } else { format!("?{}", text("query")) };
    let head = format!("{} {}{query} HTTP/1.1\r\n{}\r\n", text("method"), text("path"), header_lines(vector));
    let body = STANDARD.decode(vector["body"]["b64"].as_str()?).ok()?;
    Some([head.as_bytes(), &body].concat())
}

fn record(name: &str, kind: u8, value: &[u8]) {
    write("records", name, &[&[kind], value].concat());
}

fn records() {
    let sum = |algorithm: Algorithm| Checksum::new(algorithm, &vec![7; algorithm.len()]);
    let (id, key) = (UploadId { sequence: 300, secret: u64::MAX }, Key::new("a\0b/\u{e9}").expect("a key"));
    let etag = ETag { md5: [0xab; 16], parts: Some(2) };
    let modified = Timestamp(1_795_485_000_000);
    for (n, algorithm) in Algorithm::ALL.into_iter().enumerate() {
        let checksum = sum(algorithm);
        let part =
            PartRecord { blob: BlobId(9), size: 5 << 20, etag: ETag::single([1; 16]), modified, checksum };
        record(&format!("part-{n}"), b'p', &part.encode());
        let checksum = sum(algorithm).and_then(|sum| composite(algorithm, &[sum, sum]));
        let (version, blob) = (Version(77), BlobId(1 << 40));
        let object = ObjectRecord {
            version,
            blob,
            inline: n % 2 == 0,
            size: 11,
            etag,
            modified,
            checksum,
            headers: headers(),
        };
        record(&format!("object-{n}"), b'o', &object.encode());
        let choice =
            Some((algorithm, if n % 2 == 0 { ChecksumKind::Composite } else { ChecksumKind::FullObject }));
        let upload = UploadRecord { initiated: modified, checksum: choice, headers: headers() };
        record(&format!("upload-{n}"), b'u', &upload.encode());
    }
    let finished = FinishedUpload {
        id,
        bucket: BucketId(1),
        key: key.clone(),
        etag,
        version: Version(78),
        modified,
        size: 10 << 20,
        checksum: sum(Algorithm::Crc64Nvme),
    };
    record("finished", b'f', &finished.encode());
    blobs(sum(Algorithm::Sha1));
    let intent = Intent { backend: EMBEDDED, place: Place::File, size: 1 << 30, since: modified };
    record("intent", b'i', &intent.encode());
    record("cleanup-blob", b'c', &CleanupTask::Blob.encode());
    record("cleanup-stray", b'c', &CleanupTask::Stray(intent).encode());
    record("expiry", b'e', &task::encode_expiry(BucketId(1), &key, id));
    record("counters", b'l', &Counters { bytes: 1 << 50, objects: 5, awaiting_bytes: 300 }.encode());
    record("bucket", b's', &BucketRecord { id: BucketId(3), created: modified }.encode());
    record("inline", b'n', b"hello");
    record("key-upload", b'k', &keyspace::upload(BucketId(1), &key, id));
    record("key-part", b'k', &keyspace::part(300, 10_000));
    record("key-object", b'k', &keyspace::object(BucketId(1), key.as_bytes()));
    record("key-blob", b'k', &keyspace::blob(BlobId(9)));
    record("key-ledger", b'k', &Account::Backend(BackendId(1)).key());
}

fn blobs(checksum: Option<Checksum>) {
    let replicas = vec![Replica { backend: EMBEDDED, place: Place::File }];
    let content = Content::Bytes { replicas, sums: vec![1, u32::MAX] };
    record("blob-file", b'b', &BlobRecord { size: 200_000, references: 1, content }.encode());
    let part = |number, size| BlobPart { number, blob: BlobId(u64::from(number)), size, checksum };
    let content = Content::Parts(vec![part(1, 5 << 20), part(3, 1)]);
    record("blob-parts", b'b', &BlobRecord { size: (5 << 20) + 1, references: 2, content }.encode());
}

fn headers() -> ObjectHeaders {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    ObjectHeaders {
        content_type: Some("text/plain".to_owned()),
        cache_control: Some("no-cache".to_owned()),
        content_encoding: Some("gzip".to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        user_metadata: vec![pair("name", "\u{e9}"), pair("empty", "")],
        tags: Tags::new(vec![pair("k", "v")]).expect("tags"),
        ..ObjectHeaders::default()
    }
}

fn tokens() {
    for (name, start) in [
        ("token-after", ListStart::After("a/b".to_owned())),
        ("token-group", ListStart::AfterGroup("a/".to_owned())),
    ] {
        let token = token::encode("bucket", &start).expect("a token");
        write("tokens", name, format!("{token}\na\n/").as_bytes());
    }
}
