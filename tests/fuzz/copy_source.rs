//! `x-amz-copy-source`.
//!
//! Input: the header's value.

use s3api::copy_source;
use s3api::fuzz::percent;

pub fn run(data: &[u8]) {
    let Ok(source) = copy_source::parse(data) else { return };
    let bucket = percent::encode_value(&source.bucket);
    let key = percent::encode_path(source.key.as_str());
    for text in
        [format!("{bucket}/{key}"), format!("/{bucket}/{key}"), format!("{bucket}/{key}?versionId=null")]
    {
        assert_eq!(copy_source::parse(text.as_bytes()).ok().as_ref(), Some(&source), "{text}");
    }
}
