//! Who makes a request.

/// The process of a thread that the kernel names; the thread itself where that cannot be told.
pub fn process_of(thread: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let group = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
    group.and_then(|number| number.trim().parse().ok()).unwrap_or(thread)
}

pub fn is_alive(process: u32) -> bool {
    std::path::Path::new(&format!("/proc/{process}")).exists()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// A thread's number; 0 in another container than the node's.
    pub thread: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Caller {
    pub fn process(&self) -> u32 {
        process_of(self.thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_belongs_to_its_process() {
        let process = std::process::id();
        let other = std::thread::spawn(|| {
            // SAFETY: it takes nothing and touches no memory.
            let thread = unsafe { libc::gettid() }.unsigned_abs();
            (thread, process_of(thread))
        });
        let (thread, found) = other.join().unwrap_or_default();
        assert_eq!(process_of(process), process);
        assert_eq!(found, process);
        assert_ne!(thread, process);
        assert!(is_alive(process));
    }
}
