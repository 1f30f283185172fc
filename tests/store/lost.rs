//! Objects of which no copy can be read: found, told from those that are only out of reach, given up on order.

use backend::{Backend as _, Call, Fault, Trouble};
use std::time::Duration;
use store::{Acknowledge, Fate, Placement, Store, StoreError};
use types::BucketId;

use crate::fleet::{Troubled, audit, get, policy, put, rig, settle};
use crate::rig::{Rig, advance, content, runtime};

const LARGE: u64 = 300_000;

fn two(copies: u32) -> (Troubled, Troubled, Rig) {
    let (a, b) = (Troubled::new("a"), Troubled::new("b"));
    let rig = rig(vec![a.options(), b.options()], policy(copies, Acknowledge::All, Placement::Pack));
    (a, b, rig)
}

async fn look(store: &Store, bucket: BucketId, forget: bool) -> Vec<(String, Fate)> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let step = store.lost_step(bucket, after, forget).await.unwrap();
        found.extend(step.found.into_iter().map(|found| (found.key, found.fate)));
        match step.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

fn of(names: &[&str], fate: Fate) -> Vec<(String, Fate)> {
    names.iter().map(|name| ((*name).to_owned(), fate)).collect()
}

/// Takes away what a backend has, behind everybody's back.
async fn wipe(on: &Troubled) {
    let all: Vec<_> = on.locations().await.into_iter().map(backend::Location::new).collect();
    on.backend.inner().remove(&all).await.unwrap();
}

#[test]
fn what_has_no_copy_anywhere_is_listed_and_given_up_on_order_only() {
    let (a, b, rig) = two(2);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..3 {
            put(&store, bucket, &format!("gone{n}"), content(n, LARGE + n)).await.unwrap();
        }
        wipe(&a).await;
        wipe(&b).await;
        put(&store, bucket, "kept", content(9, LARGE)).await.unwrap();
        assert_eq!(look(&store, bucket, false).await, [], "nobody has noticed yet");
        for n in 0..3 {
            let failed = get(&store, bucket, &format!("gone{n}")).await;
            assert!(matches!(failed, Err(StoreError::Corrupt(_) | StoreError::Unavailable(_))), "{failed:?}");
        }
        settle(&store).await;
        let names = ["gone0", "gone1", "gone2"];
        assert_eq!(look(&store, bucket, false).await, of(&names, Fate::Lost));
        assert!(
            !matches!(get(&store, bucket, "gone0").await, Err(StoreError::NoSuchKey)),
            "it stays on record"
        );
        // Written anew, it is not lost any more.
        put(&store, bucket, "gone1", content(8, LARGE)).await.unwrap();
        assert_eq!(look(&store, bucket, true).await, of(&["gone0", "gone2"], Fate::Forgotten));
        assert!(matches!(get(&store, bucket, "gone0").await, Err(StoreError::NoSuchKey)));
        assert_eq!(look(&store, bucket, true).await, []);
        assert!(get(&store, bucket, "kept").await.unwrap() == content(9, LARGE));
        assert!(get(&store, bucket, "gone1").await.unwrap() == content(8, LARGE));
        advance(Duration::from_secs(3600));
        settle(&store).await;
        assert_eq!((a.locations().await.len(), b.locations().await.len()), (2, 2));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_copy_that_is_good_after_all_or_out_of_reach_saves_its_object() {
    let (a, b, rig) = two(2);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "k", content(1, LARGE)).await.unwrap();
        a.script.always(Call::Next, Trouble::WrongByte);
        b.script.always(Call::Next, Trouble::WrongByte);
        assert!(matches!(get(&store, bucket, "k").await, Err(StoreError::Corrupt(_))));
        assert_eq!(look(&store, bucket, false).await, of(&["k"], Fate::Lost));
        b.script.clear();
        b.script.down(Trouble::Fail(Fault::Unavailable));
        assert_eq!(look(&store, bucket, true).await, of(&["k"], Fate::Unjudged));
        b.script.clear();
        store.trust_backend("b");
        assert_eq!(look(&store, bucket, true).await, [], "the way was bad, not the bytes");
        a.script.clear();
        assert!(get(&store, bucket, "k").await.unwrap() == content(1, LARGE));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn what_was_only_on_a_backend_that_is_gone_for_good_is_given_up_and_the_backend_is_out() {
    let (a, b, mut rig) = two(1);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        put(&store, bucket, "gone", content(1, LARGE)).await.unwrap();
        a.script.down(Trouble::Fail(Fault::Unavailable));
        put(&store, bucket, "kept", content(2, LARGE)).await.unwrap();
        let forgotten = store.forget_backend("a").await.unwrap();
        assert_eq!((forgotten.only_copies, forgotten.lost.len()), (1, 1));
        store.close().await;
    });
    drop(store);
    // Its section leaves the configuration.
    rig.options.backends = vec![b.options()];
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        audit(&store).await;
        assert_eq!(look(&store, bucket, false).await, of(&["gone"], Fate::Lost));
        assert_eq!(look(&store, bucket, true).await, of(&["gone"], Fate::Forgotten));
        settle(&store).await;
        assert_eq!(store.cleanup_queue(10).await.unwrap().len(), 0, "nothing waits for what is gone");
        assert_eq!(store.forget_backend("a").await.unwrap().only_copies, 0);
        assert!(get(&store, bucket, "kept").await.unwrap() == content(2, LARGE));
        store.close().await;
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
