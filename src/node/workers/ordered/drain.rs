//! Emptying a backend: the work on copies moves what it holds, cleanup deletes it there; this looks
//! after them until the ledger says that nothing is left.

use super::{Doing, Kind, Step, Work};
use crate::command::words;
use crate::node::Node;
use std::time::{Duration, Instant};
use store::{Holding, JobRecord, OrderError, StoreError};

pub const DRAIN: Kind = Kind {
    name: "drain",
    about: "moves everything from a backend to the others",
    work: |_| Ok(Box::new(Drain::default())),
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Without change for so long something is wrong, or came in behind the walk over all blobs.
const STILL: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Drain {
    begun: bool,
    /// What it held when that last changed, and when that was.
    last: Option<(Holding, Instant)>,
}

impl Work for Drain {
    fn step<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, Step> {
        Box::pin(self.look(node, record))
    }

    fn hold<'a>(&'a mut self, node: &'a Node, record: &'a JobRecord, held: bool) -> Doing<'a, ()> {
        node.store.hold_drain(&record.subject, held);
        self.last = None;
        Box::pin(async { Ok(()) })
    }

    fn undo<'a>(&'a mut self, node: &'a Node, record: &'a mut JobRecord) -> Doing<'a, ()> {
        Box::pin(async {
            record.message = "the backend is in use again".to_owned();
            match node.store.end_drain(&record.subject).await {
                Ok(_) => Ok(()),
                Err(OrderError::Store(error)) => Err(error),
                // It is not configured any more.
                Err(other) => {
                    record.message = other.to_string();
                    Ok(())
                }
            }
        })
    }
}

impl Drain {
    async fn look(&mut self, node: &Node, record: &mut JobRecord) -> Result<Step, StoreError> {
        if !self.begun {
            match node.store.begin_drain(&record.subject).await {
                Ok(()) => self.begun = true,
                Err(OrderError::Store(error)) => return Err(error),
                Err(other) => return Ok(Step::Failed(other.to_string())),
            }
        }
        let holding = node.store.holding(&record.subject).await?.unwrap_or_default();
        count(record, &holding);
        if holding.is_nothing() {
            let name = &record.subject;
            record.message = format!("nothing is left there: s3-orchestrator remove-backend {name}");
            return Ok(Step::Done);
        }
        match self.last {
            Some((last, since)) if last == holding => {
                if since.elapsed() >= STILL {
                    self.last = Some((holding, Instant::now()));
                    record.message = stalled(node, &record.subject, &holding).await?;
                }
            }
            _ => {
                self.last = Some((holding, Instant::now()));
                record.message = no_room(node, &record.subject, &holding).unwrap_or_default();
            }
        }
        Ok(Step::Rest(LOOK_EVERY))
    }
}

fn count(record: &mut JobRecord, holding: &Holding) {
    let progress = &mut record.progress;
    let (bytes, objects) = (holding.all_bytes(), holding.objects);
    let total_bytes = progress.total_bytes.unwrap_or(0).max(bytes);
    let total_items = progress.total_items.unwrap_or(0).max(objects);
    (progress.total_bytes, progress.total_items) = (Some(total_bytes), Some(total_items));
    (progress.bytes, progress.items) = (total_bytes - bytes, total_items - objects);
}

/// Why nothing moves; what can be done about it is done.
async fn stalled(node: &Node, name: &str, holding: &Holding) -> Result<String, StoreError> {
    if let Some(why) = no_room(node, name, holding) {
        return Ok(why);
    }
    if holding.bytes + holding.objects == 0 {
        return Ok("everything is copied; what is left waits for cleanup to delete it".to_owned());
    }
    if node.store.copies_waiting().await? == 0 {
        node.store.walk_again().await?;
        return Ok("looking for what is left".to_owned());
    }
    let trouble = node.store.copies_trouble().unwrap_or_else(|| "a large object is on its way".to_owned());
    Ok(format!("nothing has moved for a while: {trouble}"))
}

fn no_room(node: &Node, name: &str, holding: &Holding) -> Option<String> {
    let room = node.store.room_besides(name)?;
    (room < holding.bytes).then(|| {
        let (room, bytes) = (words::size(room), words::size(holding.bytes));
        format!("no room: the other backends have {room} left for at most {bytes}")
    })
}
