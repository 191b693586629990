//! How much memory there is.

/// Bytes that can be had, in a container too.
pub fn available() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    match system.cgroup_limits() {
        Some(limits) => limits.free_memory.min(system.available_memory()),
        None => system.available_memory(),
    }
}
