//! Called as `mount.s3-orchestrator`, as mount(8) does for file systems of this type:
//! `mount.s3-orchestrator BUCKET DIR [-sfnv] [-o OPTIONS]`. It is `s3-orchestrator mount` with the node named by options.

use std::ffi::OsString;
use std::path::Path;

const NAME: &str = "mount.s3-orchestrator";
/// They name the node, and are flags of the command.
const FLAGS: [(&str, &str); 3] =
    [("config=", "--config"), ("data_dir=", "--data-dir"), ("socket=", "--socket")];

/// What was meant; `None` under another name.
pub fn translated(arguments: impl IntoIterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut arguments = arguments.into_iter();
    let called = arguments.next()?;
    let mut arguments = arguments.peekable();
    // As the first argument it is as good as a name: where a link cannot be, a script can.
    let by_name = Path::new(&called).file_name()? == NAME;
    if !by_name && arguments.next_if(|first| first == NAME).is_none() {
        return None;
    }
    let mut meant: Vec<OsString> = vec![called, "mount".into()];
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("-o") => meant.extend(options(&arguments.next().unwrap_or_default().to_string_lossy())),
            Some("-t") => drop(arguments.next()),
            // Sloppy, fake, not in mtab, verbose: not for this kind.
            Some("-s" | "-f" | "-n" | "-v") => {}
            _ => meant.push(argument),
        }
    }
    Some(meant)
}

fn options(text: &str) -> Vec<OsString> {
    let mut meant = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let flag = FLAGS.iter().find_map(|(name, flag)| Some((flag, option.strip_prefix(name)?)));
        match flag {
            Some((flag, value)) => meant.extend([(*flag).into(), value.into()]),
            None => meant.extend(["-o".into(), option.into()]),
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        let meant = translated(text.split(' ').map(OsString::from))?;
        Some(meant.into_iter().map(|word| word.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn mount_8_is_understood() {
        let meant = words("/sbin/mount.s3-orchestrator b /m -n -o rw,config=/etc/x.toml,_netdev")
            .map(|w| w.join(" "));
        let expected = "/sbin/mount.s3-orchestrator mount b /m -o rw --config /etc/x.toml -o _netdev";
        assert_eq!(meant.as_deref(), Some(expected));
        let meant = words("/usr/bin/s3-orchestrator mount.s3-orchestrator b /m -o ro").map(|w| w.join(" "));
        assert_eq!(meant.as_deref(), Some("/usr/bin/s3-orchestrator mount b /m -o ro"));
        assert_eq!(words("/usr/bin/s3-orchestrator mount b /m"), None);
    }
}
