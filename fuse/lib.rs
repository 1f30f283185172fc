//! The file face: a bucket as a directory tree, in the kernel.
//!
//! It shows the same records as the other face, at the same time: whatever was acknowledged there is what the next
//! system call sees here, and the reverse. It never knows HTTP, and keeps nothing that outlives a mount.
//!
//! Start with [`Mount`], then `filesystem.rs` for what requests mean, `dispatch.rs` for where they run, `inode.rs` and `notify.rs` for how the
//! kernel's caches stay right, `names.rs` for keys that are no names.

mod adapter;
mod attr;
mod attributes;
mod backing;
mod caller;
mod content_type;
mod ctimes;
mod debts;
mod directory;
mod dispatch;
mod ended;
mod errno;
mod figures;
mod filesystem;
mod handle;
mod hidden;
mod inode;
mod kernel;
mod listing;
mod mount;
mod mountpoint;
mod names;
mod naming;
mod notify;
mod options;
mod part;
mod pool;
mod remote;
mod reply;
mod staged;
mod writing;
mod xattr;

pub use figures::{Asked, BOUNDS};
pub use hidden::Hidden;
pub use mount::{Mount, Report};
pub use options::Options;
