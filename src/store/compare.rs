//! What a backend has, held against what the records say that it has: the same for a stopped node
//! (`fsck`) and for a running one (`reconcile`).

use backend::{BackendError, Found, KEPT_ASIDE, Location};
use meta::{BlobRecord, Target};
use std::collections::BTreeMap;
use types::BlobId;

use crate::member::Member;

/// Of one page of a backend's listing.
const LIST_PAGE: usize = 1000;
/// The digits of the number at the end of every name that we give.
const NUMBER_CHARS: usize = 16;

/// A stretch of a backend's listing.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub found: BTreeMap<Location, Found>,
    prefix: String,
    after: Option<Location>,
    /// The last location that it covers; `None`: it goes to the end.
    pub until: Option<Location>,
}

impl Stretch {
    /// About `max` names below `prefix`, behind `after`.
    pub async fn list(
        member: &Member,
        prefix: &str,
        after: Option<Location>,
        max: usize,
    ) -> Result<Self, BackendError> {
        let mut found = BTreeMap::new();
        let mut next = after.clone();
        while found.len() < max {
            member.may_call(1).await;
            let page = member.judge(member.backend.list(prefix, next.as_ref(), LIST_PAGE).await)?;
            // Snapshots are no replicas, and nobody's to adopt or to clean away.
            let replicas = page.found.into_iter().filter(|f| !f.location.as_str().starts_with(KEPT_ASIDE));
            found.extend(replicas.map(|found| (found.location.clone(), found)));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        Ok(Self { found, prefix: prefix.to_owned(), after, until: next })
    }

    fn covers(&self, location: &Location) -> bool {
        location.as_str().starts_with(&self.prefix)
            && self.after.as_ref().is_none_or(|after| location > after)
            && self.until.as_ref().is_none_or(|until| location <= until)
    }
}

/// A replica that is not there, or not as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Wrong {
    pub blob: BlobId,
    pub target: Target,
    pub recorded: u64,
    /// `None`: nothing is there.
    pub found: Option<u64>,
}

/// A stretch, from which every record takes what is its own: what is left at the end nobody names.
#[derive(Debug)]
pub(crate) struct Comparison {
    stretch: Stretch,
    pub wrong: Vec<Wrong>,
}

impl Comparison {
    pub fn new(stretch: Stretch) -> Self {
        Self { stretch, wrong: Vec::new() }
    }

    pub fn record(&mut self, member: &Member, id: BlobId, record: &BlobRecord) {
        for replica in record.replicas().iter().filter(|replica| replica.backend == member.id) {
            let Some(location) = member.location(id, &replica.place) else { continue };
            if !self.stretch.covers(&location) {
                continue;
            }
            let found = self.stretch.found.remove(&location).map(|found| found.size);
            // Cleanup deletes the bytes first and the record after them.
            let on_its_way_out = record.references == 0 && found.is_none();
            if found != Some(record.size) && !on_its_way_out {
                let (target, recorded) = (replica.target(), record.size);
                self.wrong.push(Wrong { blob: id, target, recorded, found });
            }
        }
    }

    /// Bytes that an intent or a task names.
    pub fn named(&mut self, member: &Member, blob: BlobId, target: &Target) {
        if target.backend == member.id
            && let Some(location) = member.location(blob, &target.place)
        {
            self.stretch.found.remove(&location);
        }
    }

    /// What nobody names.
    pub fn unnamed(self) -> impl Iterator<Item = Found> {
        self.stretch.found.into_values()
    }
}

impl Member {
    /// The number in a name that this backend would have given; others are somebody else's.
    pub fn number_in(&self, location: &Location) -> Option<BlobId> {
        let name = location.as_str();
        let (front, digits) = name.split_at_checked(name.len().checked_sub(NUMBER_CHARS)?)?;
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if !digits.bytes().all(lower) {
            return None;
        }
        let number = BlobId::parse(digits)?;
        let plain = self.backend.locate(number, None) == *location;
        // Backends with names that people can read put the number behind a dot.
        let readable =
            front.ends_with('.') && self.backend.locate(number, Some("a")).as_str() == format!("a.{number}");
        (plain || readable).then_some(number)
    }
}
