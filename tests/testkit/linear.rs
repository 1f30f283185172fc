//! Is a history of one key that of one register? The checker of Wing and Gong, with Lowe's memory of what was tried.
//!
//! Wing, Gong: "Testing and Verifying Concurrent Objects", 1993; Lowe: "Testing for linearizability", 2017. A key is
//! checked by itself: linearizability is local (Herlihy, Wing 1990), and histories of one key stay small. An operation
//! without an answer may have happened at any time after its call, or never.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a key holds; no two writes of a history write the same.
pub type Value = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Read,
    Put(Value),
    /// `If-None-Match: *`
    PutIfAbsent(Value),
    /// `If-Match` with the ETag of `expected`
    PutIfMatch {
        expected: Value,
        new: Value,
    },
    Delete,
    DeleteIfMatch {
        expected: Value,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A write or delete that was acknowledged.
    Done,
    /// A read: this value.
    Found(Value),
    /// A read: no such key.
    Absent,
    /// A precondition that did not hold.
    Refused,
    /// No answer.
    Unknown,
}

#[derive(Debug, Clone, Copy)]
pub struct Operation {
    pub client: usize,
    pub op: Op,
    pub outcome: Outcome,
    pub called: u64,
    /// `u64::MAX` where no answer came.
    pub returned: u64,
}

/// Collects the history of one key from many clients.
#[derive(Debug, Default)]
pub struct History {
    clock: AtomicU64,
    operations: Mutex<Vec<Operation>>,
}

