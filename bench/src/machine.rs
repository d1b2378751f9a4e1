//! What machine, and what state of the program, figures are from.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

/// CPU model, cores, memory, kernel, date and commit. `binary` is what is measured.
pub(crate) fn describe(binary: &Path) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let model = cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(|| "unknown CPU".to_owned());
    let memory = memory_gib(&read("/proc/meminfo"));
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_gib": memory,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "date": date(),
        "commit": said("git", &["describe", "--always", "--dirty"]),
        "version": binary.to_str().filter(|path| !path.is_empty()).and_then(|path| said(path, &["--version"])),
        "rustc": said("rustc", &["--version"]),
    })
}

/// What a program prints, in one line; `None` when it cannot be run or fails.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_gib(meminfo: &str) -> Option<f64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / 1024.0 / 1024.0).round())
}

/// Today in UTC.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH);
    civil(seconds.map_or(0, |since| since.as_secs() / 86_400))
}

/// The date of a day counted from 1 January 1970.
fn civil(day: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let (mut year, mut left) = (1970, day);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (day, text) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_453, "2025-12-31"),
        ] {
            assert_eq!(civil(day), text);
        }
    }

    #[test]
    fn what_proc_says_is_read() {
        let cpuinfo = "processor\t: 0\nmodel name\t: AMD EPYC 9 \n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("AMD EPYC 9"));
        assert_eq!(memory_gib("MemTotal:       24618788 kB\n"), Some(23.0));
        assert_eq!(said("/no/such/program", &[]), None);
    }
}
