//! How many client events a connection may still send: a token bucket that is given the time.

/// A token bucket in thousandths of an event, refilled by the time that passes; it holds one second's worth.
pub struct Allowance {
    thousandths: u64,
    refilled_ms: u64,
}

impl Allowance {
    /// A bucket that has not been drawn from.
    #[must_use]
    pub fn full(per_s: u32) -> Self {
        Self {
            thousandths: u64::from(per_s) * 1000,
            refilled_ms: 0,
        }
    }

    /// Takes one event's worth, if it is there. A rate of 0 means no limit.
    #[must_use]
    pub fn take(&mut self, now_ms: u64, per_s: u32) -> bool {
        let per_s = u64::from(per_s);
        // Events a second are thousandths a millisecond.
        let refill = now_ms
            .saturating_sub(self.refilled_ms)
            .saturating_mul(per_s);
        self.thousandths = self.thousandths.saturating_add(refill).min(per_s * 1000);
        self.refilled_ms = self.refilled_ms.max(now_ms);
        match self.thousandths.checked_sub(1000) {
            Some(left) => {
                self.thousandths = left;
                true
            }
            None => per_s == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowance: &mut Allowance, now_ms: u64, per_s: u32, tries: usize) -> usize {
        (0..tries).filter(|_| allowance.take(now_ms, per_s)).count()
    }

    #[test]
    fn a_second_holds_its_events_and_no_more() {
        let mut allowance = Allowance::full(10);
        assert_eq!(taken(&mut allowance, 5_000, 10, 20), 10);
        assert_eq!(taken(&mut allowance, 5_099, 10, 20), 0);
        assert_eq!(taken(&mut allowance, 5_100, 10, 20), 1);
        assert_eq!(taken(&mut allowance, 5_600, 10, 20), 5);
        assert_eq!(taken(&mut allowance, 60_000, 10, 20), 10);
    }

    #[test]
    fn zero_is_no_limit_and_no_time_or_rate_overflows() {
        assert_eq!(taken(&mut Allowance::full(0), 1, 0, 1_000), 1_000);
        let mut allowance = Allowance::full(u32::MAX);
        assert!(allowance.take(u64::MAX, u32::MAX));
        assert!(allowance.take(0, u32::MAX)); // a clock that steps back refills nothing
    }
}
