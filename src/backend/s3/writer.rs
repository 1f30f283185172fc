//! A replica on its way to a provider: a small body in one PUT, a large one in parts, a few of them
//! at a time.

use super::part::{self, Kept, Part};
use super::{Inner, body, describe::Dress, remove};
use crate::{Answer, BackendError, Fault, Location, NewReplica, Pairs, Result, Stored, Writer};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Parts of one body that are sent at a time.
const PARTS_AT_A_TIME: usize = 3;
/// S3's limit.
const PARTS_MAX: u64 = 10_000;
const MIB: u64 = 1 << 20;

pub struct S3Writer {
    inner: Arc<Inner>,
    location: Location,
    new: NewReplica,
    size: u64,
    /// The same for all parts but the last: Cloudflare R2 takes no others.
    part_bytes: u64,
    part: Option<Part>,
    sending: JoinSet<Result<Sent>>,
    upload: Option<Upload>,
}

struct Upload {
    id: String,
    next: i32,
    sent: Vec<(i32, String)>,
}

/// The answer to one call that carried bytes.
struct Sent {
    number: i32,
    etag: Option<String>,
}

impl S3Writer {
    pub fn begin(inner: Arc<Inner>, location: Location, new: NewReplica) -> Result<Self> {
        let part_bytes = part_bytes(&inner, new.size);
        Ok(Self {
            inner,
            location,
            new,
            size: 0,
            part_bytes,
            part: None,
            sending: JoinSet::new(),
            upload: None,
        })
    }

