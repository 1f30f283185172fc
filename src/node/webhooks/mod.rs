//! Webhooks: what happens to objects, and trouble of the node, told to somebody's URL.
//!
//! An event lies in the metadata from the commit that causes it until its receiver has said that it
//! has it: at least once, in the order of the commits. [`Webhooks`] says who wants what; `delivery.rs`
//! carries it there.

mod client;
mod delivery;
mod payload;
mod signature;

use crate::config::Webhook;
use crate::finding::Finding;
use crate::observe::Metrics;
use arc_swap::ArcSwap;
use client::Client;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use store::{Event, HookId, Outbox, Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use types::{BucketId, Key, Timestamp};

/// A receiver, ready to be told.
pub(crate) struct Hook {
    id: HookId,
    config: Webhook,
    /// The bucket that it is limited to.
    bucket: Option<BucketId>,
    client: Client,
}

impl Hook {
    fn new(config: &Webhook, store: &Store) -> Result<Self, StoreError> {
        let bucket = config.bucket.as_ref().and_then(|name| store.bucket(name));
        let client =
            Client::new(config).map_err(|error| StoreError::Storage(format!("webhook: {error:#}")))?;
        Ok(Self { id: id_of(&config.name), config: config.clone(), bucket, client })
    }

    fn covers(&self, bucket: BucketId, key: &Key) -> bool {
        // A bucket that is configured is in the store, so no name without an id slips through here.
        let in_bucket = self.config.bucket.is_none() || self.bucket == Some(bucket);
        in_bucket && key.as_str().starts_with(&self.config.prefix)
    }
}

/// Whether nothing would change: then no delivery under way is cut off.
fn is_same(before: &[Arc<Hook>], after: &[Arc<Hook>]) -> bool {
    let same = |(a, b): (&Arc<Hook>, &Arc<Hook>)| a.config.is_same_as(&b.config) && a.bucket == b.bucket;
    before.len() == after.len() && before.iter().zip(after).all(same)
}

/// The same after a restart, and after a change of everything but the name.
fn id_of(name: &str) -> HookId {
    let digest = Sha256::digest(format!("webhook/{name}"));
    let first = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    HookId(u64::from_be_bytes(*first))
}

/// All receivers, and the work that tells them.
pub struct Webhooks {
    store: Store,
    metrics: Arc<Metrics>,
    hooks: ArcSwap<Vec<Arc<Hook>>>,
    bell: Arc<Notify>,
    running: Mutex<Vec<JoinHandle<()>>>,
    clock: fn() -> Timestamp,
}

impl Webhooks {
    /// Begins to note events before the face takes its first request, so that none is missed.
    pub async fn start(
        store: &Store,
        configured: &[Webhook],
        metrics: &Arc<Metrics>,
        clock: fn() -> Timestamp,
    ) -> Result<Arc<Self>, StoreError> {
        let webhooks = Arc::new(Self {
            store: store.clone(),
            metrics: Arc::clone(metrics),
            hooks: ArcSwap::default(),
            bell: Arc::default(),
            running: Mutex::default(),
            clock,
        });
        let hooks = webhooks.prepare(configured)?;
        webhooks.enforce(hooks).await?;
        Ok(webhooks)
    }

    /// These from now on. What waits for one that is still there is told by its new settings.
    pub async fn apply(self: &Arc<Self>, configured: &[Webhook]) -> Result<(), StoreError> {
        let hooks = self.prepare(configured)?;
        if is_same(&self.hooks.load(), &hooks) {
            return Ok(());
        }
        self.enforce(hooks).await
    }

    fn prepare(&self, configured: &[Webhook]) -> Result<Vec<Arc<Hook>>, StoreError> {
        configured.iter().map(|config| Hook::new(config, &self.store).map(Arc::new)).collect()
    }

    async fn enforce(self: &Arc<Self>, hooks: Vec<Arc<Hook>>) -> Result<(), StoreError> {
        self.stop();
        self.hooks.store(Arc::new(hooks.clone()));
        let outbox = (!hooks.is_empty()).then(|| Arc::clone(self) as Arc<dyn Outbox>);
        self.store.set_outbox(outbox);
        self.forget_strangers(&hooks).await?;
        let deliver = |hook: &Arc<Hook>| {
            let (store, bell) = (self.store.clone(), Arc::clone(&self.bell));
            tokio::spawn(delivery::run(Arc::clone(hook), store, Arc::clone(&self.metrics), bell))
        };
        *self.running.lock() = hooks.iter().map(deliver).collect();
        Ok(())
    }

    /// A delivery that is cut off is made again.
    pub fn stop(&self) {
        self.running.lock().drain(..).for_each(|task| task.abort());
    }

    /// What waits for a receiver that is not configured any more would wait for ever.
    async fn forget_strangers(&self, hooks: &[Arc<Hook>]) -> Result<(), StoreError> {
        for (id, count) in self.store.event_queues().await? {
            if hooks.iter().any(|hook| hook.id == id) {
                continue;
            }
            tracing::warn!(events = count, "events of a webhook that is not configured any more are dropped");
            loop {
                let events = self.store.events(id, delivery::BATCH_EVENTS).await?;
                if events.is_empty() {
                    break;
                }
                self.store.told(id, events.into_iter().map(|(sequence, _)| sequence).collect()).await?;
            }
        }
        Ok(())
    }

    /// Notes trouble for everyone who wants to hear of it. `state`: begun, or over.
    pub async fn tell_trouble(&self, finding: &Finding, state: &str) -> Result<(), StoreError> {
        let hooks = self.hooks.load_full();
        let hooks: Vec<_> =
            hooks.iter().filter(|hook| hook.config.events.trouble).map(|hook| hook.id).collect();
        if hooks.is_empty() {
            return Ok(());
        }
        let text = payload::trouble(finding, state);
        self.store.tell(hooks, Event::Notice { text, at: self.now() }).await
    }

    /// The oldest event that waits for each receiver.
    pub async fn oldest(&self) -> Result<Vec<(String, Option<(u64, Timestamp)>)>, StoreError> {
        let first = self.first_events().await?.into_iter();
        Ok(first.map(|(hook, first)| (hook.config.name.clone(), first)).collect())
    }

    async fn first_events(&self) -> Result<Vec<(Arc<Hook>, Option<(u64, Timestamp)>)>, StoreError> {
        let mut all = Vec::new();
        for hook in self.hooks.load_full().iter() {
            let first = self.store.events(hook.id, 1).await?;
            all.push((Arc::clone(hook), first.first().map(|(sequence, event)| (*sequence, event.at()))));
        }
        Ok(all)
    }

    /// How much waits for each receiver, and since when.
    pub async fn queues(&self) -> Result<Vec<(String, u64, Option<Timestamp>)>, StoreError> {
        let lengths = self.store.event_queues().await?;
        let queue = |(hook, first): (Arc<Hook>, Option<(u64, Timestamp)>)| {
            let length = lengths.iter().find(|(id, _)| *id == hook.id).map_or(0, |(_, count)| *count);
            (hook.config.name.clone(), length, first.map(|(_, at)| at))
        };
        Ok(self.first_events().await?.into_iter().map(queue).collect())
    }
}

impl Outbox for Webhooks {
    fn wants_created(&self, bucket: BucketId, key: &Key) -> Vec<HookId> {
        let wants = |hook: &&Arc<Hook>| hook.config.events.created && hook.covers(bucket, key);
        self.hooks.load().iter().filter(wants).map(|hook| hook.id).collect()
    }

    fn wants_removed(&self, bucket: BucketId, key: &Key) -> Vec<HookId> {
        let wants = |hook: &&Arc<Hook>| hook.config.events.removed && hook.covers(bucket, key);
        self.hooks.load().iter().filter(wants).map(|hook| hook.id).collect()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn dropped(&self, hook: HookId) {
        if let Some(hook) = self.hooks.load().iter().find(|known| known.id == hook) {
            self.metrics.hook_dropped(&hook.config.name);
        }
    }

    fn queued(&self) {
        self.bell.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_known_by_its_name_for_ever() {
        assert_eq!(id_of("thumbnails"), id_of("thumbnails"));
        assert_ne!(id_of("thumbnails"), id_of("thumbnail"));
        // Held, since queues on disks are found by it.
        assert_eq!(id_of("a").0, 0xdb69_c8c3_659a_91bb);
    }
}
