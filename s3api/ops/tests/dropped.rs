//! Every handler, dropped at every await as hyper drops one whose client hung up: nothing stays held.

use super::*;
use std::time::Instant;
use testkit::cancel::drop_after;

/// More awaits than any handler has.
const MAX_POLLS: usize = 200;
const LARGE: usize = 700_000;

struct Request {
    method: &'static str,
    uri: String,
    lines: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn request(method: &'static str, uri: impl Into<String>, body: impl Into<Vec<u8>>) -> Request {
    Request { method, uri: uri.into(), lines: Vec::new(), body: body.into() }
}

impl Request {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.lines.push((name, value.into()));
        self
    }

    fn with_md5(self) -> Self {
        let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(&self.body));
        self.with("content-md5", md5)
    }

    async fn send(&self, world: &World) {
        let lines: Vec<_> = self.lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.send(self.method, &self.uri, &lines, &self.body).await;
    }
}

/// One of each operation, for an upload that is in progress.
fn requests(upload: &str, etag: &str) -> Vec<Request> {
    let large = vec![7; LARGE];
    let part = format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>");
    let complete = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
    let batch = "<Delete><Object><Key>small</Key></Object><Object><Key>none</Key></Object></Delete>";
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    vec![
        request("PUT", "/own/large", large.clone()),
        request("PUT", "/own/small", "hello"),
        request("GET", "/own/large", ""),
        request("GET", "/own/large", "").with("range", "bytes=100000-300000"),
        request("HEAD", "/own/small", ""),
        request("PUT", "/own/copy", "").with("x-amz-copy-source", "own/large"),
        request("PUT", "/own/summed", "")
            .with("x-amz-copy-source", "own/large")
            .with("x-amz-checksum-algorithm", "SHA256"),
        request("GET", "/own?list-type=2", ""),
        request("GET", "/own?uploads", ""),
        request("GET", "/own/small?attributes", "").with("x-amz-object-attributes", "ETag,ObjectParts"),
        request("PUT", "/own/small?tagging", tags).with_md5(),
        request("GET", "/own/small?tagging", ""),
        request("DELETE", "/own/small?tagging", ""),
        request("POST", "/own/other?uploads", ""),
        request("PUT", format!("/own/up?partNumber=2&uploadId={upload}"), large),
        request("PUT", format!("/own/up?partNumber=3&uploadId={upload}"), "")
            .with("x-amz-copy-source", "own/large")
            .with("x-amz-copy-source-range", "bytes=5-400000"),
        request("GET", format!("/own/up?uploadId={upload}"), ""),
        request("POST", format!("/own/up?uploadId={upload}"), complete),
        request("DELETE", format!("/own/up?uploadId={upload}"), ""),
        request("POST", "/own?delete", batch).with_md5(),
        request("DELETE", "/own/large", ""),
    ]
}

/// An upload with one part: its id and the part's ETag.
async fn upload(world: &World) -> (String, String) {
    let created = world.send("POST", "/own/up?uploads", &[], b"").await;
    let id = created.texts("UploadId")[0].to_owned();
    let uri = format!("/own/up?partNumber=1&uploadId={id}");
    let part = world.send("PUT", &uri, &[], b"part").await;
    (id, part.header("etag").to_owned())
}

async fn settle(world: &World, what: &str) {
    let begun = Instant::now();
    loop {
        let progress = world.store.cleanup_pass().await.unwrap();
        let (bucket, backend) = (world.store.bucket_usage(world.bucket.id), world.store.backend_usage());
        let (free, all) = world.buffers.free_units();
        let held = (bucket.reserved_bytes, backend.reserved_bytes, backend.awaiting_bytes, progress.done);
        if held == (0, 0, 0, 0) && free == all as usize {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} leaks: {held:?}, {free} of {all} buffers");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn handlers_that_are_dropped_leak_nothing() {
    let world = world();
    let count = requests("", "").len();
    for index in 0..count {
        let mut ended = false;
        for polls in 0..MAX_POLLS {
            world.put("large", &vec![7; LARGE]).await;
            world.put("small", b"hello").await;
            let (id, etag) = upload(&world).await;
            let request = requests(&id, &etag).swap_remove(index);
            ended = drop_after(polls, request.send(&world)).await.is_some();
            settle(&world, &format!("{} {} after {polls} polls", request.method, request.uri)).await;
            world.send("DELETE", &format!("/own/up?uploadId={id}"), &[], b"").await;
            if ended {
                break;
            }
        }
        assert!(ended, "request {index} does not end within {MAX_POLLS} polls");
    }
}
