//! Random operations against the store and the model. `TESTKIT_SEED` replays a run.

use std::time::Duration;
use store::Durability;
use testkit::{Rng, Seed};

use crate::check::{run, shrink};
use crate::op::{Op, draw};

const OPS_PER_RUN: usize = 1500;

fn rounds(durability: Durability, quota: Option<u64>, runs: usize) {
    let seed = Seed::new();
    let mut chance = seed.rng();
    for round in 0..runs {
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
    rounds(Durability::ProcessCrash, None, 7);
}

#[test]
fn also_when_the_next_run_has_other_luck() {
    rounds(Durability::ProcessCrash, None, 7);
}

#[test]
fn also_with_a_quota() {
    rounds(Durability::ProcessCrash, Some(24 << 20), 3);
}

#[test]
fn also_when_every_commit_is_synced() {
    rounds(Durability::PowerLoss, None, 1);
}
