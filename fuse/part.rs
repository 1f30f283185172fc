//! Bytes of a file in the making: in memory while they are few, then in an unnamed file on the disk.

use bytes::Bytes;
use std::sync::Arc;
use store::{SourceError, Staging, Store, StoreError};
use types::BucketId;

use crate::errno::{self, Answer, Errno};

/// So much is stored with its metadata anyway.
const MEMORY_BYTES: u64 = 16 << 10;
const WINDOW_BYTES: u64 = 512 << 10;

/// Where the bytes lie, and in whose name room is taken.
#[derive(Clone)]
pub struct Ground {
    pub store: Store,
    pub bucket: BucketId,
    pub max_bytes: u64,
    /// What the bucket counts already for what the file will replace.
    pub credit_bytes: u64,
}

#[derive(Default)]
pub struct Part {
    memory: Vec<u8>,
    file: Option<Arc<Staging>>,
    len: u64,
}

impl Part {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_in_memory(&self) -> bool {
        self.file.is_none()
    }

    pub fn write(&mut self, ground: &Ground, bytes: &[u8], offset: u64) -> Answer<()> {
        let end = offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
        self.make_room(ground, end)?;
        match &self.file {
            Some(file) => file.write_at(bytes, offset).map_err(errno::of)?,
            None => {
                let (from, to) = (index(offset)?, index(end)?);
                if self.memory.len() < to {
                    self.memory.resize(to, 0);
                }
                self.memory.get_mut(from..to).ok_or(Errno::FBIG)?.copy_from_slice(bytes);
            }
        }
        self.len = self.len.max(end);
        Ok(())
    }

    pub fn set_len(&mut self, ground: &Ground, len: u64) -> Answer<()> {
        self.make_room(ground, len)?;
        match &self.file {
            Some(file) => file.set_len(len).map_err(errno::of)?,
            None => self.memory.resize(index(len)?, 0),
        }
        self.len = len;
        Ok(())
    }

    fn make_room(&mut self, ground: &Ground, end: u64) -> Answer<()> {
        if end > ground.max_bytes {
            return Err(Errno::FBIG);
        }
        if self.file.is_none() && end > MEMORY_BYTES {
            let file = ground.store.stage(ground.bucket).map_err(errno::of)?;
            file.write_at(&self.memory, 0).map_err(errno::of)?;
            self.memory = Vec::new();
            self.file = Some(Arc::new(file));
        }
        match &self.file {
            Some(file) => {
                let more = end.saturating_sub(ground.credit_bytes);
                ground.store.grow(file, ground.bucket, more).map_err(errno::of)
            }
            None => Ok(()),
        }
    }

    /// Fewer only at the end.
    pub fn read(&self, offset: u64, size: usize) -> Answer<Vec<u8>> {
        let left = self.len.saturating_sub(offset);
        let size = size.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut buffer = vec![0; size];
        match &self.file {
            Some(file) => {
                let got = file.read_at(&mut buffer, offset).map_err(errno::of)?;
                buffer.truncate(got);
            }
            None if size > 0 => {
                let from = index(offset)?;
                let found = self.memory.get(from..from + size).ok_or(Errno::IO)?;
                buffer.copy_from_slice(found);
            }
            None => {}
        }
        Ok(buffer)
    }

    /// As it is now, on its way into the store.
    pub fn source(&self, ground: &Ground) -> Answer<PartSource> {
        if let Some(file) = &self.file {
            // Whoever takes it in reserves the room himself.
            ground.store.give_back(file, ground.bucket).map_err(errno::of)?;
        }
        let memory = Some(Bytes::copy_from_slice(&self.memory)).filter(|bytes| !bytes.is_empty());
        Ok(PartSource { memory, file: self.file.clone(), at: 0, end: self.len })
    }
}

fn index(at: u64) -> Answer<usize> {
    usize::try_from(at).map_err(|_| Errno::FBIG)
}

#[derive(Clone)]
pub struct PartSource {
    memory: Option<Bytes>,
    file: Option<Arc<Staging>>,
    at: u64,
    end: u64,
}

impl PartSource {
    pub fn len(&self) -> u64 {
        self.end
    }

    /// The file that the bytes lie in, all of them and no others; none while they are few.
    pub fn staging(&self) -> Option<&Staging> {
        self.file.as_deref()
    }
}

impl store::Source for PartSource {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let Some(file) = self.file.clone() else { return Ok(self.memory.take()) };
        let size = (self.end - self.at).min(WINDOW_BYTES);
        if size == 0 {
            return Ok(None);
        }
        let at = self.at;
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; usize::try_from(size).unwrap_or_default()];
            let got = file.read_at(&mut buffer, at)?;
            buffer.truncate(got);
            Ok::<_, StoreError>(buffer)
        });
        let bytes = read.await??;
        self.at += bytes.len() as u64;
        // Truncated meanwhile: the promised size says so.
        Ok(Some(Bytes::from(bytes)).filter(|bytes| !bytes.is_empty()))
    }
}
