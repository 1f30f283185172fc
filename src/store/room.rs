//! How much more a bucket can take: what statfs of a mount says.

use meta::Account;
use types::BucketId;

use crate::Store;
use crate::member::Member;

/// What a place that has no end is said to have.
const ENDLESS_BYTES: u64 = 1 << 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub used_bytes: u64,
    pub objects: u64,
    /// The least of what the bucket's quota and the backends leave, for as many copies as the bucket wants.
    pub free_bytes: u64,
}

impl Store {
    /// Asks disks how full they are.
    pub fn room(&self, bucket: BucketId) -> Room {
        let inner = &self.0;
        let (ledger, account) = (inner.meta.ledger(), Account::Bucket(bucket));
        let counters = ledger.counters(account);
        let members = inner.fleet.members();
        let active = members.iter().filter(|member| member.is_active());
        let left: Vec<u64> = active.map(|member| self.room_of(member)).collect();
        let of_backends = whole_copies(&left, inner.policy(Some(bucket)).copies());
        let free_bytes = ledger.left(account).map_or(of_backends, |left| left.min(of_backends));
        Room { used_bytes: counters.bytes, objects: counters.objects, free_bytes }
    }

    fn room_of(&self, member: &Member) -> u64 {
        let inner = &self.0;
        let disk = match member.is_embedded() {
            true => Some(inner.disk.room_for_objects()),
            false => member.backend.free_bytes(),
        };
        let quota = inner.meta.ledger().left(Account::Backend(member.id));
        [disk, quota].into_iter().flatten().fold(ENDLESS_BYTES, u64::min)
    }
}

/// How many bytes fit that lie `copies` times on different ones of these.
fn whole_copies(left: &[u64], copies: usize) -> u64 {
    let copies = copies.clamp(1, left.len().max(1)) as u128;
    let fits = |bytes: u64| {
        let taken: u128 = left.iter().map(|left| u128::from(*left.min(&bytes))).sum();
        taken >= copies * u128::from(bytes)
    };
    let (mut low, mut high) = (0, left.iter().fold(0, |sum: u64, left| sum.saturating_add(*left)));
    // No copy is larger than what is there.
    while low < high {
        let middle = high - (high - low) / 2;
        if copies == 1 || fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_lie_on_different_backends() {
        assert_eq!(whole_copies(&[], 1), 0);
        assert_eq!(whole_copies(&[10], 1), 10);
        assert_eq!(whole_copies(&[10, 5, 0], 1), 15);
        assert_eq!(whole_copies(&[10, 5], 2), 5);
        assert_eq!(whole_copies(&[10, 5, 5], 2), 10);
        assert_eq!(whole_copies(&[100, 5, 5], 2), 10);
        assert_eq!(whole_copies(&[ENDLESS_BYTES, ENDLESS_BYTES], 2), ENDLESS_BYTES);
        // One of two backends is all that there is for now.
        assert_eq!(whole_copies(&[7], 2), 7);
    }
}
