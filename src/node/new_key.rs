//! Access keys as AWS makes them.

/// No 0, 1, 8 or 9, as in AWS's ids.
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// No `+`, `/` or quote: a secret that is pasted into a shell or a URL stays one word.
const MIXED: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Lengths that AWS's ids and secrets have, and that some tools expect.
const ID_CHARS: usize = 20;
const SECRET_CHARS: usize = 40;

pub fn access_key_id() -> anyhow::Result<String> {
    Ok(format!("AKID{}", random(UPPER, ID_CHARS - 4)?))
}

pub fn secret_access_key() -> anyhow::Result<String> {
    random(MIXED, SECRET_CHARS)
}

/// `len` characters, each equally likely.
fn random(alphabet: &[u8], len: usize) -> anyhow::Result<String> {
    let mut text = String::with_capacity(len);
    // The largest multiple of the alphabet's size: what lies above would favour its beginning.
    let limit = 256 - 256 % alphabet.len();
    while text.len() < len {
        let mut bytes = [0u8; 64];
        getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
        let fair = bytes.into_iter().map(usize::from).filter(|b| *b < limit);
        let chars = fair.filter_map(|b| alphabet.get(b % alphabet.len()));
        text.extend(chars.take(len - text.len()).map(|b| char::from(*b)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_have_their_length_and_differ() {
        let (a, b) = (secret_access_key().unwrap(), secret_access_key().unwrap());
        assert_eq!((a.len(), b.len(), access_key_id().unwrap().len()), (40, 40, 20));
        assert_ne!(a, b);
    }
}
