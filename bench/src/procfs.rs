//! CPU time and memory of the server under test, read from /proc by its process id (proc(5)).
//! CPU comes in nanoseconds from the scheduler's own account, not in 10 ms ticks.

use std::{collections::BTreeMap, fs, path::Path};

use crate::error::BenchError;

/// Nanoseconds in a tick of /proc/PID/stat: USER_HZ is 100 on every architecture Rust's std runs on with Linux.
const TICK_NS: u64 = 10_000_000;

/// CPU time a process has used so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Nanoseconds on a CPU by thread id, from /proc/PID/task/*/schedstat.
    threads: BTreeMap<u32, u64>,
    /// User + system ticks of all threads, those that have ended included, from /proc/PID/stat.
    ticks: u64,
}

impl Cpu {
    /// Reads the account of a running process.
    pub(crate) fn of(pid: u32) -> Result<Self, BenchError> {
        let stat = format!("/proc/{pid}/stat");
        let ticks = parse_stat(&read(Path::new(&stat))?).ok_or_else(|| unreadable(&stat))?;
        let tasks = format!("/proc/{pid}/task");
        let entries = fs::read_dir(&tasks).map_err(|e| proc_error(&tasks, &e))?;
        let mut threads = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(|e| proc_error(&tasks, &e))?;
            let Some(tid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
                continue;
            };
            let path = entry.path().join("schedstat");
            // A thread may end between the listing and this read; `since` notices that it is gone.
            if let Ok(text) = fs::read_to_string(&path) {
                let ns = parse_schedstat(&text).ok_or_else(|| unreadable(&tasks))?;
                threads.insert(tid, ns);
            }
        }
        if threads.is_empty() {
            return Err(unreadable(&tasks));
        }
        Ok(Self { threads, ticks })
    }

    /// Nanoseconds used between `earlier` and now.
    ///
    /// A thread that ended takes its nanoseconds with it; then the coarser ticks, which keep them, are used.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let ended = earlier
            .threads
            .keys()
            .any(|tid| !self.threads.contains_key(tid));
        if ended {
            return self.ticks.saturating_sub(earlier.ticks) * TICK_NS;
        }
        let sum = |cpu: &Self| cpu.threads.values().sum::<u64>();
        sum(self).saturating_sub(sum(earlier))
    }

    /// As `since`, for a time in which a server has certainly worked: none used means the wrong process.
    pub(crate) fn used_since(&self, earlier: &Self) -> Result<u64, BenchError> {
        match self.since(earlier) {
            0 => Err(BenchError::IdleProcess),
            used => Ok(used),
        }
    }
}

/// Resident memory of a process in KiB (VmRSS).
pub(crate) fn rss_kib(pid: u32) -> Result<u64, BenchError> {
    let path = format!("/proc/{pid}/status");
    parse_rss(&read(Path::new(&path))?).ok_or_else(|| unreadable(&path))
}

fn read(path: &Path) -> Result<String, BenchError> {
    fs::read_to_string(path).map_err(|e| proc_error(&path.display().to_string(), &e))
}

fn proc_error(path: &str, why: &std::io::Error) -> BenchError {
    BenchError::Proc {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn unreadable(path: &str) -> BenchError {
    BenchError::Proc {
        path: path.to_owned(),
        why: "not in the form proc(5) describes".to_owned(),
    }
}

/// utime + stime, fields 14 and 15. The command name (field 2) may hold spaces and brackets, so count from its end.
fn parse_stat(text: &str) -> Option<u64> {
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// The first of three numbers: nanoseconds spent on a CPU.
fn parse_schedstat(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn parse_rss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_command_name() {
        let tail = "S 1 7 7 0 -1 4194560 9 0 0 0 120 34 0 0 20 0 3 0 100 1 2 3";
        assert_eq!(parse_stat(&format!("7 (gema) {tail}")), Some(154));
        assert_eq!(parse_stat(&format!("7 (a b) S 9 (x) {tail}")), Some(154));
        assert_eq!(parse_stat("7 (gema) S 1"), None);
    }

    #[test]
    fn the_scheduler_account_is_its_first_number() {
        assert_eq!(parse_schedstat("176853 12 2\n"), Some(176_853));
        assert_eq!(parse_schedstat(""), None);
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        let status = "Name:\tgema\nVmHWM:\t  999 kB\nVmRSS:\t   123456 kB\nThreads:\t3\n";
        assert_eq!(parse_rss(status), Some(123_456));
        assert_eq!(parse_rss("Name:\tkthread\n"), None);
    }

    #[test]
    fn a_process_that_did_nothing_is_not_the_server() {
        let account = cpu(&[(1, 1_000)], 0);
        assert!(matches!(
            account.used_since(&account),
            Err(BenchError::IdleProcess)
        ));
        assert_eq!(cpu(&[(1, 1_001)], 0).used_since(&account).unwrap(), 1);
    }

    fn cpu(threads: &[(u32, u64)], ticks: u64) -> Cpu {
        Cpu {
            threads: threads.iter().copied().collect(),
            ticks,
        }
    }

    #[test]
    fn new_threads_count_in_full() {
        let before = cpu(&[(1, 1_000)], 0);
        let after = cpu(&[(1, 1_500), (2, 300)], 1);
        assert_eq!(after.since(&before), 800);
    }

    #[test]
    fn the_time_of_threads_that_ended_is_not_forgotten() {
        let before = cpu(&[(1, 1_000), (2, 300)], 5);
        let after = cpu(&[(1, 1_500)], 8);
        assert_eq!(after.since(&before), 3 * TICK_NS);
    }

    #[test]
    fn this_process_has_an_account() {
        let pid = std::process::id();
        let before = Cpu::of(pid).unwrap();
        assert!(rss_kib(pid).unwrap() > 0);
        assert!(before.threads.values().sum::<u64>() > 0);
        assert!(Cpu::of(u32::MAX).is_err());
    }
}
