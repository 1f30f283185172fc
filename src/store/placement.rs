//! Which backends a new blob goes to. Pure: it is shown candidates and answers with an order.

use meta::BackendId;
use std::cmp::Ordering;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// In the order of the configuration: one is filled before the next is begun.
    #[default]
    Pack,
    /// The least full first.
    Spread,
}

impl Placement {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pack => "pack",
            Self::Spread => "spread",
        }
    }
}

/// How many replicas must be durable before a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    Replicas(u32),
    All,
}

/// What a bucket asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    pub copies: u32,
    pub acknowledge: Acknowledge,
    pub placement: Placement,
}

impl Default for Policy {
    fn default() -> Self {
        Self { copies: 1, acknowledge: Acknowledge::Replicas(1), placement: Placement::default() }
    }
}

impl Policy {
    pub fn copies(&self) -> usize {
        self.copies.max(1) as usize
    }

    pub fn acknowledge(&self) -> usize {
        match self.acknowledge {
            Acknowledge::Replicas(n) => (n.max(1) as usize).min(self.copies()),
            Acknowledge::All => self.copies(),
        }
    }
}

/// A backend as placement sees it, in the order of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    pub backend: BackendId,
    /// Neither draining nor removed, and there.
    pub usable: bool,
    /// Its circuit is closed.
    pub healthy: bool,
    /// A monthly limit has no room for one more write of this size.
    pub used_up: bool,
    pub quota: Option<u64>,
    pub occupied: u64,
}

/// Where to try, best first. Healthy ones come before those that fail now, which are a last resort:
/// what they lack is found out at once. Room is not looked at here: only a reservation is exact.
pub fn order(placement: Placement, candidates: &[Candidate]) -> Vec<BackendId> {
    let mut usable: Vec<&Candidate> = candidates.iter().filter(|c| c.usable && !c.used_up).collect();
    if placement == Placement::Spread {
        let largest = usable.iter().filter_map(|c| c.quota).max();
        usable.sort_by(|a, b| fuller(a, b, largest));
    }
    usable.sort_by_key(|candidate| !candidate.healthy);
    usable.into_iter().map(|candidate| candidate.backend).collect()
}

/// By ratio; a backend without quota counts as if it had the largest one. Without any quota, by bytes.
fn fuller(a: &Candidate, b: &Candidate, largest: Option<u64>) -> Ordering {
    let Some(largest) = largest else { return a.occupied.cmp(&b.occupied) };
    // a/qa against b/qb without dividing.
    let quota = |c: &Candidate| u128::from(c.quota.unwrap_or(largest).max(1));
    let (left, right) = (u128::from(a.occupied) * quota(b), u128::from(b.occupied) * quota(a));
    left.cmp(&right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: u16, quota: Option<u64>, occupied: u64) -> Candidate {
        Candidate { backend: BackendId(id), usable: true, healthy: true, used_up: false, quota, occupied }
    }

    fn ids(placement: Placement, candidates: &[Candidate]) -> Vec<u16> {
        order(placement, candidates).into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn pack_keeps_the_order_of_the_configuration() {
        let all = [candidate(2, Some(10), 9), candidate(0, None, 0), candidate(1, Some(10), 0)];
        assert_eq!(ids(Placement::Pack, &all), [2, 0, 1]);
    }

    #[test]
    fn spread_takes_the_least_full_by_ratio() {
        let all = [candidate(0, Some(100), 60), candidate(1, Some(1000), 500), candidate(2, Some(10), 7)];
        assert_eq!(ids(Placement::Spread, &all), [1, 0, 2]);
        let unlimited = [candidate(0, None, 7), candidate(1, None, 5), candidate(2, None, 6)];
        assert_eq!(ids(Placement::Spread, &unlimited), [1, 2, 0]);
        let mixed = [candidate(0, None, 500), candidate(1, Some(1000), 400), candidate(2, Some(100), 45)];
        assert_eq!(ids(Placement::Spread, &mixed), [1, 2, 0]);
    }

    #[test]
    fn what_cannot_be_used_is_left_out_and_what_fails_comes_last() {
        let mut all =
            [candidate(0, None, 0), candidate(1, None, 0), candidate(2, None, 0), candidate(3, None, 0)];
        all[0].healthy = false;
        all[1].usable = false;
        all[2].used_up = true;
        assert_eq!(ids(Placement::Pack, &all), [3, 0]);
    }

    #[test]
    fn acknowledge_is_at_most_what_there_will_be() {
        let policy = |copies, acknowledge| Policy { copies, acknowledge, placement: Placement::Pack };
        assert_eq!(policy(2, Acknowledge::All).acknowledge(), 2);
        assert_eq!(policy(2, Acknowledge::Replicas(3)).acknowledge(), 2);
        assert_eq!(policy(0, Acknowledge::Replicas(0)).acknowledge(), 1);
    }
}
