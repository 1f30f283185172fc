//! Records of an earlier time, taken up again after the later ones were lost.

use std::sync::atomic::Ordering;
use types::{BlobId, Timestamp};

use crate::Meta;
use crate::codec::DecodeError;
use crate::commit::{Order, Txn};
use crate::engine::{Batch, Engine, Table};
use crate::error::MetaError;
use crate::ledger::{Account, Delta};
use crate::replica::{Replica, Target};
use crate::sequence::Sequence;
use crate::{AUDIT_KEY, list};

const GAP_PREFIX: &[u8] = b"gap/";
const GAP_BEHIND: &[u8] = b"gap0";

/// Numbers that were handed out in a time that the records do not know of: from, and up to but without.
pub(crate) type Gap = (u64, u64);

pub(crate) fn gaps(engine: &dyn Engine) -> Result<Vec<Gap>, MetaError> {
    let mut gaps = Vec::new();
    list::walk(engine, Table::System, GAP_PREFIX, Some(GAP_BEHIND), |key, value| {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes);
        let gap = number(key.get(GAP_PREFIX.len()..).unwrap_or_default()).ok().zip(number(value).ok());
        gaps.push(gap.ok_or(DecodeError("bad gap")).map_err(MetaError::damaged(Table::System))?);
        Ok(true)
    })?;
    Ok(gaps)
}

impl Meta {
    /// From here on numbers begin at `start`, or behind all that these records know; those from `noted` to there
    /// were given by records that are lost. Nothing else may be under way.
    pub fn begin_anew(&self, noted: u64, start: u64) -> Result<(), MetaError> {
        let start = start.max(self.sequence.ceiling.load(Ordering::Acquire) + Sequence::STEP);
        let ceiling = start + Sequence::STEP;
        let gap = [GAP_PREFIX, &noted.to_be_bytes()].concat();
        let writes = vec![
            Sequence::record(ceiling),
            (Table::System, gap, Some(start.to_be_bytes().to_vec())),
            // All blobs are looked at again.
            (Table::System, AUDIT_KEY.to_vec(), None),
        ];
        self.engine.write(Batch { writes, delete_ranges: Vec::new() })?;
        self.sequence.next.store(start, Ordering::Release);
        self.sequence.set_ceiling(ceiling);
        Ok(())
    }

    /// Unfinished uploads are looked at again only after `at`: they may have been finished in the lost time, and
    /// then their parts are all that there is of an object.
    pub fn postpone_expiries(&self, at: Timestamp) -> Result<(), MetaError> {
        let uploads = self.expiring(Timestamp(u64::MAX - 1), usize::MAX)?;
        self.commit_and_wait(Order::Shared, move |txn| {
            for (since, bucket, key, id) in uploads {
                if txn.upload(bucket, &key, id)?.is_some() {
                    txn.end_expiry(since, id);
                    txn.queue_expiry(bucket, &key, id, at);
                }
            }
            Ok(())
        })
    }
}

impl Txn<'_> {
    /// Records a replica that was found where no record knew of it. One on the same backend that is not good
    /// makes room. `false`: nobody refers to the blob, or there is a good one.
    pub fn recover_replica(&mut self, id: BlobId, target: Target) -> Result<bool, MetaError> {
        let Some(mut record) = self.blob(id)?.filter(|record| record.references > 0) else {
            return Ok(false);
        };
        let size = record.size;
        let Some(replicas) = record.replicas_mut() else { return Ok(false) };
        let there = |replica: &Replica| replica.backend == target.backend;
        if replicas.iter().any(|replica| there(replica) && replica.is_good()) {
            return Ok(false);
        }
        let before = replicas.len();
        replicas.retain(|replica| !there(replica));
        let gone = before - replicas.len();
        replicas.push(Replica::new(target.clone(), Timestamp(0)));
        for _ in 0..gone {
            self.charge(Account::Backend(target.backend), Delta::object(size).negated());
        }
        self.charge(Account::Backend(target.backend), Delta::object(size));
        self.put_blob(id, &record);
        Ok(true)
    }

    /// What a write left at these places is a blob's by now, or may be wanted: it is not to be deleted.
    pub fn keep_intended(&mut self, id: BlobId, kept: &[Target]) -> Result<(), MetaError> {
        let Some(mut intent) = self.intent(id)? else { return Ok(()) };
        intent.targets.retain(|target| !kept.contains(target));
        match intent.targets.is_empty() {
            true => self.end_intent(id),
            false => self.add_intent(id, &intent),
        }
        Ok(())
    }
}
