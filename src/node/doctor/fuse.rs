//! What mounts need: the kernel's device, and the helper that mounts for users other than root.

use super::{Check, Verdict};
use std::fs::File;
use std::path::Path;

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

pub fn check() -> [Check; 2] {
    [device(), helper()]
}

fn device() -> Check {
    const NAME: &str = "fuse-device";
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => Check::good(NAME, format!("{DEVICE} can be used")),
        Err(error) => {
            let message = format!("{DEVICE}: {error}: buckets cannot be mounted");
            let remedy = "only needed for mounts: modprobe fuse; in a container, give it --device /dev/fuse";
            Check::bad(NAME, Verdict::Note, message, remedy)
        }
    }
}

fn helper() -> Check {
    const NAME: &str = "fuse-helper";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(HELPER)).find(|file| file.is_file());
    match found {
        Some(file) => Check::good(NAME, file.display().to_string()),
        None if rustix::process::geteuid().is_root() && Path::new(DEVICE).exists() => {
            Check::good(NAME, format!("{HELPER} is not there, and root does not need it"))
        }
        None => {
            let remedy = "only needed for mounts: install the package fuse3";
            Check::bad(NAME, Verdict::Note, format!("{HELPER} is not in PATH"), remedy)
        }
    }
}
