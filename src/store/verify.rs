//! One replica held against its checksums, for whoever wants to know: scrub, copies, `fsck`.
//!
//! Looking changes nothing; [`Store::note_seen`] is what makes it known.

use backend::{BackendError, Fault};
use meta::{BlobRecord, CopyTask, Health, Order, Place, Target, TaskKind};
use std::sync::Arc;
use types::BlobId;
use types::checksum::chunk_sum;

use crate::pace::Pace;
use crate::replicas::{Blob, Chunk, Opened, Source, Trouble};
use crate::{Store, StoreError};

/// How a replica was found.
#[derive(Debug)]
pub(crate) enum Seen {
    Good,
    /// Adopted bytes that nobody had read: these are their checksums from now on.
    Summed(Vec<u32>),
    /// Missing, or not what was written.
    Bad(Trouble),
    /// It could not be read, which says nothing of its bytes.
    Unread(Trouble),
}

/// One replica that was looked at.
#[derive(Debug)]
pub(crate) struct Look {
    pub blob: BlobId,
    pub target: Target,
    pub seen: Seen,
}

impl Store {
    /// Reads a replica to its end. `record` may have any other replicas: they are not asked.
    pub(crate) async fn look_at(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
        target: &Target,
        pace: &Pace,
    ) -> Look {
        let seen = match self.read_through(blob, record, target, pace).await {
            Ok(Some(sums)) => Seen::Summed(sums),
            Ok(None) => Seen::Good,
            Err(trouble) if trouble.verdict(self.now()).is_some() => Seen::Bad(trouble),
            Err(trouble) => Seen::Unread(trouble),
        };
        Look { blob, target: target.clone(), seen }
    }

    /// The checksums, where there were none.
    async fn read_through(
        &self,
        id: BlobId,
        record: &Arc<BlobRecord>,
        target: &Target,
        pace: &Pace,
    ) -> Result<Option<Vec<u32>>, Trouble> {
        let blob = Blob { id, record: Arc::clone(record), end: record.size };
        let mut sums = (!record.is_summed()).then(Vec::new);
        let member = self.0.fleet.get(target.backend);
        let mut source: Option<Source> = None;
        let mut offset = 0;
        while offset < record.size {
            let chunk = Chunk::at(offset, record.size);
            if let (None, Some(member), false) = (&source, &member, target.place == Place::Inline) {
                member.may_call(1).await;
            }
            let attempt = blob.clone().attempt(Arc::clone(&self.0), target.clone(), source.take(), chunk);
            let (opened, bytes) = attempt.await.map_err(|(_, trouble)| trouble)?;
            if let Some(sums) = &mut sums {
                sums.push(chunk_sum(&bytes));
            }
            pace.take(bytes.len() as u64).await;
            if let Some(member) = &member {
                member.pace.take(bytes.len() as u64).await;
            }
            (source, offset) = (Some(opened), chunk.to);
        }
        match source {
            Some(Source { opened: Opened::File(file), .. }) => must_end(file.size()?, record.size)?,
            None => self.must_be_there(id, record.size, target).await?,
            _ => {}
        }
        Ok(sums)
    }

    /// Of a replica without bytes there is nothing to read.
    async fn must_be_there(&self, blob: BlobId, size: u64, target: &Target) -> Result<(), Trouble> {
        if target.place == Place::Inline {
            return match self.0.meta.inline(blob) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(BackendError::new(Fault::Absent, "no inline value").into()),
                Err(error) => Err(Trouble::Own(error.into())),
            };
        }
        let unknown = || BackendError::new(Fault::Unavailable, "the backend is not configured");
        let member = self.0.fleet.get(target.backend).ok_or_else(unknown)?;
        let location = member.location(blob, &target.place).ok_or_else(unknown)?;
        member.may_call(1).await;
        must_end(member.judge(member.backend.head(&location).await)?.found.size, size)
    }

    /// Makes known what was seen: in the records, and for a bad replica as work to make it good from
    /// another one. Those that are bad.
    pub(crate) async fn note_seen(&self, looks: &[Look]) -> Result<Vec<(BlobId, Target)>, StoreError> {
        let now = self.now();
        let mut verdicts = Vec::with_capacity(looks.len());
        for Look { blob, target, seen } in looks {
            let backend = self.0.fleet.name_of(target.backend);
            let verdict = match seen {
                Seen::Good => Verdict::Good,
                Seen::Summed(sums) => Verdict::Summed(sums.clone()),
                Seen::Bad(trouble) => {
                    tracing::error!(%blob, backend, %trouble, "a replica is damaged or missing");
                    self.0.fleet.found_bad(target.backend);
                    Verdict::Bad
                }
                Seen::Unread(trouble) => {
                    tracing::warn!(%blob, backend, %trouble, "a replica could not be read");
                    continue;
                }
            };
            verdicts.push((*blob, target.clone(), verdict));
        }
        let bad = verdicts.iter().filter(|(_, _, verdict)| matches!(verdict, Verdict::Bad));
        let bad = bad.map(|(blob, target, _)| (*blob, target.clone())).collect();
        if verdicts.is_empty() {
            return Ok(bad);
        }
        self.commit(Order::Shared, move |txn| {
            for (blob, target, verdict) in verdicts {
                match verdict {
                    Verdict::Good => drop(txn.judge_replica(blob, &target, Health::Good, Some(now))?),
                    Verdict::Summed(sums) => drop(txn.learn_sums(blob, &target, sums, now)?),
                    // Looked at, so that it is not the next one that is looked at.
                    Verdict::Bad if txn.judge_replica(blob, &target, Health::Bad(now), Some(now))? => {
                        txn.queue_copies(&CopyTask::new(TaskKind::Replicate, blob, now));
                    }
                    Verdict::Bad => {}
                }
            }
            Ok(())
        })
        .await?;
        Ok(bad)
    }

    /// Looks at one replica and makes it known. `false`: it is damaged. An error: it could not be read.
    pub(crate) async fn verify_replica(
        &self,
        blob: BlobId,
        record: &Arc<BlobRecord>,
        target: &Target,
    ) -> Result<bool, StoreError> {
        let look = [self.look_at(blob, record, target, &Pace::new(None)).await];
        let bad = self.note_seen(&look).await?;
        let [Look { seen, .. }] = look;
        match seen {
            Seen::Unread(trouble) => Err(trouble.into_error(blob)),
            _ => Ok(bad.is_empty()),
        }
    }
}

enum Verdict {
    Good,
    Summed(Vec<u32>),
    Bad,
}

fn must_end(found: u64, recorded: u64) -> Result<(), Trouble> {
    match found == recorded {
        true => Ok(()),
        false => {
            let why = format!("{found} bytes where {recorded} were written");
            Err(BackendError::new(Fault::Corrupt, why).into())
        }
    }
}
