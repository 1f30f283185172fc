//! Futures that are dropped half-way, as hyper drops a handler whose client hung up.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls a future at most `polls` times and then drops it; its output if it was ready by then.
///
/// For `polls` = 0, 1, 2 ... until `Some` comes, this stops at every await that the future really waits at.
pub async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // Without another poll to come nobody would wake us: end at once.
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn every_await_is_reached_once() {
        let reached = Cell::new(0);
        let work = || async {
            for _ in 0..3 {
                reached.set(reached.get() + 1);
                tokio::task::yield_now().await;
            }
            "done"
        };
        for polls in 0..4 {
            reached.set(0);
            assert_eq!(drop_after(polls, work()).await, None);
            assert_eq!(reached.get(), polls.min(3));
        }
        assert_eq!(drop_after(4, work()).await, Some("done"));
    }
}
