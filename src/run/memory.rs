//! How much memory this process holds.

use std::time::{Duration, Instant};

/// The memory that a process holds is looked up at most this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// What this process holds.
#[derive(Debug, Default)]
pub struct Held {
    system: Option<sysinfo::System>,
    looked_up: Option<(Instant, u64)>,
}

impl Held {
    /// Bytes that it holds, as of a moment ago; none where the system does not say.
    pub fn look_up(&mut self) -> Option<u64> {
        if let Some((when, bytes)) = self.looked_up
            && when.elapsed() < INTERVAL
        {
            return Some(bytes);
        }
        let pid = sysinfo::get_current_pid().ok()?;
        let system = self.system.get_or_insert_default();
        let only = sysinfo::ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, only);
        let bytes = system.process(pid)?.memory();
        self.looked_up = Some((Instant::now(), bytes));
        Some(bytes)
    }
}
