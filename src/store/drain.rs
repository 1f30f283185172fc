//! Emptying a backend. Its state says that it is to become empty; the walk over all blobs and the work
//! on copies do the rest. Here is what an operator needs besides: whether it can be, how far it is, why
//! it does not go on.

use meta::{Account, BackendId, BackendState, CleanupTask, Target, TaskKind};
use std::sync::Arc;
use types::Timestamp;

use crate::copies::LONGEST_REST_MS;
use crate::member::Member;
use crate::{Inner, OrderError, Store, StoreError};

/// Of the cleanup queue, at a time.
const PAGE: usize = 1000;
/// Counting further would say nothing new.
const MAX_COUNTED: usize = 10_000;

/// What a backend still holds, by the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holding {
    /// Of replicas whose blobs are in use.
    pub bytes: u64,
    pub objects: u64,
    /// What nobody uses and cleanup has not deleted yet.
    pub awaiting_bytes: u64,
    /// Writes and deletions under way, also those of no bytes.
    pub unsettled: u64,
}

impl Holding {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    pub fn all_bytes(&self) -> u64 {
        self.bytes.saturating_add(self.awaiting_bytes)
    }
}

impl Store {
    /// Whether what `name` holds could go elsewhere, as far as can be told beforehand.
    pub fn can_drain(&self, name: &str) -> Result<(), OrderError> {
        let inner = &self.0;
        let member = inner.fleet.named(name).ok_or_else(|| OrderError::no_backend(inner, name))?;
        if member.state() == BackendState::Removed {
            return Err(OrderError::Refused(format!("{name} was taken out already")));
        }
        let left = others(inner, &member).len();
        if left == 0 {
            return Err(OrderError::Refused(format!("{name} is the only backend that takes writes")));
        }
        for (bucket, policy) in inner.settings.policies() {
            if policy.copies() > left {
                let bucket = inner.settings.bucket_name(bucket).map_or_else(String::new, |b| b.to_string());
                let wanted = policy.copies();
                return Err(OrderError::Refused(format!(
                    "bucket {bucket} asks for {wanted} copies of each object, and without {name} there are \
                     {left} backends: add one, or ask for fewer copies"
                )));
            }
        }
        Ok(())
    }

    /// From now on nothing new goes to `name`, and what is there counts as a copy no more.
    pub async fn begin_drain(&self, name: &str) -> Result<(), OrderError> {
        self.can_drain(name)?;
        self.set_backend_state(name, BackendState::Draining).await?;
        Ok(())
    }

    /// Puts a backend that was being emptied, or was taken out, back into use. `false`: it is in use.
    pub async fn end_drain(&self, name: &str) -> Result<bool, OrderError> {
        let inner = &self.0;
        let member = inner.fleet.named(name).ok_or_else(|| OrderError::no_backend(inner, name))?;
        member.hold(false);
        if member.is_active() {
            return Ok(false);
        }
        self.set_backend_state(name, BackendState::Active).await?;
        Ok(true)
    }

    /// A backend that is being emptied rests: what it has counts as copies meanwhile.
    pub fn hold_drain(&self, name: &str, held: bool) {
        if let Some(member) = self.0.fleet.named(name) {
            member.hold(held);
            self.0.bells.audit.notify_one();
        }
    }

    /// `None`: there is no such backend, nor was there one.
    pub async fn holding(&self, name: &str) -> Result<Option<Holding>, StoreError> {
        let name = name.to_owned();
        self.blocking(move |inner| {
            if let Some(member) = inner.fleet.named(&name) {
                return holding(inner, member.id).map(Some);
            }
            let known = inner.meta.backends()?;
            let record = known.into_iter().find(|(known, _)| *known == name);
            record.map(|(_, record)| holding(inner, record.id)).transpose()
        })
        .await
    }

    /// What the quotas of the other backends leave; `None` if one has none.
    pub fn room_besides(&self, name: &str) -> Option<u64> {
        let inner = &self.0;
        let member = inner.fleet.named(name)?;
        let left = |other: &Arc<Member>| inner.meta.ledger().left(Account::Backend(other.id));
        others(inner, &member).iter().map(left).sum()
    }

    /// Tasks that have to do with copies, counted so far as that says something.
    pub async fn copies_waiting(&self) -> Result<usize, StoreError> {
        self.blocking(|inner| {
            let kinds = [TaskKind::Replicate, TaskKind::Excess, TaskKind::Deferred];
            kinds.into_iter().try_fold(0, |sum, kind| Ok(sum + inner.meta.count_tasks(kind, MAX_COUNTED)?))
        })
        .await
    }

    /// The walk over all blobs is begun anew, though nothing else is asked for than before.
    pub async fn walk_again(&self) -> Result<(), StoreError> {
        self.blocking(|inner| Ok(inner.meta.note_audit(0)?)).await?;
        self.0.bells.audit.notify_one();
        Ok(())
    }

    /// Resolves when there may be a reason for a walk over all blobs.
    pub async fn audit_wanted(&self) {
        self.0.bells.audit.notified().await;
    }

    /// Why work on copies could not be done lately: what is tried again fails again within that time.
    pub fn copies_trouble(&self) -> Option<String> {
        let since = self.now().saturating_sub_ms(2 * LONGEST_REST_MS);
        let last = self.0.copies_trouble.lock().clone();
        last.filter(|(at, _)| *at >= since).map(|(_, why)| why)
    }
}

/// Backends that take new replicas, besides one.
fn others(inner: &Inner, member: &Member) -> Vec<Arc<Member>> {
    let is_other = |other: &&Arc<Member>| other.id != member.id && other.is_active();
    inner.fleet.members().iter().filter(is_other).cloned().collect()
}

pub(crate) fn holding(inner: &Inner, id: BackendId) -> Result<Holding, StoreError> {
    let (ledger, account) = (inner.meta.ledger(), Account::Backend(id));
    let counters = ledger.counters(account);
    let mut holding = Holding {
        bytes: counters.bytes,
        objects: counters.objects,
        awaiting_bytes: counters.awaiting_bytes,
        unsettled: u64::from(ledger.reserved(account) > 0),
    };
    let at = |target: &&Target| target.backend == id;
    for (_, intent) in inner.meta.intents()? {
        holding.unsettled += intent.targets.iter().filter(at).count() as u64;
    }
    // Looked for only where nothing else is left: the queue may be long.
    if holding.is_nothing() {
        holding.unsettled = cleanups_at(inner, id)?;
    }
    Ok(holding)
}

/// Deletions there that take no bytes away.
fn cleanups_at(inner: &Inner, id: BackendId) -> Result<u64, StoreError> {
    let mut found = 0;
    let mut last = None;
    loop {
        let page = inner.meta.cleanups(Timestamp(u64::MAX), last.as_ref(), PAGE)?;
        for queued in &page {
            found += u64::from(is_at(inner, &queued.task, id)?);
        }
        match page.last() {
            Some(queued) if page.len() == PAGE => last = Some(queued.clone()),
            _ => return Ok(found),
        }
    }
}

fn is_at(inner: &Inner, task: &CleanupTask, id: BackendId) -> Result<bool, StoreError> {
    Ok(match task {
        CleanupTask::Stray { target, .. } => target.backend == id,
        CleanupTask::Blob { blob, .. } => {
            let record = inner.meta.blob(*blob)?;
            record.is_some_and(|record| record.replicas().iter().any(|replica| replica.backend == id))
        }
    })
}
