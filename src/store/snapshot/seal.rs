//! Text that says at its end what it is: half of it is none.

use sha2::{Digest as _, Sha256};
use types::hex::hex;

/// `text` ends with a line.
pub fn seal(mut text: String) -> String {
    let end = hex(&Sha256::digest(text.as_bytes()));
    text.push_str(&format!("end {end}\n"));
    text
}

/// What was sealed; `None`: it is not whole.
pub fn unseal(text: &str) -> Option<&str> {
    let (body, end) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = text.get(..=body.len())?;
    (end.strip_prefix("end ")? == hex(&Sha256::digest(body.as_bytes()))).then_some(body)
}
