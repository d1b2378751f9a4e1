//! When things are sent: a schedule that keeps its times whatever the server does, so that a server that stalls is
//! charged for all that should have been sent meanwhile (no coordinated omission).

use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// Sends due at a constant rate.
#[derive(Debug)]
pub(crate) struct Schedule {
    start: Instant,
    length: Duration,
    per_second: f64,
    planned: u64,
    number: u64,
}

impl Schedule {
    /// `per_second` sends for `length`, from now on.
    pub(crate) fn new(per_second: f64, length: Duration) -> Self {
        Self {
            start: Instant::now(),
            length,
            per_second,
            planned: (per_second * length.as_secs_f64()).round() as u64,
            number: 0,
        }
    }

    /// Waits for the next send and gives the time to count its latency from: when it was due. `None` at the end, and
    /// also when all has taken twice as long as planned: what is left is skipped.
    ///
    /// Who is on time and waits for the timer counts from when that rang (up to 1 ms late): the server had nothing
    /// to do with it. Who comes late, because the server took long over the send before, counts from the plan.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        if self.number >= self.planned || self.start.elapsed() > self.length * 2 {
            return None;
        }
        let due = self.start + Duration::from_secs_f64(self.number as f64 / self.per_second);
        self.number += 1;
        if Instant::now() >= due {
            return Some(due);
        }
        sleep_until(due.into()).await;
        Some(Instant::now())
    }

    /// The sends that were planned and not made.
    pub(crate) fn skipped(&self) -> u64 {
        self.planned - self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_send_that_was_held_up_is_late_from_when_it_was_due() {
        let mut schedule = Schedule::new(100.0, Duration::from_millis(500));
        let first = schedule.next().await.unwrap();
        // What is sent blocks for 30 ms, so three more are due meanwhile.
        tokio::time::sleep(Duration::from_millis(35)).await;
        for number in 1..=3 {
            let due = schedule.next().await.unwrap();
            assert!(due < Instant::now());
            let offset = due.duration_since(first);
            assert!(offset <= Duration::from_millis(10 * number), "{offset:?}");
        }
        let mut more = 0;
        while schedule.next().await.is_some() {
            more += 1;
        }
        assert_eq!((more, schedule.skipped()), (46, 0));
    }

    #[tokio::test]
    async fn a_server_that_is_much_too_slow_does_not_keep_the_bench_for_ever() {
        let mut schedule = Schedule::new(1_000.0, Duration::from_millis(20));
        schedule.next().await.unwrap();
        tokio::time::sleep(Duration::from_millis(45)).await;
        assert_eq!(schedule.next().await, None);
        assert_eq!(schedule.skipped(), 19);
    }
}
