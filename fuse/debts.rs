//! Files that were closed with nothing in them, and that nobody has asked for.
//!
//! A shell and `touch` close a handle before they write to its copy, so such a file is not committed at
//! once: `echo x > f` must not show an empty file first. It is committed when its last handle goes, or
//! before anybody reads over the other face.

use std::sync::{Arc, Weak};
use store::Gate;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::filesystem::FileSystem;

pub struct Debts {
    pub fs: Weak<FileSystem>,
    pub runtime: Handle,
}

impl Gate for Debts {
    fn passed(&self) -> Option<oneshot::Receiver<()>> {
        None
    }

    fn owed(&self) -> Option<oneshot::Receiver<()>> {
        let fs = self.fs.upgrade()?;
        let (sender, receiver) = oneshot::channel();
        self.runtime.spawn(async move {
            fs.commit_closed().await;
            // Whoever waited may be gone.
            let _ = sender.send(());
        });
        Some(receiver)
    }
}

impl FileSystem {
    async fn commit_closed(self: Arc<Self>) {
        let all = self.inodes.lock().all_staged();
        for staged in all {
            let is_owed = {
                let state = staged.state();
                state.closed && !state.written && !state.committed
            };
            // An error is heard by whoever closes it last.
            if is_owed && let Err(error) = self.commit(&staged, self.asker(true)).await {
                tracing::warn!(%error, "an empty file was not committed");
            }
        }
    }
}
