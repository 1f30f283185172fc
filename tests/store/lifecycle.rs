//! Objects end when a rule says so, and not a moment after they were written anew.

use std::time::Duration;
use store::{Durability, ExpiryRule, Store, StoreError};
use types::{BucketId, Tags};

use crate::fleet::put;
use crate::rig::{Rig, advance, content, key, runtime};

const DAY: Duration = Duration::from_secs(86_400);

fn rule(prefix: &str, tags: &[(&str, &str)], days: u32) -> ExpiryRule {
    let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ExpiryRule { prefix: prefix.to_owned(), tags, age: DAY * days }
}

async fn expire(store: &Store, bucket: BucketId, rule: &ExpiryRule) -> u64 {
    let (mut removed, mut after) = (0, None);
    loop {
        let step = store.expire_step(bucket, rule, after).await.expect("a step");
        removed += step.removed;
        after = step.next;
        if after.is_none() {
            return removed;
        }
    }
}

async fn is_there(store: &Store, bucket: BucketId, name: &str) -> bool {
    match store.head(bucket, &key(name)).await {
        Ok(_) => true,
        Err(StoreError::NoSuchKey) => false,
        Err(error) => panic!("{error}"),
    }
}

async fn tag(store: &Store, bucket: BucketId, name: &str, value: &str) {
    let tags = Tags::new(vec![("class".to_owned(), value.to_owned())]).expect("tags");
    store.set_tags(bucket, &key(name), tags).await.expect("the object");
}

#[test]
fn prefix_tags_and_age_must_all_fit() {
    let rig = Rig::new(Durability::ProcessCrash);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for name in ["tmp/a", "tmp/b", "tmq", "keep/a"] {
            put(&store, bucket, name, content(1, 100)).await.unwrap();
        }
        tag(&store, bucket, "tmp/b", "precious").await;
        tag(&store, bucket, "keep/a", "temporary").await;
        let by_prefix = rule("tmp/", &[], 2);
        assert_eq!(expire(&store, bucket, &by_prefix).await, 0, "too young");
        advance(DAY * 2);
        put(&store, bucket, "tmp/a", content(2, 100)).await.unwrap();
        assert_eq!(expire(&store, bucket, &by_prefix).await, 1);
        assert!(is_there(&store, bucket, "tmp/a").await, "written anew");
        assert!(!is_there(&store, bucket, "tmp/b").await && is_there(&store, bucket, "tmq").await);
        let by_tag = rule("", &[("class", "temporary")], 2);
        assert_eq!(expire(&store, bucket, &by_tag).await, 1);
        assert!(!is_there(&store, bucket, "keep/a").await);
        advance(DAY * 2);
        assert_eq!(expire(&store, bucket, &rule("", &[], 1)).await, 2, "no prefix is every key");
        assert_eq!(store.bucket_usage(bucket).objects, 0);
        while store.cleanup_pass().await.unwrap().done > 0 {}
        assert_eq!(store.backend_usage().awaiting_bytes, 0);
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}

#[test]
fn a_walk_goes_over_more_than_one_step() {
    let rig = Rig::new(Durability::ProcessCrash);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..2_100 {
            put(&store, bucket, &format!("tmp/{n:04}"), content(1, 1)).await.unwrap();
        }
        advance(DAY);
        let first = store.expire_step(bucket, &rule("tmp/", &[], 1), None).await.unwrap();
        assert_eq!((first.seen, first.removed, first.next.as_deref()), (1000, 1000, Some("tmp/0999")));
        assert_eq!(expire(&store, bucket, &rule("tmp/", &[], 1)).await, 1100);
        assert_eq!(store.bucket_usage(bucket).objects, 0);
    });
}

/// Writers and the walk at the same time: what was acknowledged last is what is there.
#[test]
fn what_is_written_meanwhile_stays() {
    let rig = Rig::new(Durability::ProcessCrash);
    let (store, bucket) = rig.open();
    runtime().block_on(async {
        for n in 0..200 {
            put(&store, bucket, &format!("k{n}"), content(1, 10)).await.unwrap();
        }
        advance(DAY);
        let everything = rule("", &[], 1);
        let writing = async {
            for n in (0..200).step_by(2) {
                put(&store, bucket, &format!("k{n}"), content(2, 20)).await.unwrap();
            }
        };
        let (_, removed) = futures_util::future::join(writing, expire(&store, bucket, &everything)).await;
        assert!(removed >= 100, "{removed}");
        expire(&store, bucket, &everything).await;
        for n in 0..200 {
            assert_eq!(is_there(&store, bucket, &format!("k{n}")).await, n % 2 == 0, "k{n}");
        }
    });
    drop(store);
    assert_eq!(rig.fsck().1, []);
}
