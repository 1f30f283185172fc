//! The last log lines, in memory: what `logs` shows of a node whose standard error is elsewhere.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Audit lines have a ring of their own: on a busy node they would push out what is rarer.
const MAX_LINES: usize = 2_000;
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Rises over both kinds of lines.
    pub number: u64,
    pub audit: bool,
    /// Without its line end.
    pub text: String,
}

#[derive(Default)]
pub struct Ring {
    last: AtomicU64,
    events: Mutex<Kept>,
    audit: Mutex<Kept>,
    news: Notify,
}

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    bytes: usize,
}

impl Ring {
    pub fn push(&self, line: &[u8], audit: bool) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        let mut kept = if audit { self.audit.lock() } else { self.events.lock() };
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        kept.push(Line { number, audit, text });
        drop(kept);
        self.news.notify_waiters();
    }

    /// The last `max` lines behind number `after`, oldest first.
    pub fn last(&self, after: u64, max: usize, with_audit: bool) -> Vec<Line> {
        let mut lines = self.events.lock().after(after, max);
        if with_audit {
            lines.extend(self.audit.lock().after(after, max));
            lines.sort_by_key(|line| line.number);
        }
        lines.split_off(lines.len().saturating_sub(max))
    }

    /// The same, as soon as there are any.
    pub async fn next(&self, after: u64, max: usize, with_audit: bool) -> Vec<Line> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // Before the look, so that a line between the two is not missed.
            news.as_mut().enable();
            let lines = self.last(after, max, with_audit);
            if !lines.is_empty() {
                return lines;
            }
            news.await;
        }
    }
}

impl Kept {
    fn push(&mut self, line: Line) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(old) = self.lines.pop_front() else { return };
            self.bytes -= old.text.len();
        }
    }

    fn after(&self, after: u64, max: usize) -> Vec<Line> {
        let behind = self.lines.iter().rev().take_while(|line| line.number > after);
        let mut lines: Vec<_> = behind.take(max).cloned().collect();
        lines.reverse();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn audit_lines_push_out_no_others() {
        let ring = Ring::default();
        ring.push(b"start\n", false);
        for _ in 0..5_000 {
            ring.push(b"a request\n", true);
        }
        ring.push(b"end\n", false);
        assert_eq!(texts(&ring.last(0, 10, false)), ["start", "end"]);
        assert_eq!(texts(&ring.last(0, 2, true)), ["a request", "end"]);
        assert_eq!(ring.last(0, usize::MAX, true).len(), MAX_LINES + 2);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let ring = Ring::default();
        for _ in 0..10 {
            ring.push(&[b'x'; MAX_BYTES / 4], false);
        }
        assert_eq!(ring.last(0, usize::MAX, false).len(), 4);
    }

    #[tokio::test]
    async fn a_follower_gets_what_comes_later() {
        let ring = std::sync::Arc::new(Ring::default());
        ring.push(b"old", false);
        let follower = std::sync::Arc::clone(&ring);
        let waiting = tokio::spawn(async move { follower.next(1, 10, false).await });
        tokio::task::yield_now().await;
        ring.push(b"new", false);
        assert_eq!(texts(&waiting.await.unwrap_or_default()), ["new"]);
    }
}
