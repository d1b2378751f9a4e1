//! What every process has, under the names that Prometheus' own client libraries give it, so that boards made for any program
//! show this one too: <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::fmt;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use rlimit::Resource;

/// Ticks of /proc/PID/stat in a second: USER_HZ, which is 100 on all that Linux and Rust run on.
const TICKS: f64 = 100.0;

/// This process; read when it is encoded, nothing is kept but when it started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) started: SystemTime,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let since = self.started.duration_since(UNIX_EPOCH);
        let started = since.as_ref().map_or(0.0, Duration::as_secs_f64);
        let limit = Resource::NOFILE.get_soft().ok().map(|limit| limit as f64);
        let figures = [
            (
                "process_cpu_seconds_total",
                "CPU time used, in seconds",
                MetricType::Counter,
                cpu_seconds(),
            ),
            (
                "process_max_fds",
                "Files that may be open; each connection is one",
                MetricType::Gauge,
                limit,
            ),
            (
                "process_open_fds",
                "Open files",
                MetricType::Gauge,
                open_files(),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory",
                MetricType::Gauge,
                resident_bytes(),
            ),
            (
                "process_start_time_seconds",
                "When it started, in seconds since 1970",
                MetricType::Gauge,
                Some(started),
            ),
        ];
        for (name, help, kind, value) in figures {
            // What this system does not tell is left out, as elsewhere.
            if let Some(value) = value {
                let mut samples = encoder.encode_descriptor(name, help, None, kind)?;
                samples.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

/// User and system time, fields 14 and 15 of proc(5); the name in brackets before them may hold spaces.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// Since Linux 6.2 the directory's size is their number; before that they are listed, which takes a second for a million.
fn open_files() -> Option<f64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    match size {
        0 => Some(fs::read_dir("/proc/self/fd").ok()?.count() as f64),
        size => Some(size as f64),
    }
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}
