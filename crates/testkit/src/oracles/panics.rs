//! O7 and O8: nothing panics, on whatever thread or task, and memory stays bounded.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the panics of this process from its making on, those too that a task or a thread swallows.
#[derive(Debug)]
pub struct Panics {
    counter: &'static AtomicUsize,
    before: usize,
}

impl Panics {
    /// Begins to count.
    pub fn watch() -> Self {
        static COUNTER: OnceLock<&'static AtomicUsize> = OnceLock::new();
        let counter = COUNTER.get_or_init(|| {
            static PANICS: AtomicUsize = AtomicUsize::new(0);
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                usual(panic);
            }));
            &PANICS
        });
        Self { counter, before: counter.load(Ordering::SeqCst) }
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.counter.load(Ordering::SeqCst) - self.before
    }
}

/// The most memory that this process ever had in use; 0 where the system does not tell.
pub fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
