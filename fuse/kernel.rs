//! The way to the kernel's caches.

use std::ffi::OsStr;

use fuser::INodeNo;

use crate::notify::Kernel;

pub struct KernelCaches(pub fuser::Notifier);

impl Kernel for KernelCaches {
    fn drop_name(&self, parent: u64, name: &str) {
        report(self.0.inval_entry(INodeNo(parent), OsStr::new(name)));
    }

    fn drop_inode(&self, ino: u64) {
        report(self.0.inval_inode(INodeNo(ino), 0, 0));
    }
}

/// What the kernel does not know it need not drop. Other errors end with the connection.
fn report(told: std::io::Result<()>) {
    if let Err(error) = told {
        tracing::debug!(%error, "the kernel was not told of a change");
    }
}
