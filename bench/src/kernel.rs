//! What the kernel keeps for the sockets of this machine: its slab and the buffers of TCP. proc(5): /proc/meminfo and
//! /proc/net/sockstat.

use std::fs;

use crate::error::BenchError;

/// A page, in KiB, on every machine with 4 KiB pages; others would be told too little by the part that buffers have,
/// which is nothing while connections are idle.
const PAGE_KIB: u64 = 4;

/// Of the whole machine, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KernelMemory {
    slab: u64,
    buffers: u64,
}

impl KernelMemory {
    /// As of now.
    pub(crate) fn read() -> Result<Self, BenchError> {
        let text = |path: &str| {
            fs::read_to_string(path).map_err(|error| BenchError::Proc {
                path: path.to_owned(),
                why: error.to_string(),
            })
        };
        let meminfo = text("/proc/meminfo")?;
        let sockstat = text("/proc/net/sockstat")?;
        Self::parse(&meminfo, &sockstat).ok_or_else(|| BenchError::Proc {
            path: "/proc/meminfo, /proc/net/sockstat".to_owned(),
            why: "not in the form proc(5) describes".to_owned(),
        })
    }

    fn parse(meminfo: &str, sockstat: &str) -> Option<Self> {
        let slab = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("Slab:"))?;
        let slab = slab.trim().strip_suffix("kB")?.trim().parse().ok()?;
        let tcp = sockstat
            .lines()
            .find_map(|line| line.strip_prefix("TCP:"))?;
        let (_, pages) = tcp.split_once(" mem ")?;
        let pages: u64 = pages.trim().parse().ok()?;
        Some(Self {
            slab,
            buffers: pages * PAGE_KIB,
        })
    }

    /// KiB more than there were.
    pub(crate) fn since(&self, earlier: &Self) -> f64 {
        (self.slab + self.buffers) as f64 - (earlier.slab + earlier.buffers) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slab_and_buffers_are_added_up_in_kib() {
        let meminfo = "MemTotal:  100 kB\nSlab:             123 kB\nSReclaimable: 9 kB\n";
        let sockstat =
            "sockets: used 17\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 77\nUDP: inuse 0 mem 5\n";
        let memory = KernelMemory::parse(meminfo, sockstat).unwrap();
        assert_eq!((memory.slab, memory.buffers), (123, 308));
        let earlier = KernelMemory {
            slab: 100,
            buffers: 300,
        };
        assert_eq!(memory.since(&earlier), 31.0);
        assert_eq!(KernelMemory::parse(meminfo, "UDP: inuse 0 mem 5\n"), None);
    }

    #[test]
    fn this_machine_has_both() {
        assert!(KernelMemory::read().unwrap().slab > 0);
    }
}
