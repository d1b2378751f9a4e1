//! What many share: a rate of so many a second, in bursts of as many, counted without a lock, and the number of
//! connections. The rate is the generic cell rate algorithm (ITU-T I.371): one number, the time at which the bucket is full
//! again.

use std::sync::atomic::{AtomicU64, Ordering};

/// `limits.max_connections`, where 0 stands for as many as this process may have files open. Sessions that hold no file,
/// as those of clients who poll, are thereby bounded too.
pub fn connections(configured: usize) -> usize {
    let files = || rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    match configured {
        0 => usize::try_from(files()).unwrap_or(usize::MAX),
        most => most,
    }
}

/// Events a second; shared by reference.
#[derive(Debug)]
pub struct RateLimit {
    /// Nanoseconds that one event takes; 0 = no limit.
    cost_ns: u64,
    full_at_ns: AtomicU64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl RateLimit {
    /// `rate` events a second; 0 = no limit.
    pub fn per_second(rate: u32) -> RateLimit {
        RateLimit {
            cost_ns: SECOND_NS.checked_div(u64::from(rate)).unwrap_or(0),
            full_at_ns: AtomicU64::new(0),
        }
    }

    /// Takes one event at `now_ms`, or says in how many milliseconds there will be room for it.
    pub fn take(&self, now_ms: u64) -> Result<(), u64> {
        if self.cost_ns == 0 {
            return Ok(());
        }
        let now_ns = now_ms * 1_000_000;
        let next = |full_at: u64| full_at.max(now_ns) + self.cost_ns;
        self.full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                (next(full_at) <= now_ns + SECOND_NS).then(|| next(full_at))
            })
            .map(drop)
            .map_err(|full_at| {
                let wait_ns = next(full_at) - now_ns - SECOND_NS;
                wait_ns.div_ceil(1_000_000)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_passes_and_the_rest_waits() {
        let limit = RateLimit::per_second(10);
        let passed = (0..20).filter(|_| limit.take(5).is_ok()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.take(5), Err(100));
        assert_eq!(limit.take(105), Ok(()));
        assert!(limit.take(105).is_err());
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = RateLimit::per_second(0);
        assert!((0..10_000).all(|_| limit.take(0).is_ok()));
    }
}
