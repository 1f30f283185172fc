//! A body in pieces that end where chunks end.
//!
//! Bodies are taken in by windows of whole chunks. A piece that reached over a window's end would leave the window in an
//! allocation larger than itself, for as long as a slow backend has it.

use bytes::Bytes;
use meta::CHUNK_BYTES;
use types::Checksum;

use crate::Source;
use crate::error::SourceError;

pub struct Even<S> {
    source: S,
    rest: Bytes,
    /// Of the chunk, what has been handed out.
    at: usize,
}

impl<S> Even<S> {
    pub fn new(source: S) -> Self {
        Self { source, rest: Bytes::new(), at: 0 }
    }
}

impl<S: Source> Source for Even<S> {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        while self.rest.is_empty() {
            match self.source.next().await? {
                Some(piece) => self.rest = piece,
                None => return Ok(None),
            }
        }
        let chunk = CHUNK_BYTES as usize;
        let piece = self.rest.split_to(self.rest.len().min(chunk - self.at));
        self.at = (self.at + piece.len()) % chunk;
        Ok(Some(piece))
    }

    fn trailer(&self) -> Option<Checksum> {
        self.source.trailer()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::collections::VecDeque;

    struct Pieces(VecDeque<Bytes>);

    impl Source for Pieces {
        async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
            Ok(self.0.pop_front())
        }
    }

    #[tokio::test]
    async fn no_piece_reaches_over_the_end_of_a_chunk_and_none_is_lost() {
        let chunk = CHUNK_BYTES as usize;
        let body: Bytes = (0..5 * chunk + 7).map(|at| (at % 251) as u8).collect();
        let mut rest = body.clone();
        let lens = [1, chunk - 2, 0, 3 * chunk, 1, chunk];
        let mut pieces: VecDeque<Bytes> = lens.iter().map(|len| rest.split_to(*len)).collect();
        pieces.push_back(rest);
        let (mut source, mut read) = (Even::new(Pieces(pieces)), Vec::new());
        while let Some(piece) = source.next().await.unwrap() {
            let (first, last) = (read.len(), read.len() + piece.len() - 1);
            assert_eq!(first / chunk, last / chunk, "from {first} to {last}");
            read.extend_from_slice(&piece);
        }
        assert_eq!(read, body);
    }
}
