//! What some providers have and others have not: asked beside the calls of the trait.

use super::{S3, remove};
use crate::Location;
use crate::examine::{Report, Step, Verdict};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::BucketVersioningStatus;
use std::time::Instant;
use types::BlobId;

const BODY: &[u8] = b"s3-orchestrator probe";
/// CRC32C of another body.
const WRONG_CRC32C: &str = "AAAAAA==";

impl S3 {
    pub async fn examine(&self, blob: BlobId, report: Report<'_>) {
        let location = self.0.locate(blob, Some("s3-orchestrator-probe/extras"));
        self.conditional_put(&location, report).await;
        self.checksums(&location, report).await;
        self.versioning(report).await;
        // The examiner's own clean-up has said if deletes fail.
        let _ = remove::abandon(&self.0, &location).await;
    }

    /// Nothing depends on it: names are never used twice.
    async fn conditional_put(&self, location: &Location, report: Report<'_>) {
        let begun = Instant::now();
        let put = || {
            let call = self.0.client().put_object().bucket(self.0.bucket()).key(location.as_str());
            call.if_none_match("*").body(ByteStream::from_static(BODY))
        };
        let first = put().send().await;
        let second = put().send().await;
        let (verdict, note) = match (&first, &second) {
            (Ok(_), Err(error)) if status(error) == Some(412) => (Verdict::Works, String::new()),
            (Ok(_), Ok(_)) => (Verdict::Missing, "If-None-Match is ignored".to_owned()),
            (Err(error), _) | (_, Err(error)) => (Verdict::Missing, brief(error)),
        };
        report(Step { name: "conditional put", verdict, took: begun.elapsed(), bytes: 0, note });
    }

    async fn checksums(&self, location: &Location, report: Report<'_>) {
        let begun = Instant::now();
        let right = base64_of(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, BODY));
        let put = |checksum: &str| {
            let call = self.0.client().put_object().bucket(self.0.bucket()).key(location.as_str());
            call.checksum_crc32_c(checksum).body(ByteStream::from_static(BODY)).send()
        };
        let (good, bad) = (put(&right).await, put(WRONG_CRC32C).await);
        let (verdict, note) = match (&good, &bad) {
            (Ok(_), Err(_)) => (Verdict::Works, String::new()),
            (Ok(_), Ok(_)) => (Verdict::Missing, "x-amz-checksum-crc32c is ignored".to_owned()),
            (Err(error), _) => (Verdict::Missing, brief(error)),
        };
        report(Step { name: "checksums", verdict, took: begun.elapsed(), bytes: 0, note });
    }

    /// Where the provider keeps old versions, deleting frees nothing.
    async fn versioning(&self, report: Report<'_>) {
        let begun = Instant::now();
        let answer = self.0.client().get_bucket_versioning().bucket(self.0.bucket()).send().await;
        let (verdict, note) = match &answer {
            Ok(answer) if answer.status() == Some(&BucketVersioningStatus::Enabled) => {
                let note = "the bucket keeps old versions: what is deleted stays, and costs; add a lifecycle rule there";
                (Verdict::Missing, note.to_owned())
            }
            Ok(_) => (Verdict::Works, String::new()),
            Err(error) => (Verdict::Missing, format!("cannot be asked: {}", brief(error))),
        };
        report(Step { name: "deletes free space", verdict, took: begun.elapsed(), bytes: 0, note });
    }
}

type Raw = aws_sdk_s3::config::http::HttpResponse;

fn status<E>(error: &SdkError<E, Raw>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

fn brief<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E, Raw>) -> String {
    super::fault::judge(error).detail
}

fn base64_of(checksum: u64) -> String {
    use base64::Engine as _;
    let low = u32::try_from(checksum & u64::from(u32::MAX)).unwrap_or_default();
    base64::engine::general_purpose::STANDARD.encode(low.to_be_bytes())
}
