//! Who goes when, as a shard is emptied: evenly over the grace period, so that not all clients come back in
//! the same moment.

use std::time::Duration;

use super::Farewell;

#[derive(Debug)]
pub(super) struct Draining {
    pub(super) farewell: Farewell,
    start_ms: u64,
    grace_ms: u64,
    /// Connections at the start.
    connections: usize,
}

impl Draining {
    pub(super) fn new(
        farewell: Farewell,
        grace: Duration,
        now_ms: u64,
        connections: usize,
    ) -> Draining {
        Draining {
            farewell,
            start_ms: now_ms,
            grace_ms: grace.as_millis() as u64,
            connections,
        }
    }

    /// How many connections may still be open. The first goes at once, so that few need not wait at all; the
    /// last goes a tenth of the grace before its end, so that its farewell arrives.
    pub(super) fn may_stay(&self, now_ms: u64) -> usize {
        let span_ms = self.grace_ms * 9 / 10;
        let left_ms = span_ms.saturating_sub(now_ms - self.start_ms);
        let stay = (self.connections as u64 * left_ms)
            .checked_div(span_ms)
            .unwrap_or(0);
        (stay as usize).min(self.connections.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use gema_protocol::code::Code;

    use super::*;

    fn stays(connections: usize, grace_s: u64) -> Vec<usize> {
        let grace = Duration::from_secs(grace_s);
        let draining = Draining::new(Farewell::of(Code::Reconnect), grace, 5000, connections);
        let at = |second: u64| draining.may_stay(5000 + second * 1000);
        (0..=10).map(at).collect()
    }

    #[test]
    fn connections_go_evenly_the_first_at_once_and_the_last_before_the_end() {
        assert_eq!(stays(90, 10), [89, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0]);
        assert_eq!(stays(1, 10)[0], 0);
        assert_eq!(stays(0, 10)[0], 0);
        assert_eq!(stays(1000, 0)[0], 0);
    }
}
