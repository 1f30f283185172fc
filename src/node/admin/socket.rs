//! The admin socket: a name in the data directory, for the node's user only.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// The listener; its name goes with it.
pub struct Socket {
    pub listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Takes the name. Whoever holds the store's lock is the only node here, so a socket that is
    /// there already was left by a dead one.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = Short::of(path)?.with(UnixListener::bind)?;
        // The directory may be open to others; the socket is not.
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    UnixStream::connect(short.path()).await
}

/// A socket's address has room for 107 bytes (unix(7)); a path through an open directory is always
/// short enough.
struct Short {
    directory: File,
    name: PathBuf,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { directory: File::open(parent)?, name: name.into() })
    }

    fn path(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string()).join(&self.name)
    }

    fn with<T>(&self, act: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
        act(self.path())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_long_path_and_a_stale_socket_are_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("admin.sock");
        std::mem::forget(std::os::unix::net::UnixListener::bind(dir.path().join("stale")).unwrap());
        std::fs::rename(dir.path().join("stale"), &path).unwrap();
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
        assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