    async fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        self.size += bytes.len() as u64;
        self.new.must_hold_at_most(self.size)?;
        while !bytes.is_empty() {
            let before = self.size - bytes.len() as u64;
            if self.part.as_ref().is_some_and(|part| part.left() == 0) {
                self.send_part().await?;
            }
            let part = match &mut self.part {
                Some(part) => part,
                None => {
                    let part = self.begin_part(before).await?;
                    self.part.insert(part)
                }
            };
            if let Err(error) = part.take(&mut bytes).await {
                return Err(self.why_stopped().await.unwrap_or(error));
            }
        }
        Ok(())
    }

    /// Whether the whole body goes in one PUT.
    fn is_single(&self) -> bool {
        self.inner.options.lacks.multipart || self.new.size.is_some_and(|size| size <= self.part_bytes)
    }

    async fn begin_part(&mut self, before: u64) -> Result<Part> {
        let len = match self.new.size {
            Some(size) => (size - before).min(self.part_bytes),
            None => self.part_bytes,
        };
        loop {
            if let Some(room) = part::try_room(&self.inner, len) {
                return Ok(Part::kept(Some(room), len));
            }
            if self.sending.is_empty() {
                break;
            }
            // Room of our own comes back.
            self.settle_one().await?;
        }
        if self.new.size.is_none() {
            return Ok(Part::kept(Some(part::room(&self.inner, len).await?), len));
        }
        let (part, pieces) = Part::passing(len);
        match self.is_single() {
            true => self.spawn_put(Outgoing::Passing(pieces, len)),
            false => self.spawn_part(Outgoing::Passing(pieces, len)).await?,
        }
        Ok(part)
    }

    /// The part is full and more bytes follow: it is one of several.
    async fn send_part(&mut self) -> Result<()> {
        if self.inner.options.lacks.multipart {
            let detail = "a large body of unknown size, and a provider without multipart uploads";
            return Err(BackendError::new(Fault::Refused, detail));
        }
        match self.part.take() {
            Some(Part::Kept { kept, .. }) => self.spawn_part(Outgoing::Kept(kept)).await,
            // Its sender is dropped: the call behind it ends.
            Some(Part::Passing { .. }) | None => Ok(()),
        }
    }

    async fn spawn_part(&mut self, bytes: Outgoing) -> Result<()> {
        while self.sending.len() >= PARTS_AT_A_TIME {
            self.settle_one().await?;
        }
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let id = create(&self.inner, &self.location, &self.new).await?;
                self.upload.insert(Upload { id, next: 1, sent: Vec::new() })
            }
        };
        let (number, id) = (upload.next, upload.id.clone());
        upload.next += 1;
        let (inner, location) = (Arc::clone(&self.inner), self.location.clone());
        self.sending.spawn(async move { send_part(&inner, &location, &id, number, bytes).await });
        Ok(())
    }

    fn spawn_put(&mut self, bytes: Outgoing) {
        let (inner, location, dress) = (Arc::clone(&self.inner), self.location.clone(), Dress::of(&self.new));
        self.sending.spawn(async move { put(&inner, &location, &dress, bytes).await });
    }

    /// Waits for one call; `None` when there is none.
    async fn settle_one(&mut self) -> Result<Option<Sent>> {
        let Some(joined) = self.sending.join_next().await else { return Ok(None) };
        let sent = joined.map_err(|error| BackendError::new(Fault::Unavailable, error.to_string()))??;
        if let (Some(upload), Some(etag)) = (&mut self.upload, &sent.etag) {
            upload.sent.push((sent.number, etag.clone()));
        }
        Ok(Some(sent))
    }

    /// The error of the call that took no more.
    async fn why_stopped(&mut self) -> Option<BackendError> {
        loop {
            match self.settle_one().await {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    async fn end(mut self, last: Pairs) -> Result<Stored> {
        self.new.must_hold(self.size)?;
        let etag = match self.part.take() {
            Some(Part::Kept { kept, .. }) if self.upload.is_some() => {
                self.spawn_part(Outgoing::Kept(kept)).await?;
                self.complete().await?
            }
            Some(Part::Passing { sender, .. }) => {
                drop(sender);
                match self.upload {
                    Some(_) => self.complete().await?,
                    None => self.settle_one().await?.and_then(|sent| sent.etag),
                }
            }
            whole => {
                let kept = match whole {
                    Some(Part::Kept { kept, .. }) => kept,
                    _ => Kept { pieces: VecDeque::new(), _room: None },
                };
                self.new.identity.extend(last);
                self.put_whole(kept).await?
            }
        };
        let etag = etag.map(|etag| super::list::unquoted(&etag));
        Ok(Stored { location: self.location.clone(), size: self.size, etag })
    }

    async fn put_whole(&self, kept: Kept) -> Result<Option<String>> {
        let dress = Dress::of(&self.new);
        Ok(put(&self.inner, &self.location, &dress, Outgoing::Kept(kept)).await?.etag)
    }

    async fn complete(&mut self) -> Result<Option<String>> {
        while self.settle_one().await?.is_some() {}
        let Some(upload) = &mut self.upload else { return Ok(None) };
        upload.sent.sort_unstable();
        let parts = upload
            .sent
            .iter()
            .map(|(number, etag)| CompletedPart::builder().part_number(*number).e_tag(etag).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        let (inner, id) = (&self.inner, &upload.id);
        let complete = |_| {
            let call = inner.client().complete_multipart_upload().bucket(inner.bucket());
            call.key(self.location.as_str()).upload_id(id).multipart_upload(parts.clone()).send()
        };
        let etag = match inner.caller.call("CompleteMultipartUpload", complete).await {
            Ok(answer) => answer.e_tag,
            Err(error) => self.completed_after_all(error).await?,
        };
        self.upload = None;
        Ok(etag)
    }

    /// The answer to a Complete may be lost, and a second one finds no upload. The name is ours alone: if
    /// the whole object is there, it is this one.
    async fn completed_after_all(&self, error: BackendError) -> Result<Option<String>> {
        if !error.fault.may_pass() && error.fault != Fault::Absent {
            return Err(error);
        }
        match self.inner.head(&self.location).await {
            Ok(about) if about.found.size == self.size => Ok(about.found.etag),
            // An upload that is not there any more is no absent replica: the write has failed.
            _ => Err(BackendError::new(Fault::Unavailable, error.detail)),
        }
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return };
        self.sending.abort_all();
        let (inner, location) = (Arc::clone(&self.inner), self.location.clone());
        runtime.spawn(async move {
            if let Err(error) = remove::abort(&inner, &location, &upload.id).await {
                tracing::debug!(%location, %error, "an upload was not aborted; its intent leads to it");
            }
        });
    }
}

impl Writer for S3Writer {
    fn location(&self) -> &Location {
        &self.location
    }

    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.push(bytes))
    }

    fn finish(self: Box<Self>, last: Pairs) -> Answer<'static, Stored> {
        Box::pin(self.end(last))
    }
}

