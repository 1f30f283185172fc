//! What one pass of cleanup may delete on each backend, so that it keeps to the calls that it may make there.

use meta::{BackendId, CleanupTask, Place, Target};
use std::collections::HashMap;
use std::time::Duration;

use crate::Inner;

/// A pass does what may be called for within this time. The rest stays on the queue, untried.
pub const SLICE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Allowance {
    shares: HashMap<BackendId, Share>,
    refused: bool,
}

#[derive(Default)]
struct Share {
    calls: u64,
    whole: usize,
    unfinished: usize,
}

impl Allowance {
    /// Whether these may be deleted as well; then they are counted. One on each backend always may.
    pub fn admits(&mut self, inner: &Inner, task: &CleanupTask, targets: &[Target]) -> bool {
        let whole = task.is_whole();
        let files = || targets.iter().filter(|target| target.place != Place::Inline);
        let fits = files().all(|target| self.fits(inner, target.backend, whole));
        self.refused |= !fits;
        for target in files().filter(|_| fits) {
            let share = self.shares.entry(target.backend).or_default();
            *(if whole { &mut share.whole } else { &mut share.unfinished }) += 1;
        }
        fits
    }

    /// Something was left for the next pass.
    pub fn has_refused(&self) -> bool {
        self.refused
    }

    fn fits(&mut self, inner: &Inner, backend: BackendId, whole: bool) -> bool {
        // What is not configured is not called.
        let Some(member) = inner.fleet.get(backend) else { return true };
        let new = || Share { calls: member.calls_within(SLICE), ..Share::default() };
        let share = self.shares.entry(backend).or_insert_with(new);
        let (wholes, unfinished) = (share.whole + usize::from(whole), share.unfinished + usize::from(!whole));
        wholes + unfinished == 1 || member.calls_to_delete(wholes, unfinished) <= share.calls
    }
}
