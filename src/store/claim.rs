//! A durable note that bytes may appear somewhere, which somebody must settle.

use meta::{Account, Intent, Order, Target, Txn};
use tokio::sync::oneshot;
use types::BlobId;

use crate::{Store, StoreError};

/// Dropped without being settled, it sends whatever appeared to cleanup.
pub struct Claim {
    store: Store,
    blob: BlobId,
    target: Target,
    /// What may have appeared: nothing until somebody was given the claim.
    size: u64,
    settled: bool,
}

/// An intent on its way to the disk.
pub struct Noted {
    receiver: oneshot::Receiver<Result<Claim, StoreError>>,
    size: u64,
}

impl Noted {
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Claim {
    pub fn settle(mut self) {
        self.settled = true;
    }

    pub fn target(&self) -> &Target {
        &self.target
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let (blob, target, size) = (self.blob, self.target.clone(), self.size);
            let meta = &self.store.0.meta;
            // The write's own room is given back at once; these bytes count without a gap.
            let held = meta.ledger().hold(Account::Backend(target.backend), size);
            let abandon = move |txn: &mut Txn<'_>| Ok(txn.abandon_target(blob, target, size)?);
            meta.commit(Order::Shared, abandon, |_: Result<(), StoreError>| drop(held));
        }
    }
}

impl Store {
    /// Notes that `blob` may appear at `target`. A blob's `only` target needs no look at what is noted
    /// of it already.
    pub(crate) fn note_intent(&self, blob: BlobId, target: Target, size: u64, only: bool) -> Noted {
        let (sender, receiver) = oneshot::channel();
        let claim = Claim { store: self.clone(), blob, target: target.clone(), size: 0, settled: false };
        let since = self.now();
        let note = move |txn: &mut Txn<'_>| {
            if only {
                txn.add_intent(blob, &Intent { targets: vec![target], size, since });
                return Ok(());
            }
            Ok(txn.intend(blob, target, size, since)?)
        };
        self.0.meta.commit(Order::Shared, note, move |noted: Result<(), StoreError>| {
            let answer = match noted {
                Ok(()) => Ok(claim),
                Err(error) => {
                    claim.settle();
                    Err(error)
                }
            };
            // A receiver that is gone drops the claim, which sends the bytes to cleanup.
            drop(sender.send(answer));
        });
        Noted { receiver, size }
    }
}

pub async fn claimed(noted: Noted) -> Result<Claim, StoreError> {
    let mut claim = noted.receiver.await.unwrap_or(Err(StoreError::Busy))?;
    claim.size = noted.size;
    Ok(claim)
}
