//! Whose fault an answer of a provider is.

use crate::{BackendError, Fault};
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use std::error::Error;

/// Codes by which providers say that there is no room, or that a cap which the owner has set is
/// used up.
const FULL: &[&str] = &["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "StorageQuotaExceeded"];
const THROTTLED: &[&str] = &[
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "RequestThrottled",
    "BandwidthLimitExceeded",
];
/// Transfers that went wrong on the way: worth another try, although the status is the client's fault.
const TRANSFER: &[&str] = &[
    "RequestTimeout",
    "BadDigest",
    "IncompleteBody",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "OperationAborted",
    "ConditionalRequestConflict",
];
const ABSENT: &[&str] = &["NoSuchKey", "NoSuchUpload", "NotFound"];

pub fn judge<E>(error: &SdkError<E, HttpResponse>) -> BackendError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => new(Fault::Refused, error),
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let (code, message) = (answer.err().code(), answer.err().message());
            let fault = of_answer(status, code.unwrap_or_default(), message.unwrap_or_default());
            let (code, message) = (code.unwrap_or("no code"), message.unwrap_or("no message"));
            BackendError::new(fault, format!("{status} {code}: {message}"))
        }
        _ => new(Fault::Unavailable, error),
    }
}

fn new<E: Error + 'static>(fault: Fault, error: &SdkError<E, HttpResponse>) -> BackendError {
    BackendError::new(fault, DisplayErrorContext(error).to_string())
}

fn of_answer(status: u16, code: &str, message: &str) -> Fault {
    // Backblaze B2 says 403 and explains itself in the message only.
    if status == 507 || FULL.contains(&code) || (status == 403 && message.contains("storage cap exceeded")) {
        return Fault::Full;
    }
    if status == 429 || THROTTLED.contains(&code) || message.contains("cap exceeded") {
        return Fault::Throttled;
    }
    if status >= 500 || TRANSFER.contains(&code) {
        return Fault::Unavailable;
    }
    match status {
        404 if ABSENT.contains(&code) => Fault::Absent,
        // Not an answer of S3: a proxy, or something else at this address.
        404 if code.is_empty() => Fault::Unavailable,
        416 => Fault::Corrupt,
        _ => Fault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_follows_from_the_answer() {
        let cap =
            "Cannot upload files, storage cap exceeded. See the Caps & Alerts page to increase your cap.";
        for (status, code, message, fault) in [
            (404, "NoSuchKey", "", Fault::Absent),
            (404, "NoSuchBucket", "", Fault::Refused),
            (404, "", "", Fault::Unavailable),
            (403, "AccessDenied", "", Fault::Refused),
            (403, "AccessDenied", cap, Fault::Full),
            (503, "SlowDown", "", Fault::Throttled),
            (503, "ServiceUnavailable", "", Fault::Unavailable),
            (500, "InternalError", "", Fault::Unavailable),
            (400, "RequestTimeout", "", Fault::Unavailable),
            (400, "InvalidArgument", "", Fault::Refused),
            (429, "", "", Fault::Throttled),
            (507, "", "", Fault::Full),
            (416, "InvalidRange", "", Fault::Corrupt),
        ] {
            assert_eq!(of_answer(status, code, message), fault, "{status} {code}");
        }
    }
}
