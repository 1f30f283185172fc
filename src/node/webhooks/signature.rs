//! How a receiver knows that a delivery is ours, whole, and of now.

use hmac::{Hmac, KeyInit as _, Mac as _};
use s3api::Secret;
use sha2::Sha256;
use types::hex::hex;

pub const HEADER: &str = "x-s3o-signature";

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over `SECONDS.BODY`. The time is signed too, so that an old
/// delivery cannot be played again.
pub fn sign(secret: &Secret, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes any key");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_any_other_implementation_signs() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let signed = sign(&Secret::new("secret".to_owned()), 1_700_000_000, b"{}");
        assert_eq!(
            signed,
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }
}
