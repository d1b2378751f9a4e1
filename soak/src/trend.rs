//! Where a row of samples is heading, in spite of what comes and goes.

/// One sample: seconds since the start, and the value.
pub(crate) type Sample = (f64, f64);

/// The median of the slopes of all pairs (Theil-Sen), per second. A peak moves it as little as a peak should: up to 29 % of the
/// samples may be anything. `None` for fewer than two moments.
pub(crate) fn slope(samples: &[Sample]) -> Option<f64> {
    let mut slopes: Vec<f64> = Vec::new();
    for (index, (at, value)) in samples.iter().enumerate() {
        let later = samples[index + 1..].iter().filter(|(then, _)| then > at);
        slopes.extend(later.map(|(then, other)| (other - value) / (then - at)));
    }
    median(&mut slopes)
}

/// The one in the middle.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_no_trend_and_a_leak_is_one() {
        let flat: Vec<Sample> = (0..40)
            .map(|n| (f64::from(n), if n % 9 == 0 { 500.0 } else { 100.0 }))
            .collect();
        assert_eq!(slope(&flat), Some(0.0));
        let leaking: Vec<Sample> = flat
            .iter()
            .map(|(at, value)| (*at, value + at * 2.0))
            .collect();
        assert!((slope(&leaking).unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn one_moment_has_no_trend() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }
}
