//! A walk over what a backend has, for `reconcile` and `import`.

use super::{Doing, Kind, Step, Work};
use crate::node::Node;
use crate::reports::{Line, Tally};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{JobRecord, Odd, Oddity, ReconcileOrder, Reconciliation, StoreError};
use types::BucketName;

pub const RECONCILE: Kind = Kind {
    name: "reconcile",
    about: "holds what a backend has against the records",
    work: |record| Ok(Box::new(Walk::new(record)?)),
};

pub const IMPORT: Kind = Kind {
    name: "import",
    about: "makes what lies on a backend objects of a bucket",
    work: |record| Ok(Box::new(Walk::new(record)?)),
};

/// While another walk that changes something is under way.
const WAIT: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub prefix: String,
    /// Whose what is somebody else's is to be.
    pub bucket: Option<String>,
    pub clean: bool,
    pub dry_run: bool,
}

/// Where to go on, and what was counted until there.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Reached {
    after: Option<String>,
    tally: Tally,
}

struct Walk {
    order: Order,
    reached: Reached,
    tally: Tally,
    walk: Option<Reconciliation>,
}

impl Work for Walk {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(async move {
            let stepped = self.go(node, record).await;
            if stepped.is_err() {
                // What it was working on is begun again.
                self.walk = None;
            }
            match stepped {
                Err(StoreError::Busy) => {
                    record.message = "waits for another import or cleaning".to_owned();
                    Ok(Step::Rest(WAIT))
                }
                other => other,
            }
        })
    }
}

impl Walk {
    fn new(record: &JobRecord) -> Result<Self, String> {
        let bad = |error: serde_json::Error| format!("its order cannot be read: {error}");
        let order = serde_json::from_str(&record.order).map_err(bad)?;
        let reached: Reached = match record.cursor.is_empty() {
            true => Reached::default(),
            false => serde_json::from_slice(&record.cursor).map_err(bad)?,
        };
        Ok(Self { order, tally: reached.tally.clone(), reached, walk: None })
    }

    async fn go(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        if self.walk.is_none() {
            match self.begin(node, record).await? {
                Ok(walk) => self.walk = Some(walk),
                Err(why) => return Ok(Step::Failed(why)),
            }
        }
        let Some(walk) = &mut self.walk else { return Ok(Step::More) };
        let Some(step) = walk.step().await? else {
            record.message = self.tally.words();
            return Ok(Step::Done);
        };
        if walk.reached() != self.reached.after.as_deref() {
            let after = walk.reached().map(str::to_owned);
            self.reached = Reached { after, tally: self.tally.clone() };
            record.cursor = serde_json::to_vec(&self.reached).unwrap_or_default();
        }
        self.tally.add("names", step.names);
        step.odd.iter().for_each(|odd| self.count(odd));
        let lines = step.odd.iter().filter(|odd| self.is_told(odd)).map(line).collect();
        node.reports.tell(&record.name(), &self.tally, lines);
        record.progress.items = self.tally.get("names");
        record.progress.bytes = self.tally.get("adopted bytes");
        record.message = self.tally.words();
        Ok(Step::More)
    }

    async fn begin(
        &mut self,
        node: &Node,
        record: &JobRecord,
    ) -> Result<Result<Reconciliation, String>, StoreError> {
        let Order { prefix, bucket, clean, dry_run } = self.order.clone();
        let adopt = match &bucket {
            None => None,
            Some(name) => {
                let id = BucketName::new(name.clone()).ok().and_then(|name| node.store.bucket(&name));
                match id {
                    Some(id) => Some(id),
                    None => return Ok(Err(format!("there is no bucket {name}"))),
                }
            }
        };
        let order = ReconcileOrder { backend: record.subject.clone(), prefix, adopt, clean, dry_run };
        let walk = node.store.reconcile(order, self.reached.after.clone()).await?;
        self.tally = self.reached.tally.clone();
        Ok(walk.ok_or_else(|| format!("there is no backend {}", record.subject)))
    }

    fn count(&mut self, odd: &Odd) {
        self.tally.add(word(odd.what), 1);
        if odd.what == Oddity::Adopted {
            self.tally.add("adopted bytes", odd.bytes);
        }
    }

    /// Of an import only what was not imported, unless nothing is.
    fn is_told(&self, odd: &Odd) -> bool {
        odd.what != Oddity::Adopted || self.order.dry_run
    }
}

fn line(odd: &Odd) -> Line {
    let Odd { what, location, bytes, note } = odd;
    if matches!(what, Oddity::Missing | Oddity::Different) {
        tracing::error!(location, note, "a copy is {}", word(*what));
    }
    Line { what: word(*what).to_owned(), location: location.clone(), bytes: *bytes, note: note.clone() }
}

/// Stable, for scripts.
fn word(what: Oddity) -> &'static str {
    match what {
        Oddity::Missing => "missing",
        Oddity::Different => "different",
        Oddity::Unnamed => "unnamed",
        Oddity::Cleaned => "cleaned",
        Oddity::Foreign => "foreign",
        Oddity::Adopted => "adopted",
        Oddity::Passed => "passed",
    }
}
