//! The node and its service manager, which is a socket of the test here (sd_notify(3)).

use crate::place::{Place, SMALL, Serving};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::loopfs::{self, LoopFs};

/// Generous: a test machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// So often a sign of life is due, three times as often one is given.
const WATCHDOG: Duration = Duration::from_millis(900);

struct Manager(UnixDatagram);

impl Manager {
    fn listen(place: &Place) -> Self {
        Self(UnixDatagram::bind(place.path("notify")).expect("a socket"))
    }

    fn serve(&self, place: &Place) -> Serving {
        let socket = place.path("notify");
        let watchdog = WATCHDOG.as_micros().to_string();
        let environment =
            [("NOTIFY_SOCKET", socket.to_str().expect("a path")), ("WATCHDOG_USEC", watchdog.as_str())];
        place.serve_with(&[], &environment)
    }

    /// The next message; `None` if there is none for so long.
    fn next(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).expect("a time limit");
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// The next message with a line that begins so.
    fn hear(&self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(said) = self.next(PATIENCE)
                && said.lines().any(|line| line.starts_with(wanted))
            {
                return said;
            }
        }
        panic!("nobody said {wanted}");
    }

    /// Whether no sign of life came in this time.
    fn is_silent(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if self.next(left).is_some_and(|said| said.contains("WATCHDOG=1")) {
                return false;
            }
        }
        true
    }
}

#[test]
fn the_service_manager_hears_of_start_reload_and_stop() {
    let place = Place::with_config(SMALL);
    let manager = Manager::listen(&place);
    let node = manager.serve(&place);
    let ready = manager.hear("READY=1");
    assert!(ready.contains(&format!("STATUS={}", node.first_line)), "{ready}");
    for text in [SMALL.replace("app1-files", "app2-files"), "this is no configuration".to_owned()] {
        place.write("s3-orchestrator.toml", &text);
        node.signal(Signal::HUP);
        let reloading = manager.hear("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        manager.hear("READY=1");
    }
    node.signal(Signal::TERM);
    manager.hear("STOPPING=1");
    assert_eq!(node.ended().0.code(), Some(0));
}

#[test]
fn a_node_that_works_gives_signs_of_life_in_time() {
    let place = Place::with_config(SMALL);
    let manager = Manager::listen(&place);
    let _node = manager.serve(&place);
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    let begun = Instant::now();
    (0..6).for_each(|_| drop(manager.hear("WATCHDOG=1")));
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    assert!(begun.elapsed() > WATCHDOG, "signs are given without a pause");
}

/// Thawed when dropped: a file system that stays frozen holds up whoever comes near it.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(path: &'a Path) -> Self {
        let frozen = Command::new("fsfreeze").arg("-f").arg(path).status().expect("running fsfreeze");
        assert!(frozen.success(), "fsfreeze: {frozen}");
        Self(path)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(self.0).status();
    }
}

/// The process lives, its threads answer, and no write can end: that is what the watchdog is for.
#[test]
fn a_node_whose_disk_hangs_gives_no_sign_of_life() {
    if let Err(why) = loopfs::availability() {
        return loopfs::skip_loudly("watchdog", &why);
    }
    let place = Place::with_config(SMALL);
    let disk = LoopFs::create(&place.path("."), "disk", 256 << 20, &place.path("data")).expect("a disk");
    let manager = Manager::listen(&place);
    let node = manager.serve(&place);
    manager.hear("WATCHDOG=1");
    {
        let _frozen = Frozen::new(disk.path());
        // What was under way may still have ended.
        std::thread::sleep(WATCHDOG);
        while manager.next(Duration::from_millis(1)).is_some() {}
        assert!(manager.is_silent(WATCHDOG * 3), "a sign of life without a commit");
    }
    manager.hear("WATCHDOG=1");
    node.signal(Signal::TERM);
    assert_eq!(node.ended().0.code(), Some(0));
}
