//! How slow a body may be.
//!
//! Only the time in which we wait for the client counts, so that a slow disk of ours is not held
//! against it. A window ends when `timeout` was waited; a window with too few bytes ends the body.

use super::incomplete;
use crate::error::{Code, Result, S3Error};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Pace {
    timeout: Duration,
    /// A window must bring at least one byte, whatever the rate.
    min_bytes_per_window: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub fn new(timeout: Duration, min_bytes_per_second: u64) -> Self {
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let min_bytes_per_window = (min_bytes_per_second.saturating_mul(millis) / 1000).max(1);
        Self { timeout, min_bytes_per_window, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next bytes of the transport; `None` at its end.
    pub async fn next_data<B>(&mut self, incoming: &mut B) -> Result<Option<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error,
    {
        loop {
            let frame = match self.next_frame(incoming).await? {
                None => return Ok(None),
                Some(frame) => frame.map_err(incomplete)?,
            };
            // Trailers of HTTP are not S3's trailers: nothing is read from them.
            if let Ok(data) = frame.into_data() {
                self.bytes += data.len() as u64;
                return Ok(Some(data));
            }
        }
    }

    /// No clock is read and no timer made when data is there already.
    async fn next_frame<B>(
        &mut self,
        incoming: &mut B,
    ) -> Result<Option<std::result::Result<Frame<Bytes>, B::Error>>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Poll::Ready(frame) = poll_fn(|cx| Poll::Ready(Pin::new(&mut *incoming).poll_frame(cx))).await {
            return Ok(frame);
        }
        loop {
            let left = self.timeout.saturating_sub(self.waited);
            let since = Instant::now();
            let frame =
                tokio::time::timeout(left, poll_fn(|cx| Pin::new(&mut *incoming).poll_frame(cx))).await;
            self.waited += since.elapsed();
            if self.waited >= self.timeout {
                self.end_window()?;
            }
            if let Ok(frame) = frame {
                return Ok(frame);
            }
        }
    }

    fn end_window(&mut self) -> Result<()> {
        if self.bytes < self.min_bytes_per_window {
            return Err(S3Error::new(
                Code::RequestTimeout,
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }
}
