//! What the service manager is told, where there is one (sd_notify(3)): systemd with `Type=notify`, or
//! whoever else gave the node a NOTIFY_SOCKET.

use sd_notify::NotifyState;
use std::time::Duration;

/// Somebody started the node who listens to what it says of itself.
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// The node answers.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// The node works, at this moment.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long the service manager waits for the next sign of life; `None`: it does not.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}

/// A reload that is going on; over, well or not, when this is dropped.
pub struct Reloading(());

impl Reloading {
    pub fn begin() -> Self {
        // Newer versions want to know since when.
        let since = NotifyState::monotonic_usec_now().ok();
        let states: Vec<_> = [NotifyState::Reloading].into_iter().chain(since).collect();
        tell(&states);
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// A node whose manager does not listen works all the same.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
