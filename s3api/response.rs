//! The body of an answer on its way out.
//!
//! Lengths are exact wherever they are known, so that every answer but one has a `Content-Length`
//! and a body that breaks off can never look whole. The one is [`ResponseBody::keep_alive`].

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use store::StoreError;
use tokio::time::{Interval, MissedTickBehavior};

use crate::S3Error;

/// An object's bytes, piece by piece: `store::Reader`, or anything else that has them.
pub trait PollChunks {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreError>>>;
}

/// What a [`ResponseBody::keep_alive`] ends with, a second or an hour after its 200.
pub struct LateAnswer {
    /// The document without its XML declaration, which was sent first.
    pub document: Bytes,
    /// The error that the document tells of, for the audit log.
    pub error: Option<S3Error>,
}

pub enum ResponseBody {
    Empty,
    Full(Bytes),
    /// The answer to HEAD: `Content-Length`, and not one byte.
    Head(u64),
    Object(ObjectBody),
    KeepAlive(KeepAliveBody),
}

pub struct ObjectBody {
    chunks: Box<dyn PollChunks + Send>,
    remaining: u64,
}

pub struct KeepAliveBody {
    state: KeepAliveState,
    error: Option<S3Error>,
}

enum KeepAliveState {
    Declaration(Waiting),
    Blanks(Waiting),
    Done,
}

struct Waiting {
    work: Pin<Box<dyn Future<Output = LateAnswer> + Send>>,
    every: Duration,
    blanks: Option<Interval>,
}

const DECLARATION: &[u8] = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
/// AWS sends white space while it completes an upload, since clients and proxies give up on
/// silence after a minute or less
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).
const BLANK_EVERY: Duration = Duration::from_secs(5);

impl ResponseBody {
    /// `length` bytes, no more and no fewer, or the connection is cut.
    pub fn object(chunks: impl PollChunks + Send + 'static, length: u64) -> Self {
        Self::Object(ObjectBody { chunks: Box::new(chunks), remaining: length })
    }

    /// The XML declaration at once, blanks while `work` runs, then its document. The status is
    /// sent before the outcome is known, so this is for work that has taken long already.
    pub fn keep_alive(work: impl Future<Output = LateAnswer> + Send + 'static) -> Self {
        Self::keep_alive_every(BLANK_EVERY, work)
    }

    fn keep_alive_every(every: Duration, work: impl Future<Output = LateAnswer> + Send + 'static) -> Self {
        let waiting = Waiting { work: Box::pin(work), every, blanks: None };
        Self::KeepAlive(KeepAliveBody { state: KeepAliveState::Declaration(waiting), error: None })
    }

    /// Why a body that ended well tells of an error all the same.
    pub(crate) fn take_late_error(&mut self) -> Option<S3Error> {
        match self {
            Self::KeepAlive(body) => body.error.take(),
            _ => None,
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }
}

impl From<String> for ResponseBody {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for ResponseBody {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Head(length) => write!(f, "Head({length} bytes)"),
            Self::Object(body) => write!(f, "Object({} bytes left)", body.remaining),
            Self::KeepAlive(_) => f.write_str("KeepAlive"),
        }
    }
}

/// Why a body could not be sent as promised; hyper then cuts the connection.
#[derive(Debug)]
pub enum BodyError {
    Store(StoreError),
    /// The object ended this many bytes early.
    Short(u64),
    /// The object gave this many bytes more than it has.
    Long(u64),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "{error}"),
            Self::Short(missing) => write!(f, "the object ended {missing} bytes early"),
            Self::Long(excess) => write!(f, "the object went on for {excess} bytes"),
        }
    }
}

