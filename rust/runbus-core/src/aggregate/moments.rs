//! Mean and variance, exact to rounding whatever the mean is (Welford 1962; Chan et al. 1979).

/// Count, mean and sum of squared deviations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    count: u64,
    mean: f64,
    deviations: f64,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of points are far below 2^53"
)]
impl Moments {
    /// Add a finite value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        let count = self.count as f64;
        let delta = value - self.mean;
        if delta.is_infinite() {
            // Further apart than doubles reach: so is their spread, but their mean is a number.
            self.mean += value / count - self.mean / count;
            self.deviations = f64::INFINITY;
            return;
        }
        self.mean += delta / count;
        self.deviations += delta * (value - self.mean);
    }

    /// Add what other values amount to.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let total = ours + theirs;
        let delta = other.mean - self.mean;
        self.count += other.count;
        if delta.is_infinite() {
            self.mean = self.mean * (ours / total) + other.mean * (theirs / total);
            self.deviations = f64::INFINITY;
            return;
        }
        self.mean += delta * (theirs / total);
        self.deviations += other.deviations + delta * delta * (ours * theirs / total);
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; NaN if there is no value.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.mean }
    }

    /// The variance of the values, as of a whole population; NaN if there is none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            f64::NAN
        } else {
            self.deviations / self.count as f64
        }
    }
}