/// Large enough that the largest body has no more parts than S3 allows; whole MiB.
fn part_bytes(inner: &Inner, size: Option<u64>) -> u64 {
    let least = inner.options.part_bytes.max(1);
    if inner.options.lacks.multipart {
        return size.unwrap_or(least);
    }
    match size.map(|size| size.div_ceil(PARTS_MAX)) {
        Some(needed) if needed > least => needed.next_multiple_of(MIB),
        _ => least,
    }
}

enum Outgoing {
    Kept(Kept),
    Passing(mpsc::Receiver<Bytes>, u64),
}

async fn create(inner: &Inner, location: &Location, new: &NewReplica) -> Result<String> {
    let dress = Dress::of(new);
    let create = |_| {
        let call = inner.client().create_multipart_upload().bucket(inner.bucket()).key(location.as_str());
        let call = dressed!(call, &dress).send();
        async {
            match call.await {
                Ok(answer) => Ok(answer.upload_id),
                Err(error) => upload_id_in(&error).map(Some).ok_or(error),
            }
        }
    };
    let id = inner.caller.call("CreateMultipartUpload", create).await?;
    id.ok_or_else(|| BackendError::new(Fault::Unavailable, "CreateMultipartUpload: no upload id"))
}

/// rclone names the answer's element otherwise than S3, and the SDK does not read it then.
fn upload_id_in<E>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let answer = error.raw_response().filter(|answer| answer.status().is_success())?;
    let text = std::str::from_utf8(answer.body().bytes()?).ok()?;
    let (_, rest) = text.split_once("<UploadId>")?;
    let (id, _) = rest.split_once("</UploadId>")?;
    Some(id.to_owned())
}

async fn put(inner: &Inner, location: &Location, dress: &Dress, bytes: Outgoing) -> Result<Sent> {
    let request = |body: ByteStream, len: u64| {
        let call = inner.client().put_object().bucket(inner.bucket()).key(location.as_str());
        let call = call.content_length(i64::try_from(len).unwrap_or(i64::MAX)).body(body);
        dressed!(call, dress).customize().disable_payload_signing().send()
    };
    let meter = &inner.caller.meter;
    let answer = match bytes {
        Outgoing::Kept(kept) => {
            let len = kept.pieces.iter().map(|piece| piece.len() as u64).sum();
            let put = |progress| request(body::whole(&kept.pieces, progress, meter), len);
            inner.caller.call("PutObject", put).await?
        }
        Outgoing::Passing(pieces, len) => {
            let put = |progress| request(body::passing(pieces, len, progress, meter), len);
            inner.caller.once("PutObject", put).await?
        }
    };
    Ok(Sent { number: 0, etag: answer.e_tag })
}

async fn send_part(
    inner: &Inner,
    location: &Location,
    upload: &str,
    number: i32,
    bytes: Outgoing,
) -> Result<Sent> {
    let request = |body: ByteStream, len: u64| {
        let call = inner.client().upload_part().bucket(inner.bucket()).key(location.as_str());
        let call = call.upload_id(upload).part_number(number);
        let call = call.content_length(i64::try_from(len).unwrap_or(i64::MAX)).body(body);
        call.customize().disable_payload_signing().send()
    };
    let meter = &inner.caller.meter;
    let answer = match bytes {
        Outgoing::Kept(kept) => {
            let len = kept.pieces.iter().map(|piece| piece.len() as u64).sum();
            let send = |progress| request(body::whole(&kept.pieces, progress, meter), len);
            inner.caller.call("UploadPart", send).await
        }
        Outgoing::Passing(pieces, len) => {
            let send = |progress| request(body::passing(pieces, len, progress, meter), len);
            inner.caller.once("UploadPart", send).await
        }
    };
    // An upload that somebody has aborted is no absent replica: the write has failed.
    let answer = answer.map_err(|error| match error.fault {
        Fault::Absent => BackendError::new(Fault::Unavailable, error.detail),
        _ => error,
    })?;
    let no_etag = || BackendError::new(Fault::Unavailable, "UploadPart: an answer without an ETag");
    Ok(Sent { number, etag: Some(answer.e_tag.ok_or_else(no_etag)?) })
}
