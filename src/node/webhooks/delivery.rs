//! Carries what waits for one receiver there, batch by batch, until nothing waits.

use super::{Hook, payload};
use crate::observe::Metrics;
use crate::options;
use std::sync::Arc;
use std::time::Duration;
use store::{Event, Store};
use tokio::sync::Notify;

/// One POST: keys of full length make it 150 KB.
pub const BATCH_EVENTS: usize = 50;
/// A bell may ring between looking and listening.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub async fn run(hook: Arc<Hook>, store: Store, metrics: Arc<Metrics>, bell: Arc<Notify>) {
    let mut failures = 0;
    loop {
        let rung = bell.notified();
        match step(&hook, &store, &metrics).await {
            Ok(0) => {
                let _ = tokio::time::timeout(LOOK_EVERY, rung).await;
            }
            Ok(_) => failures = 0,
            Err(why) => {
                failures += 1;
                let pause = pause(failures);
                metrics.hook_failed(&hook.config.name);
                tracing::warn!(webhook = hook.config.name, why, ?pause, "not delivered; it is tried again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Delivers one batch; how many events it had. Nothing overtakes a batch that failed.
async fn step(hook: &Hook, store: &Store, metrics: &Metrics) -> Result<usize, String> {
    let events = store.events(hook.id, BATCH_EVENTS).await.map_err(|error| error.to_string())?;
    let (Some((first, _)), Some((last, _))) = (events.first(), events.last()) else { return Ok(0) };
    let delivery = format!("{first:016X}-{last:016X}");
    let body = document(hook, store, &events);
    hook.client.post(&delivery, options::now().secs(), body).await?;
    let sequences = events.iter().map(|(sequence, _)| *sequence).collect();
    store.told(hook.id, sequences).await.map_err(|error| error.to_string())?;
    metrics.hook_delivered(&hook.config.name, events.len() as u64);
    Ok(events.len())
}

fn document(hook: &Hook, store: &Store, events: &[(u64, Event)]) -> String {
    let names = store.buckets();
    payload::document(&hook.config.name, events, |wanted| {
        names.iter().find(|(_, id)| *id == wanted).map(|(name, _)| name.as_str().to_owned())
    })
}

/// Doubles, up to a minute.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses: Vec<_> = [1, 2, 3, 7, 8, 99].map(pause).map(|pause| pause.as_millis()).into();
        assert_eq!(pauses, [500, 1_000, 2_000, 32_000, 60_000, 60_000]);
    }
}
