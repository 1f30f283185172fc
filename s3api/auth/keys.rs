//! Signing keys of version 4, kept because deriving one costs four HMACs.
//!
//! A key is good for one credential, day and region. Anybody can ask for any region, so the cache is
//! bounded: filling it on purpose costs others the derivation, about two microseconds, and nothing
//! else.

use super::constant_time;
use super::scope::Scope;
use crate::options::{Credential, Secret};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// Both generations together hold at most this many keys, a few hundred bytes each.
const MAX_KEYS: usize = 1024;
/// Longer credentials are derived anew each time, so that an entry has a bound too.
const MAX_CACHED_CREDENTIAL_BYTES: usize = 256;

/// Stands in for the secret of a key nobody has, so that a refusal takes the same work.
static NOBODY: LazyLock<Secret> = LazyLock::new(|| Secret::new("0".repeat(40)));

/// Signs for one credential, day and region.
#[derive(Clone)]
pub struct SigningKey(Arc<Zeroizing<[u8; 32]>>);

impl SigningKey {
    fn derive(secret: &str, scope: &Scope<'_>) -> Self {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(scope.midnight);
        let derived = aws_sigv4::sign::v4::generate_signing_key(secret, time, scope.region, "s3");
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(derived.as_ref());
        Self(Arc::new(key))
    }

    /// In lower-case hex.
    pub fn sign(&self, text: &[u8]) -> String {
        aws_sigv4::sign::v4::calculate_signature(self.0.as_slice(), text)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

struct Entry {
    /// A changed secret makes the entry stale.
    secret: Secret,
    key: SigningKey,
}

/// Two generations: when the young one is full it becomes the old one, and the old one goes.
#[derive(Default)]
struct Generations {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
}

/// The derived keys of all credentials.
#[derive(Default)]
pub struct SigningKeys(RwLock<Generations>);

impl SigningKeys {
    pub fn new() -> Self {
        Self::default()
    }

    /// The key of a credential, or for an unknown one a key that signs for nobody.
    pub(super) fn get(&self, credential: Option<&Credential>, scope: &Scope<'_>) -> SigningKey {
        match credential {
            Some(credential) => self.cached(scope.text, &credential.secret, scope),
            // One entry a scope for all unknown keys: without a name, which no credential has.
            None => self.cached(&format!("/{}", scope.scope), &NOBODY, scope),
        }
    }

    fn cached(&self, name: &str, secret: &Secret, scope: &Scope<'_>) -> SigningKey {
        if let Some(key) = self.0.read().young.get(name).and_then(|entry| entry.key_for(secret)) {
            return key;
        }
        let kept = self.0.read().old.get(name).and_then(|entry| entry.key_for(secret));
        let key = kept.unwrap_or_else(|| SigningKey::derive(secret.expose(), scope));
        if name.len() <= MAX_CACHED_CREDENTIAL_BYTES {
            self.keep(name, Entry { secret: secret.clone(), key: key.clone() });
        }
        key
    }

    fn keep(&self, name: &str, entry: Entry) {
        let mut generations = self.0.write();
        if generations.young.len() >= MAX_KEYS / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(name.to_owned(), entry);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.0.read();
        generations.young.len() + generations.old.len()
    }
}

impl Entry {
    fn key_for(&self, secret: &Secret) -> Option<SigningKey> {
        let same = constant_time::equal(self.secret.expose().as_bytes(), secret.expose().as_bytes());
        same.then(|| self.key.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::testing;

    fn sign(keys: &SigningKeys, credential: Option<&Credential>, text: &str) -> String {
        keys.get(credential, &Scope::parse(text).unwrap()).sign(b"x")
    }

    /// The documented example of key derivation.
    #[test]
    fn a_key_is_derived_as_aws_documents_it() {
        let scope = Scope::parse("AKIDEXAMPLE/20130524/us-east-1/s3/aws4_request").unwrap();
        let key = SigningKey::derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope);
        let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        assert_eq!(
            key.sign(text.as_bytes()),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn a_changed_secret_makes_a_changed_key() {
        let keys = SigningKeys::new();
        let mut credential = testing::credential();
        let text = format!("{}/20261124/eu/s3/aws4_request", credential.access_key_id);
        let before = sign(&keys, Some(&credential), &text);
        assert_eq!(before, sign(&keys, Some(&credential), &text));
        credential.secret = Secret::new("another".into());
        assert_ne!(before, sign(&keys, Some(&credential), &text));
        assert_ne!(before, sign(&keys, None, &text));
    }

    #[test]
    fn the_cache_is_bounded() {
        let keys = SigningKeys::new();
        let credential = testing::credential();
        for n in 0..3000 {
            sign(&keys, Some(&credential), &format!("A/20261124/r{n}/s3/aws4_request"));
        }
        sign(&keys, None, &format!("A/20261124/{}/s3/aws4_request", "r".repeat(1000)));
        assert!(keys.len() <= MAX_KEYS);
    }
}
