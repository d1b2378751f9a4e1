//! Monotonic milliseconds since the process began: one small number that a connection
//! can keep instead of a 16-byte `Instant`, and unix time for signatures.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the process began; never goes back.
pub fn now_ms() -> u64 {
    START.elapsed().as_millis() as u64
}

/// Seconds since 1970-01-01 UTC, as the operating system has it.
pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970-01-01 UTC, as the operating system has it.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
