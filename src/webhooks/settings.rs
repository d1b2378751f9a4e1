//! The times and bounds that webhooks are sent within.

use std::time::Duration;

/// Times and bounds. The defaults are what a server uses; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a channel must stay empty, or a user away, to be told of.
    pub grace: Duration,
    /// For how long one miss in a cache channel stands for all.
    pub cache_miss_pause: Duration,
    /// The pause after the first failed attempt; it doubles with each one.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// An event is given up this long after it happened.
    pub give_up: Duration,
    /// How long a receiver may take for its answer.
    pub patience: Duration,
    /// Requests under way to one receiver.
    pub in_flight: usize,
    /// Events that may wait for one receiver.
    pub queue_events: usize,
    /// Bytes of them.
    pub queue_bytes: usize,
}

/// The grace, the five minutes and the growing pauses are Pusher's; SDKs refuse bodies older than five minutes.
impl Default for Settings {
    fn default() -> Settings {
        Settings {
            grace: Duration::from_secs(3),
            cache_miss_pause: Duration::from_secs(1),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            give_up: Duration::from_secs(5 * 60),
            patience: Duration::from_secs(10),
            // A receiver that takes 50 ms then gets 160 a second, and is not flooded after an outage.
            in_flight: 8,
            // An outage of a minute at 160 events a second, and memory that a small machine has.
            queue_events: 10_000,
            queue_bytes: 16 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The pause after this many failed attempts: half of it fixed, half as `random` says.
    pub(super) fn backoff(&self, attempts: u32, random: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let longest = self.first_retry.saturating_mul(doubled);
        let half = longest.min(self.longest_retry) / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}
