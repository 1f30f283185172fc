//! Random operations against the store and the model. `TESTKIT_SEED` replays a run.

use std::time::{Duration, Instant};
use store::Durability;
use testkit::{Rng, Seed};

use crate::check::{run, shrink};
use crate::op::{Op, draw};

const OPS_PER_RUN: usize = 1200;

/// One run, and more as long as the time lasts.
fn runs(durability: Durability, quota: Option<u64>, time: Duration) {
    let seed = Seed::new();
    let mut chance = seed.rng();
    let begun = Instant::now();
    for round in 0.. {
        if round > 0 && begun.elapsed() > time {
            return println!("{round} runs of {OPS_PER_RUN} operations");
        }
        let mut rng: Rng = chance.fork();
        let ops: Vec<Op> = (0..OPS_PER_RUN).map(|_| draw(&mut rng)).collect();
        let Err((at, why)) = run(durability, quota, &ops) else { continue };
        let failing: Vec<Op> = ops.iter().take(at + 1).copied().collect();
        let shortest = shrink(durability, quota, &failing, Duration::from_secs(30));
        let still = run(durability, quota, &shortest);
        panic!("run {round}, operation {at}: {why}\nthe shortest that fails: {shortest:#?}\nwith {still:?}");
    }
}

#[test]
fn the_store_answers_as_the_model_does() {
    runs(Durability::ProcessCrash, None, Duration::from_secs(12));
}

#[test]
fn also_with_a_quota() {
    runs(Durability::ProcessCrash, Some(24 << 20), Duration::from_secs(6));
}

#[test]
fn also_when_every_commit_is_synced() {
    runs(Durability::PowerLoss, None, Duration::from_secs(3));
}
