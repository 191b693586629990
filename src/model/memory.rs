//! How much memory there is, and how a number of bytes is said.

/// Bytes that can be had, in a container too.
pub fn available() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    match system.cgroup_limits() {
        // What a container uses counts the files that the system remembers, which it forgets where memory is short.
        Some(limits) => limits.total_memory.saturating_sub(limits.rss).min(system.available_memory()),
        None => system.available_memory(),
    }
}

/// Gives memory that was freed back to the system. The allocator keeps much of it, which another program, or this one's
/// own [`available`], would count as taken.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the allocator of the C library is asked")]
        mod allocator {
            unsafe extern "C" {
                pub(super) safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
            }
        }
        allocator::malloc_trim(0);
    }
}

/// A number of bytes in the unit that fits it.
pub fn size(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 999.95e6 => format!("{:.1} GB", bytes / 1e9),
        bytes if bytes >= 999.95e3 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        let said = [340, 999_950, 14_230_000, 2_500_000_000].map(size);
        assert_eq!(said, ["0.3 kB", "1.0 MB", "14.2 MB", "2.5 GB"]);
    }
}
