//! What becomes of a blob's replicas while it lives: one more, one fewer, doubted, verified.

use types::{BlobId, Timestamp};

use crate::blob::{BlobRecord, Content};
use crate::commit::Txn;
use crate::engine::Table;
use crate::error::MetaError;
use crate::keyspace;
use crate::ledger::{Account, Delta};
use crate::replica::{Health, Place, Replica, Target};
use crate::task::{CleanupTask, Intent};

impl Txn<'_> {
    /// Notes that one more replica of a blob may appear at `target`.
    pub fn intend(&mut self, id: BlobId, target: Target, size: u64, now: Timestamp) -> Result<(), MetaError> {
        let mut intent = self.intent(id)?.unwrap_or_else(|| Intent { targets: Vec::new(), size, since: now });
        intent.targets.push(target);
        self.add_intent(id, &intent);
        Ok(())
    }

    /// A write that `intend` announced is over, one way or the other. `false`: it was not announced,
    /// or is settled already.
    fn end_intended(&mut self, id: BlobId, target: &Target) -> Result<bool, MetaError> {
        let Some(mut intent) = self.intent(id)? else { return Ok(false) };
        let before = intent.targets.len();
        intent.targets.retain(|intended| intended != target);
        match intent.targets.len() {
            0 => self.end_intent(id),
            after if after < before => self.add_intent(id, &intent),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The write at `target` will not be recorded: what appeared there is to be deleted.
    pub fn abandon_target(&mut self, id: BlobId, target: Target, size: u64) -> Result<(), MetaError> {
        if self.end_intended(id, &target)? {
            self.queue_stray(id, target, size, false)?;
        }
        Ok(())
    }

    /// Records a replica whose bytes are durable and were verified, and ends its intent. If nobody
    /// wants the blob any more, its bytes go to cleanup: `None`.
    pub fn add_replica(
        &mut self,
        id: BlobId,
        target: Target,
        now: Timestamp,
    ) -> Result<Option<BlobRecord>, MetaError> {
        let Some(mut record) = self.blob(id)? else {
            self.abandon_target(id, target, 0)?;
            return Ok(None);
        };
        let size = record.size;
        let before = record.replicas().iter().find(|replica| replica.backend == target.backend).cloned();
        let wanted = record.references > 0 && before.as_ref().is_none_or(|before| !before.is_good());
        if !wanted || !self.end_intended(id, &target)? {
            self.abandon_target(id, target, size)?;
            return Ok(None);
        }
        self.charge(Account::Backend(target.backend), Delta::object(size));
        if let Some(before) = before {
            // No backend twice: it takes the place of the damaged one.
            self.unname(id, &mut record, &before.target())?;
        }
        if let Some(replicas) = record.replicas_mut() {
            replicas.push(Replica::new(target, now));
        }
        self.put_blob(id, &record);
        Ok(Some(record))
    }

    /// Takes a replica off a blob and queues its bytes for cleanup. Refuses the last one, and the last
    /// good one: `false`.
    pub fn drop_replica(&mut self, id: BlobId, target: &Target) -> Result<bool, MetaError> {
        let Some(mut record) = self.blob(id)?.filter(|record| record.references > 0) else {
            return Ok(false);
        };
        let another = |replica: &Replica| !replica.is_at(target) && replica.is_good();
        if record.replica_at(target).is_none() || !record.replicas().iter().any(another) {
            return Ok(false);
        }
        self.unname(id, &mut record, target)?;
        self.put_blob(id, &record);
        Ok(true)
    }

    /// Takes replicas off a blob whose bytes are gone already. The caller has seen to it that others
    /// are left.
    pub fn lose_replicas(&mut self, id: BlobId, gone: &[Target]) -> Result<(), MetaError> {
        let mut record = self.known_blob(id)?;
        let size = record.size;
        let Some(replicas) = record.replicas_mut() else { return Ok(()) };
        let before = replicas.len();
        replicas.retain(|replica| !gone.contains(&replica.target()));
        if replicas.is_empty() {
            return Err(MetaError::Damaged(format!("blob {id} would be left without a replica")));
        }
        if replicas.len() < before {
            for target in gone {
                self.charge(Account::Backend(target.backend), Delta::object(size).negated());
            }
            self.put_blob(id, &record);
        }
        Ok(())
    }

    /// Takes a replica out of a record that the caller writes.
    fn unname(&mut self, id: BlobId, record: &mut BlobRecord, target: &Target) -> Result<(), MetaError> {
        let size = record.size;
        if let Some(replicas) = record.replicas_mut() {
            replicas.retain(|replica| !replica.is_at(target));
        }
        self.charge(Account::Backend(target.backend), Delta::object(size).negated());
        match target.place {
            Place::Inline => self.delete(Table::Inline, keyspace::blob(id).to_vec()),
            _ => self.queue_stray(id, target.clone(), size, true)?,
        }
        Ok(())
    }

    /// States what is known of a replica; whether that is news.
    pub fn judge_replica(
        &mut self,
        id: BlobId,
        target: &Target,
        health: Health,
        verified: Option<Timestamp>,
    ) -> Result<bool, MetaError> {
        let Some(mut record) = self.blob(id)? else { return Ok(false) };
        let replicas = record.replicas_mut();
        let Some(replica) =
            replicas.and_then(|replicas| replicas.iter_mut().find(|replica| replica.is_at(target)))
        else {
            return Ok(false);
        };
        let same_kind = std::mem::discriminant(&replica.health) == std::mem::discriminant(&health);
        if !same_kind {
            replica.health = health;
        }
        replica.verified = verified.unwrap_or(replica.verified);
        if !same_kind || verified.is_some() {
            self.put_blob(id, &record);
        }
        Ok(!same_kind)
    }

    /// Says whose a blob is, where its record of the first format does not.
    pub fn adopt_blob(&mut self, id: BlobId, bucket: types::BucketId) -> Result<(), MetaError> {
        let Some(mut record) = self.blob(id)? else { return Ok(()) };
        if record.bucket.is_none() {
            record.bucket = Some(bucket);
            self.put_blob(id, &record);
        }
        Ok(())
    }

    /// Bytes at a place that no record names any more, or never did.
    pub(crate) fn queue_stray(
        &mut self,
        id: BlobId,
        target: Target,
        size: u64,
        whole: bool,
    ) -> Result<(), MetaError> {
        self.charge(Account::Backend(target.backend), Delta::stray(size));
        let sequence = self.next_id()?;
        self.queue_cleanup(0, sequence, &CleanupTask::Stray { blob: id, target, size, whole, attempts: 0 });
        Ok(())
    }
}

impl BlobRecord {
    pub fn is_composite(&self) -> bool {
        matches!(self.content, Content::Parts(_))
    }
}
