//! Keeps as many good copies of each object as its bucket asks for.

use super::Stop;
use crate::jobs::Job;
use crate::node::Node;
use crate::options::now;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use types::BlobId;

/// After a failure, and between two looks at whether something else is asked for now.
const REST: Duration = Duration::from_secs(5);

pub const NAME: &str = "copies";

pub fn job(node: &Node) -> Arc<Job> {
    node.jobs.add(NAME, "makes copies that are missing, takes away those that are too many")
}

pub async fn run(node: Arc<Node>, job: Arc<Job>, mut stop: Stop) {
    let due = async || {
        tokio::select! {
            () = node.store.copies_due() => {}
            () = job.wanted() => {}
        }
    };
    while stop.or(due()).await {
        let rest = work(&node.store, &job, &mut stop).await;
        if !stop.or_sleep(rest).await {
            return;
        }
    }
}

/// Passes until one finds nothing to do; how long to rest then.
async fn work(store: &Store, job: &Job, stop: &mut Stop) -> Duration {
    let mut rest = Duration::ZERO;
    let mut begun = false;
    while stop.or(job.permitted()).await && !job.cancelled() {
        // One pass may take long: it is seen while it runs.
        if !begun {
            let total = waiting(store).await;
            begun = total != Some(0);
            if begun {
                job.begin(total);
            }
        }
        // What a pass that is broken off was copying is copied anew by the next node.
        let Some(passed) = stop.unless_ordered(store.copies_pass()).await else { break };
        match passed {
            Ok(progress) if progress.done == 0 => {
                job.recovered();
                break;
            }
            Ok(progress) => {
                job.step(progress.done.saturating_sub(progress.left), waiting(store).await);
                tracing::debug!(done = progress.done, later = progress.left, "copies");
            }
            Err(error) => {
                tracing::warn!(%error, "work on copies failed; it is tried again");
                job.failed(now(), &error);
                rest = REST;
                break;
            }
        }
    }
    if begun {
        job.end(now());
    }
    rest
}

/// `None`: more than anybody counts, or nobody can tell; the pass will say what is wrong.
async fn waiting(store: &Store) -> Option<u64> {
    store.copies_to_do().await.ok().filter(|waiting| *waiting < store::MAX_COUNTED).map(|n| n as u64)
}

/// Fills the queue when something else is asked for: other numbers of copies, other backends, one lost.
pub async fn audit(store: Store, mut stop: Stop) {
    loop {
        match walk(&store, &mut stop).await {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the walk over all blobs failed; it is begun again"),
        }
        let due = async {
            // Sooner if something was changed by command.
            let _ = tokio::time::timeout(REST, store.audit_wanted()).await;
        };
        if !stop.or(due).await {
            return;
        }
    }
}

async fn walk(store: &Store, stop: &mut Stop) -> Result<(), store::StoreError> {
    let Some(asked) = store.audit_due().await? else { return Ok(()) };
    tracing::info!("copies are held against what is asked for now");
    for bucket in store.bucket_ids() {
        let mut after = None;
        while stop.or(async {}).await {
            after = store.adopt_step(bucket, after).await?;
            if after.is_none() {
                break;
            }
        }
    }
    let mut after: Option<BlobId> = None;
    while stop.or(async {}).await {
        after = store.audit_step(after).await?;
        if after.is_none() {
            return store.audit_done(asked).await;
        }
    }
    Ok(())
}
