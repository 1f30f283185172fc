//! `s3-orchestrator mount`: a bucket as a directory, by the running node.

use super::{Ask, Global, Run, Trouble};
use crate::admin::mount::Request;
use crate::admin::mounts::Mount;
use crate::config;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// At boot a node may still be starting.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Have the running node mount a bucket, until `umount` or the node's end.
///
/// Mounts that are to come again with the node belong in [[mounts]] of the configuration, or in fstab.
#[derive(Debug, clap::Args)]
pub struct MountArgs {
    /// The bucket's name.
    #[arg(value_name = "BUCKET")]
    bucket: String,
    /// The directory to mount on.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// ro (the default) or rw, allow_other, nonempty, uid=N, gid=N, file_mode=0644, dir_mode=0755, prefix=PATH,
    /// wait=SECONDS for a node that is still starting; separated by commas.
    #[arg(short, value_name = "OPTIONS", value_delimiter = ',')]
    options: Vec<String>,
    #[command(flatten)]
    ask: Ask,
}

impl Run for MountArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        let mut request = new_request(&self.bucket, &self.dir)?;
        let mut wait = Duration::ZERO;
        for option in &self.options {
            match option.strip_prefix("wait=") {
                Some(seconds) => {
                    wait = Duration::from_secs(id(option, seconds).map_err(anyhow::Error::msg)?.into())
                }
                None => apply(&mut request, option).map_err(anyhow::Error::msg)?,
            }
        }
        let until = Instant::now() + wait;
        loop {
            let shown = self.ask.show("mount", &request, text);
            let nobody = |error: &anyhow::Error| matches!(error.downcast_ref(), Some(Trouble::NoNode(..)));
            if !shown.as_ref().is_err_and(nobody) || Instant::now() >= until {
                return shown;
            }
            std::thread::sleep(ASK_AGAIN);
        }
    }
}

fn new_request(bucket: &str, dir: &Path) -> anyhow::Result<Request> {
    Ok(Request {
        bucket: bucket.to_owned(),
        path: std::path::absolute(dir)?,
        prefix: String::new(),
        read_only: true,
        nonempty: false,
        allow_other: false,
        uid: None,
        gid: None,
        file_mode: None,
        dir_mode: None,
    })
}

fn apply(request: &mut Request, option: &str) -> Result<(), String> {
    let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
    match (name, value) {
        ("ro", None) => request.read_only = true,
        ("rw", None) => request.read_only = false,
        ("allow_other", None) => request.allow_other = true,
        ("nonempty", None) => request.nonempty = true,
        ("prefix", Some(prefix)) => request.prefix = prefix.to_owned(),
        ("uid", Some(number)) => request.uid = Some(id(option, number)?),
        ("gid", Some(number)) => request.gid = Some(id(option, number)?),
        ("file_mode", Some(mode)) => request.file_mode = Some(octal(option, mode)?),
        ("dir_mode", Some(mode)) => request.dir_mode = Some(octal(option, mode)?),
        _ if is_for_others(name) => {}
        _ => return Err(format!("\"{option}\" is not an option of a mount")),
    }
    Ok(())
}

/// What every mount of this kind is anyway, and what is meant for mount(8) and systemd.
fn is_for_others(name: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "nosuid", "nodev",
        "noatime", "exec",
    ];
    KNOWN.contains(&name) || name.starts_with("x-") || name.starts_with("comment")
}

fn id(option: &str, text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{option}: a number is wanted"))
}

fn octal(option: &str, text: &str) -> Result<u32, String> {
    config::check_mode(text).ok_or_else(|| format!("{option}: an octal mode is wanted, such as 0644"))
}

fn text(mount: &Mount) -> String {
    let mode = if mount.read_only { "read-only" } else { "writable" };
    let (bucket, path) = (super::mounts::source(mount), mount.path.display());
    format!("{bucket} is mounted on {path}, {mode}, until it is unmounted or the node stops\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(options: &[&str]) -> Result<Request, String> {
        let mut request = new_request("b", Path::new("/m")).unwrap();
        options.iter().try_for_each(|option| apply(&mut request, option)).map(|()| request)
    }

    #[test]
    fn options_are_those_of_the_manual() {
        let request =
            with(&["rw", "uid=7", "file_mode=0640", "prefix=a/b", "_netdev", "x-systemd.automount"]);
        let request = request.unwrap();
        assert_eq!((request.read_only, request.uid, request.file_mode), (false, Some(7), Some(0o640)));
        assert_eq!(request.prefix, "a/b");
        for bad in ["rx", "uid", "uid=x", "file_mode=999", "ro=1", ""] {
            assert!(with(&[bad]).is_err(), "{bad}");
        }
    }
}
