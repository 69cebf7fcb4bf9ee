//! Rates from counters and exact intervals.

use super::row::float;

/// The rate at which a counter grows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    last: Option<(u64, u64)>,
}

impl Rate {
    /// How much was counted a second since the last call.
    ///
    /// None the first time, after a counter went back (it was reset, or is another one), and when no time
    /// has passed.
    pub(super) fn per_second(&mut self, count: u64, at_ns: u64) -> Option<f64> {
        let (last, then) = self.last.replace((count, at_ns))?;
        let counted = count.checked_sub(last)?;
        let elapsed = at_ns.checked_sub(then).filter(|elapsed| *elapsed > 0)?;
        Some(float(counted) * 1e9 / float(elapsed))
    }

    /// The same of a counter of nanoseconds, in percent of the time that has passed.
    pub(super) fn percent_of_time(&mut self, nanoseconds: u64, at_ns: u64) -> Option<f64> {
        Some(self.per_second(nanoseconds, at_ns)? / 1e7)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_counts_and_time_between_them() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(100, 1_000), None);
        assert_eq!(rate.per_second(150, 1_000), None);
        assert_eq!(rate.per_second(400, 500_001_000), Some(500.0));
    }

    #[test]
    fn a_counter_that_goes_back_begins_anew() {
        let mut rate = Rate::default();
        rate.per_second(100, 0);
        assert_eq!(rate.per_second(40, 1_000_000_000), None);
        assert_eq!(rate.per_second(50, 2_000_000_000), Some(10.0));
    }
}