impl std::error::Error for BodyError {}

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut *self {
            Self::Empty | Self::Head(_) => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::Object(body) => body.poll_frame(cx),
            Self::KeepAlive(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Head(length) => *length == 0,
            Self::Object(body) => body.remaining == 0,
            Self::KeepAlive(body) => matches!(body.state, KeepAliveState::Done),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Head(length) => SizeHint::with_exact(*length),
            Self::Object(body) => SizeHint::with_exact(body.remaining),
            Self::KeepAlive(_) => SizeHint::default(),
        }
    }
}

impl ObjectBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let chunk = match ready!(self.chunks.poll_next(cx)) {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Store(error)))),
            None => return Poll::Ready(Some(Err(BodyError::Short(self.remaining)))),
        };
        let length = chunk.len() as u64;
        match self.remaining.checked_sub(length) {
            Some(left) => self.remaining = left,
            None => return Poll::Ready(Some(Err(BodyError::Long(length - self.remaining)))),
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

impl KeepAliveBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let piece = match std::mem::replace(&mut self.state, KeepAliveState::Done) {
            KeepAliveState::Declaration(waiting) => {
                self.state = KeepAliveState::Blanks(waiting);
                Bytes::from_static(DECLARATION)
            }
            KeepAliveState::Blanks(waiting) => return self.wait(waiting, cx),
            KeepAliveState::Done => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn wait(&mut self, mut waiting: Waiting, cx: &mut Context<'_>) -> Polled {
        if let Poll::Ready(answer) = waiting.work.as_mut().poll(cx) {
            self.error = answer.error;
            return Poll::Ready(Some(Ok(Frame::data(answer.document))));
        }
        let every = waiting.every;
        let blank = waiting.blanks.get_or_insert_with(|| ticks(every)).poll_tick(cx);
        self.state = KeepAliveState::Blanks(waiting);
        blank.map(|_| Some(Ok(Frame::data(Bytes::from_static(b" ")))))
    }
}

fn ticks(every: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;

    struct Pieces(Vec<Result<Bytes, StoreError>>);

    impl PollChunks for Pieces {
        fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreError>>> {
            Poll::Ready((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    fn pieces(texts: &[&'static str]) -> Pieces {
        Pieces(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect())
    }

    #[tokio::test]
    async fn an_object_has_its_exact_length() {
        let body = ResponseBody::object(pieces(&["abc", "de"]), 5);
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcde");
    }

    #[tokio::test]
    async fn an_object_that_fails_or_lies_about_its_length_is_an_error() {
        let failing = Pieces(vec![Ok(Bytes::from_static(b"abc")), Err(StoreError::Corrupt("x".into()))]);
        assert!(matches!(ResponseBody::object(failing, 5).collect().await, Err(BodyError::Store(_))));
        assert!(matches!(
            ResponseBody::object(pieces(&["abc"]), 5).collect().await,
            Err(BodyError::Short(2))
        ));
        assert!(matches!(ResponseBody::object(pieces(&["abc"]), 2).collect().await, Err(BodyError::Long(1))));
    }

    #[tokio::test]
    async fn blanks_keep_a_connection_alive_while_work_runs() {
        let body = ResponseBody::keep_alive_every(Duration::from_millis(20), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            LateAnswer { document: Bytes::from_static(b"<Done/>"), error: None }
        });
        assert_eq!(body.size_hint().exact(), None);
        let sent = body.collect().await.unwrap().to_bytes();
        let blanks = sent.strip_prefix(DECLARATION).unwrap().strip_suffix(b"<Done/>").unwrap();
        assert!((2..=10).contains(&blanks.len()) && blanks.iter().all(|byte| *byte == b' '), "{sent:?}");
    }

    #[tokio::test]
    async fn full_and_empty_bodies() {
        assert!(ResponseBody::from(Bytes::new()).is_end_stream());
        assert_eq!(ResponseBody::from("x".to_owned()).collect().await.unwrap().to_bytes(), "x");
        let head = ResponseBody::Head(9);
        assert_eq!(head.size_hint().exact(), Some(9));
        assert_eq!(head.collect().await.unwrap().to_bytes(), "");
    }
}
