//! What a store remembers of a bucket.

use std::time::Duration;
use store::{BucketOptions, Durability};
use types::BucketName;

use crate::rig::{Rig, advance, now};

fn name(text: &str) -> BucketName {
    BucketName::new(text).unwrap()
}

/// A bucket is as old as the day when it was first configured, whatever was before or comes after.
#[test]
fn its_creation_is_remembered() {
    let mut rig = Rig::new(Durability::ProcessCrash);
    let first = now();
    drop(rig.open());
    advance(Duration::from_secs(60));
    rig.options.buckets.push(BucketOptions { name: name("second"), quota: None });
    let second = now();
    for _ in 0..2 {
        let (store, _) = rig.open();
        assert_eq!(store.bucket_created(&name("bucket")), Some(first));
        assert_eq!(store.bucket_created(&name("second")), Some(second));
        assert_eq!(store.bucket_created(&name("third")), None);
        advance(Duration::from_secs(60));
    }
}