impl History {
    /// To be called right before the request is sent.
    pub fn call(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// To be called right after the answer came.
    pub fn answered(&self, client: usize, called: u64, op: Op, outcome: Outcome) {
        let now = self.clock.fetch_add(1, Ordering::SeqCst);
        let returned = if outcome == Outcome::Unknown { u64::MAX } else { now };
        let operation = Operation { client, op, outcome, called, returned };
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Linearizable,
    /// No order explains the history; the text shows how far the longest attempt came.
    Violation(String),
    /// Too much to try; nothing is said either way.
    GaveUp,
}

/// Configurations to try before giving up: some seconds.
const BUDGET: usize = 2_000_000;

struct Attempt {
    taken: Box<[u64]>,
    count: usize,
    /// All before this one are taken.
    first: usize,
    state: Option<Value>,
}

impl Attempt {
    fn has(&self, index: usize) -> bool {
        self.taken.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn take(&mut self, index: usize, state: Option<Value>) {
        if let Some(word) = self.taken.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
        self.count += 1;
        self.state = state;
        while self.has(self.first) {
            self.first += 1;
        }
    }

    fn with(&self, index: usize, state: Option<Value>) -> Attempt {
        let mut next = Attempt { taken: self.taken.clone(), ..*self };
        next.take(index, state);
        next
    }
}

/// Checks the history of one key that began with `initial`.
pub fn check(history: &[Operation], initial: Option<Value>) -> Verdict {
    let operations = relevant(history);
    let words = operations.len().div_ceil(64);
    let begin = Attempt { taken: vec![0; words].into_boxed_slice(), count: 0, first: 0, state: initial };
    let mut tried: HashSet<(Box<[u64]>, Option<Value>)> = HashSet::new();
    let mut furthest = (0, String::new());
    let mut open = vec![begin];
    while let Some(mut attempt) = open.pop() {
        let candidates = settle(&operations, &mut attempt);
        if !operations.iter().enumerate().any(|(i, op)| op.returned != u64::MAX && !attempt.has(i)) {
            return Verdict::Linearizable;
        }
        if !tried.insert((attempt.taken.clone(), attempt.state)) {
            continue;
        }
        if tried.len() > BUDGET {
            return Verdict::GaveUp;
        }
        if attempt.count >= furthest.0 {
            furthest = (attempt.count, explain(&operations, &attempt, &candidates));
        }
        for index in candidates {
            if let Some(state) = operations.get(index).and_then(|op| apply(op, attempt.state)) {
                open.push(attempt.with(index, state));
            }
        }
    }
    Verdict::Violation(furthest.1)
}

/// By time of call, without what says nothing: reads that were not answered.
fn relevant(history: &[Operation]) -> Vec<Operation> {
    let silent = |op: &&Operation| !(op.op == Op::Read && op.outcome == Outcome::Unknown);
    let mut operations: Vec<Operation> = history.iter().filter(silent).copied().collect();
    operations.sort_by_key(|op| op.called);
    operations
}

/// Takes all that fits and changes nothing (trying such an operation later can never be better), and returns what
/// may come next.
fn settle(operations: &[Operation], attempt: &mut Attempt) -> Vec<usize> {
    loop {
        let candidates = candidates(operations, attempt);
        let fits = |index: &&usize| {
            operations
                .get(**index)
                .is_some_and(|op| reads(op) && apply(op, attempt.state) == Some(attempt.state))
        };
        let Some(index) = candidates.iter().find(fits).copied() else {
            return candidates;
        };
        attempt.take(index, attempt.state);
    }
}

fn reads(op: &Operation) -> bool {
    op.op == Op::Read || op.outcome == Outcome::Refused
}

/// Whatever was called before the first of the open operations returned.
fn candidates(operations: &[Operation], attempt: &Attempt) -> Vec<usize> {
    let mut bound = u64::MAX;
    let mut found = Vec::new();
    for (index, op) in operations.iter().enumerate().skip(attempt.first) {
        if op.called > bound {
            break;
        }
        if !attempt.has(index) {
            bound = bound.min(op.returned);
            found.push(index);
        }
    }
    found.retain(|index| operations.get(*index).is_some_and(|op| op.called < bound));
    found
}

/// The state after the operation, if its outcome is possible in `state`.
fn apply(op: &Operation, state: Option<Value>) -> Option<Option<Value>> {
    let holds = match op.op {
        Op::Read | Op::Put(_) | Op::Delete => true,
        Op::PutIfAbsent(_) => state.is_none(),
        Op::PutIfMatch { expected, .. } | Op::DeleteIfMatch { expected } => state == Some(expected),
    };
    let after = match op.op {
        Op::Read => state,
        Op::Put(new) | Op::PutIfAbsent(new) | Op::PutIfMatch { new, .. } => Some(new),
        Op::Delete | Op::DeleteIfMatch { .. } => None,
    };
    match (op.outcome, op.op) {
        (Outcome::Found(value), Op::Read) => (state == Some(value)).then_some(state),
        (Outcome::Absent, Op::Read) => state.is_none().then_some(state),
        (Outcome::Done | Outcome::Unknown, op) if op != Op::Read => holds.then_some(after),
        (Outcome::Refused, _) => (!holds).then_some(state),
        _ => None,
    }
}

fn explain(operations: &[Operation], attempt: &Attempt, candidates: &[usize]) -> String {
    let mut out = format!(
        "{} of {} operations fit an order, the key then holds {:?}; none of these can be next:",
        attempt.count,
        operations.len(),
        attempt.state
    );
    for op in candidates.iter().filter_map(|index| operations.get(*index)) {
        let _ = write!(out, "\n  {op:?}");
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Rng;
    use Outcome::*;

    fn op(called: u64, returned: u64, op: Op, outcome: Outcome) -> Operation {
        let returned = if outcome == Unknown { u64::MAX } else { returned };
        Operation { client: 0, op, outcome, called, returned }
    }

    fn good(history: &[Operation]) {
        assert_eq!(check(history, None), Verdict::Linearizable);
    }

    fn bad(history: &[Operation]) {
        assert!(matches!(check(history, None), Verdict::Violation(_)), "{history:?}");
    }

    #[test]
    fn sequences() {
        good(&[]);
        good(&[
            op(0, 1, Op::Put(1), Done),
            op(2, 3, Op::Read, Found(1)),
            op(4, 5, Op::Delete, Done),
            op(6, 7, Op::Read, Absent),
        ]);
        bad(&[op(0, 1, Op::Put(1), Done), op(2, 3, Op::Read, Absent)]);
        bad(&[op(0, 1, Op::Put(1), Done), op(2, 3, Op::Put(2), Done), op(4, 5, Op::Read, Found(1))]);
        bad(&[op(0, 1, Op::Put(1), Done), op(2, 3, Op::Delete, Done), op(4, 5, Op::Read, Found(1))]);
        bad(&[op(0, 1, Op::Read, Found(9))]);
    }

    #[test]
    fn overlaps_may_go_either_way_but_not_both() {
        let puts = [op(0, 9, Op::Put(1), Done), op(1, 8, Op::Put(2), Done)];
        for value in [1, 2] {
            good(&[puts[0], puts[1], op(10, 11, Op::Read, Found(value))]);
        }
        bad(&[puts[0], puts[1], op(10, 11, Op::Read, Found(1)), op(12, 13, Op::Read, Found(2))]);
    }

    #[test]
    fn two_winners_of_a_race_for_an_absent_key() {
        let first = op(0, 9, Op::PutIfAbsent(1), Done);
        good(&[first, op(1, 8, Op::PutIfAbsent(2), Refused)]);
        bad(&[first, op(1, 8, Op::PutIfAbsent(2), Done)]);
        bad(&[op(0, 9, Op::PutIfAbsent(1), Refused), op(1, 8, Op::PutIfAbsent(2), Refused)]);
    }

    #[test]
    fn lost_update_by_if_match() {
        let base = op(0, 1, Op::Put(1), Done);
        let swap = |new, outcome| op(2, 9, Op::PutIfMatch { expected: 1, new }, outcome);
        good(&[base, swap(2, Done), swap(3, Refused)]);
        bad(&[base, swap(2, Done), swap(3, Done)]);
        bad(&[base, op(2, 3, Op::DeleteIfMatch { expected: 1 }, Refused)]);
        good(&[base, op(2, 3, Op::DeleteIfMatch { expected: 1 }, Done), op(4, 5, Op::Read, Absent)]);
    }

    #[test]
    fn unknown_outcomes_happen_late_or_never_but_once() {
        let unknown = op(0, 0, Op::Put(1), Unknown);
        let put = op(1, 2, Op::Put(2), Done);
        let read = |at, value| op(at, at + 1, Op::Read, Found(value));
        good(&[unknown, put, read(3, 2)]);
        good(&[unknown, put, read(3, 2), read(5, 1)]);
        bad(&[unknown, put, read(3, 1), read(5, 2), read(7, 1)]);
        bad(&[put, read(3, 1), op(10, 0, Op::Put(1), Unknown)]);
    }

    /// A register that is right, its operations stretched around the moment when they took place.
    fn simulate(rng: &mut Rng, clients: usize, each: usize, unknown_percent: u64) -> Vec<Operation> {
        let (mut state, mut history, mut value) = (None, Vec::new(), 0);
        let mut free = vec![0; clients];
        for moment in 0..(clients * each) as u64 {
            let at = (moment + 1) * 100;
            let client = (0..clients).min_by_key(|c| free[*c]).unwrap();
            value += 1;
            let expected = state.unwrap_or(0);
            let what = match rng.below(6) {
                0 | 1 => Op::Read,
                2 => Op::Put(value),
                3 => Op::PutIfAbsent(value),
                4 => {
                    Op::PutIfMatch { expected: if rng.chance(50) { expected } else { value / 2 }, new: value }
                }
                _ => Op::Delete,
            };
            let done = match what {
                Op::Read => Operation {
                    client,
                    op: what,
                    outcome: state.map_or(Absent, Found),
                    called: 0,
                    returned: 0,
                },
                _ => Operation { client, op: what, outcome: Done, called: 0, returned: 0 },
            };
            let outcome = match apply(&done, state) {
                Some(after) => {
                    state = after;
                    done.outcome
                }
                None => Refused,
            };
            let called = (at - rng.below(600).min(at)).max(free[client] + 1).min(at);
            let outcome = if rng.chance(unknown_percent) { Unknown } else { outcome };
            let returned = at + rng.below(600);
            free[client] = returned;
            history.push(Operation { client, ..op(called, returned, what, outcome) });
        }
        history
    }

    #[test]
    fn right_registers_pass() {
        for seed in 0..40 {
            let history = simulate(&mut Rng::new(seed), 8, 50, seed % 3);
            assert_eq!(check(&history, None), Verdict::Linearizable, "seed {seed}");
        }
    }

    #[test]
    fn planted_stale_reads_are_found() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let mut history = simulate(&mut rng, 8, 50, 1);
            let old = history.iter().find_map(|op| match op.op {
                Op::Put(value) if op.outcome == Done => Some(value),
                _ => None,
            });
            let end = 1_000_000;
            history.push(op(end, end + 1, Op::Put(777_777), Done));
            history.push(op(end + 2, end + 3, Op::Read, Found(old.unwrap())));
            assert!(matches!(check(&history, None), Verdict::Violation(_)), "seed {seed}");
        }
    }
}
