//! The backends of the node, in the order of the configuration; more may come while it runs.

use arc_swap::ArcSwap;
use backend::{Backend, Local};
use meta::{Account, BackendId, Meta, Traffic};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use types::Timestamp;

use crate::member::Member;
use crate::placement::{Candidate, Placement, order};
use crate::{BackendOptions, BackendSource, Before, OrderError, StoreError};

/// What the embedded backend is called where the configuration names none.
pub const EMBEDDED_NAME: &str = "embedded";

/// All backends.
#[derive(Debug)]
pub struct Fleet {
    roster: ArcSwap<Roster>,
    /// Held by whoever changes the roster.
    changing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Roster {
    /// In the order of the configuration.
    members: Arc<[Arc<Member>]>,
    by_id: HashMap<BackendId, Arc<Member>>,
}

impl From<Vec<Arc<Member>>> for Roster {
    fn from(members: Vec<Arc<Member>>) -> Self {
        let by_id = members.iter().map(|member| (member.id, Arc::clone(member))).collect();
        Self { members: members.into(), by_id }
    }
}

impl Fleet {
    pub fn open(
        meta: &Meta,
        embedded: &Arc<Local>,
        options: &[BackendOptions],
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let only = [BackendOptions::embedded(EMBEDDED_NAME)];
        let options = if options.is_empty() { &only } else { options };
        let fleet = Self { roster: ArcSwap::default(), changing: Mutex::default() };
        let enlisted = fleet.enlist(meta, embedded, options, now);
        enlisted.map_err(|error| match error {
            OrderError::Store(error) => error,
            refused => StoreError::Storage(refused.to_string()),
        })?;
        Ok(fleet)
    }

    /// Opens those that are not open yet, all or none, and has all follow `options`, in this order. One that
    /// is not named there stays as it is, behind them: its replicas are on record.
    pub fn enlist(
        &self,
        meta: &Meta,
        embedded: &Arc<Local>,
        options: &[BackendOptions],
        now: Timestamp,
    ) -> Result<(), OrderError> {
        let _alone = self.changing.lock();
        let known = meta.backends()?;
        let known: Vec<String> = known.into_iter().map(|(name, _)| name).collect();
        let mut opened = HashMap::new();
        for options in options.iter().filter(|options| self.named(&options.name).is_none()) {
            opened.insert(options.name.as_str(), open(meta, embedded, &known, options)?);
        }
        let before = self.members();
        let mut members = Vec::with_capacity(options.len());
        for options in options {
            if let Some(backend) = opened.remove(options.name.as_str()) {
                members.push(Arc::new(Member::new(meta, backend, options, now)?));
            } else if let Some(member) = self.named(&options.name) {
                member.follow(meta, options);
                members.push(member);
            }
        }
        // The embedded one under its old name is the same.
        let stays = |member: &&Arc<Member>| !members.iter().any(|other| other.id == member.id);
        let rest: Vec<_> = before.iter().filter(stays).cloned().collect();
        members.extend(rest);
        self.roster.store(Arc::new(members.into()));
        Ok(())
    }

    pub fn members(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&self.roster.load().members)
    }

    /// `None`: a backend that is not configured (any more).
    pub fn get(&self, id: BackendId) -> Option<Arc<Member>> {
        self.roster.load().by_id.get(&id).cloned()
    }

    /// For people: its number if it is not configured (any more).
    pub fn name_of(&self, id: BackendId) -> String {
        let member = self.get(id);
        member.map_or_else(|| format!("#{} (not configured)", id.0), |member| member.name.clone())
    }

    pub fn named(&self, name: &str) -> Option<Arc<Member>> {
        self.roster.load().members.iter().find(|member| member.name == name).cloned()
    }

    /// There is nothing to choose: the embedded backend is all that there is.
    pub fn is_simple(&self) -> bool {
        matches!(&self.roster.load().members[..], [only] if only.is_embedded() && !only.has_limits())
    }

    /// Where a new replica of `size` bytes may go, best first.
    pub fn order(&self, meta: &Meta, placement: Placement, size: u64, now: Timestamp) -> Vec<Arc<Member>> {
        let write = Traffic { calls: 1, ingress_bytes: size, egress_bytes: 0 };
        let candidate = |member: &Arc<Member>| Candidate {
            backend: member.id,
            usable: member.is_active(),
            healthy: member.breaker.is_closed(),
            used_up: member.has_limits() && member.used_up(member.count(meta, now), write),
            quota: meta.ledger().quota(Account::Backend(member.id)),
            occupied: meta.ledger().occupied(Account::Backend(member.id)),
        };
        let members = self.members();
        let candidates: Vec<Candidate> = members.iter().map(candidate).collect();
        let ordered = order(placement, &candidates);
        ordered.into_iter().filter_map(|id| self.get(id)).collect()
    }

    /// Counts a replica there that is not what it should be.
    pub fn found_bad(&self, id: BackendId) {
        if let Some(member) = self.get(id) {
            member.bad_found.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn open(
    meta: &Meta,
    embedded: &Arc<Local>,
    known: &[String],
    options: &BackendOptions,
) -> Result<Arc<dyn Backend>, OrderError> {
    match &options.source {
        BackendSource::Embedded => Ok(Arc::clone(embedded) as Arc<dyn Backend>),
        BackendSource::Other(open) => {
            // A disk that is to be used for the first time must be there: only then is it marked, and
            // from then on a directory without the mark is a disk that is not mounted.
            let node = meta.node_id()?;
            let before = Before { node, used: known.contains(&options.name) };
            open.0(&before).map_err(|why| OrderError::Refused(format!("backend \"{}\": {why}", options.name)))
        }
    }
}
