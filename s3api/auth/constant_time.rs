//! Comparison that takes the same time wherever two texts differ.

use subtle::ConstantTimeEq;

/// The length is no secret: every signature of a kind has the same.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}
