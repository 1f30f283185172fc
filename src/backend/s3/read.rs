//! A replica on its way from a provider.

use super::Inner;
use super::call::Progress;
use crate::{Answer, BackendError, Fault, Location, Reader, Result};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use std::sync::Arc;
use types::ByteRange;

/// Does not go on by itself after a failure: whoever reads knows of other replicas.
pub struct S3Reader {
    inner: Arc<Inner>,
    body: ByteStream,
    left: u64,
}

pub async fn open(inner: &Arc<Inner>, location: &Location, range: ByteRange) -> Result<S3Reader> {
    let mut reader = S3Reader { inner: Arc::clone(inner), body: ByteStream::default(), left: range.len() };
    if range.is_empty() {
        return Ok(reader);
    }
    let get = |_| {
        let call = inner.client().get_object().bucket(inner.bucket()).key(location.as_str());
        call.range(format!("bytes={}-{}", range.start, range.end - 1)).send()
    };
    let answer = inner.caller.call("GetObject", get).await?;
    must_be(range, &answer)?;
    reader.body = answer.body;
    Ok(reader)
}

/// Before the first byte: is it the range that was asked for, and all of it?
fn must_be(range: ByteRange, answer: &GetObjectOutput) -> Result<()> {
    let corrupt = |detail: String| Err(BackendError::new(Fault::Corrupt, format!("GetObject: {detail}")));
    let length = answer.content_length().and_then(|length| u64::try_from(length).ok());
    if let Some(length) = length.filter(|length| *length != range.len()) {
        return corrupt(format!("{length} bytes where {} were asked for", range.len()));
    }
    let first = answer.content_range().map(first_byte);
    match first {
        Some(first) if first != Some(range.start) => corrupt("another range than was asked for".to_owned()),
        None if range.start > 0 => corrupt("the range was not regarded".to_owned()),
        _ => Ok(()),
    }
}

/// Of `bytes 0-99/1000`.
fn first_byte(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

impl S3Reader {
    async fn take(&mut self) -> Result<Option<Bytes>> {
        let caller = &self.inner.caller;
        loop {
            let next = caller.watch(&Progress::default(), self.body.next()).await?;
            let piece = match next {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => piece,
                Some(Err(error)) => {
                    let detail = format!("GetObject: the body broke off: {error}");
                    return Err(BackendError::new(Fault::Unavailable, detail));
                }
                None if self.left > 0 => return Err(self.wrong_end("ended too early")),
                None => return Ok(None),
            };
            caller.meter.received(piece.len());
            self.left = match self.left.checked_sub(piece.len() as u64) {
                Some(left) => left,
                None => return Err(self.wrong_end("went on too long")),
            };
            return Ok(Some(piece));
        }
    }

    fn wrong_end(&self, what: &str) -> BackendError {
        BackendError::new(Fault::Corrupt, format!("GetObject: the body {what}"))
    }
}

impl Reader for S3Reader {
    fn next(&mut self) -> Answer<'_, Option<Bytes>> {
        Box::pin(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_of_a_range() {
        assert_eq!(first_byte("bytes 5-9/10"), Some(5));
        assert_eq!(first_byte("bytes */10"), None);
        assert_eq!(first_byte("items 5-9/10"), None);
    }
}
