//! What is to be told outside, and has not been.

use meta::{Event, HookId, Order, Outbox};
use std::sync::Arc;

use crate::{Store, StoreError};

impl Store {
    /// Who wants to be told, from the next commit on.
    pub fn set_outbox(&self, outbox: Option<Arc<dyn Outbox>>) {
        self.0.meta.set_outbox(outbox);
    }

    pub fn waiting_events(&self) -> u64 {
        self.0.meta.waiting_events()
    }

    /// The oldest events of a receiver.
    pub async fn events(&self, hook: HookId, max: usize) -> Result<Vec<(u64, Event)>, StoreError> {
        self.blocking(move |inner| Ok(inner.meta.events(hook, max)?)).await
    }

    pub async fn event_queues(&self) -> Result<Vec<(HookId, u64)>, StoreError> {
        self.blocking(|inner| Ok(inner.meta.event_queues()?)).await
    }

    /// Puts an event on the queues of these receivers.
    pub async fn tell(&self, hooks: Vec<HookId>, event: Event) -> Result<(), StoreError> {
        self.commit(Order::Shared, move |txn| Ok(txn.tell(&hooks, &event)?)).await
    }

    /// These have been told: they are not told again.
    pub async fn told(&self, hook: HookId, sequences: Vec<u64>) -> Result<(), StoreError> {
        self.commit(Order::Shared, move |txn| Ok(txn.told(hook, &sequences)?)).await
    }
}
