//! Writes the part of the corpus that is not written by hand: recorded requests and records.
//!
//! `cargo run --release --manifest-path tests/fuzz/Cargo.toml --example seeds`, from the top.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use meta::{
    Account, BackendId, BackendRecord, BackendState, BlobPart, BlobRecord, BucketRecord, CleanupTask, Content,
    CopyTask, Counters, EMBEDDED, FinishedUpload, Health, Intent, ObjectRecord, PartRecord, Place, Replica,
    SweepTask, Target, TaskKind, Traffic, UploadRecord, keyspace, task,
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
    let object = Target::new(BackendId(2), Place::Object("own/some key.0000000000000009".into()));
    let targets = vec![Target::new(EMBEDDED, Place::File), object.clone()];
    let intent = Intent { targets, size: 1 << 30, since: modified };
    record("intent", b'i', &intent.encode());
    // As the first format had them: an intent, and what becomes of it.
    record("intent-1", b'i', &[1, 0, 1, 0x80, 8, 9]);
    record("cleanup-stray-1", b'c', &[1, 1, 0, 1, 0x80, 8, 9]);
    record("cleanup-blob-1", b'c', &[1, 0]);
    let blob = BlobId(9);
    record("cleanup-blob", b'c', &CleanupTask::Blob { blob, attempts: 3 }.encode());
    let stray = CleanupTask::Stray { blob, target: object.clone(), size: 300, whole: true, attempts: 0 };
    record("cleanup-stray", b'c', &stray.encode());
    let mut copies = CopyTask::new(TaskKind::Replicate, blob, modified);
    record("copies", b't', &copies.encode());
    copies.named = Some((BucketId(1), key.clone()));
    record("copies-named", b't', &copies.encode());
    record("sweep", b'w', &SweepTask { blob, target: object }.encode());
    let state = BackendState::Draining;
    record("backend", b'r', &BackendRecord { id: BackendId(2), state, since: modified }.encode());
    record("traffic", b'm', &Traffic { calls: 1, ingress_bytes: 1 << 40, egress_bytes: 0 }.encode());
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
    let mut replicas = vec![Replica::new(Target::new(EMBEDDED, Place::File), Timestamp(1))];
    let object = Target::new(BackendId(2), Place::Object("own/key.0000000000000009".into()));
    replicas.push(Replica { health: Health::Bad(Timestamp(2)), ..Replica::new(object, Timestamp(0)) });
    let content = Content::Bytes { replicas, sums: vec![1, u32::MAX] };
    let bucket = Some(BucketId(1));
    record("blob-file", b'b', &BlobRecord { size: 200_000, references: 1, bucket, content }.encode());
    // The first format: size, references, bytes, one file on backend 0, one checksum.
    record("blob-1", b'b', &[1, 5, 1, 0, 1, 0, 1, 1, 1, 2, 3, 4]);
    let part = |number, size| BlobPart { number, blob: BlobId(u64::from(number)), size, checksum };
    let content = Content::Parts(vec![part(1, 5 << 20), part(3, 1)]);
    record("blob-parts", b'b', &BlobRecord { size: (5 << 20) + 1, references: 2, bucket: None, content }.encode());
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
