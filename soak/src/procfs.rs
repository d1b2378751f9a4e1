//! Memory and descriptors of a process, from /proc (proc(5)).

use std::fs;

/// Resident memory in KiB (VmRSS); `None` when there is no such process.
pub(crate) fn rss_kib(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Open descriptors.
pub(crate) fn descriptors(id: u32) -> Option<u64> {
    let entries = fs::read_dir(format!("/proc/{id}/fd")).ok()?;
    Some(entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let id = std::process::id();
        assert!(rss_kib(id).unwrap() > 100);
        let before = descriptors(id).unwrap();
        let _file = fs::File::open("/dev/null").unwrap();
        // Other tests open files too.
        assert!(before > 2 && descriptors(id).unwrap() > 2);
        assert_eq!(rss_kib(u32::MAX), None);
    }
}
