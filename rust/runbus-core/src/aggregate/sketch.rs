//! Quantiles from a log-linear histogram: each power of two is cut into equal buckets.

/// Buckets of a power of two, as a number of bits.
const BITS: u32 = 7;
const SHIFT: u32 = 52 - BITS;
/// So many values are kept as they are, and their quantiles are exact.
const EXACT: usize = 128;

/// How often values of each size occurred; adds in a few ns, merges by addition.
#[derive(Clone, Debug, Default)]
pub struct Sketch {
    /// All values, while they are few.
    few: Vec<f64>,
    many: Option<Box<Many>>,
}

#[derive(Clone, Debug, Default)]
struct Many {
    negative: Side,
    zeros: u64,
    positive: Side,
}

/// Counts by magnitude; infinity has a bucket of its own, the last.
#[derive(Clone, Debug, Default)]
struct Side {
    first: usize,
    counts: Vec<u64>,
}

impl Side {
    #[inline]
    fn add(&mut self, magnitude: f64, count: u64) {
        // 18 bits: exponent and the first bits of the mantissa.
        self.add_bucket((magnitude.to_bits() >> SHIFT) as usize, count);
    }

    fn add_bucket(&mut self, bucket: usize, count: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let missing = self.first - bucket;
            self.counts.splice(..0, std::iter::repeat_n(0, missing));
            self.first = bucket;
        }
        let index = bucket - self.first;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += count;
    }

    fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.buckets() {
            self.add_bucket(bucket, count);
        }
    }

    fn buckets(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(index, count)| (self.first + index, *count))
    }
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let start = f64::from_bits((bucket as u64) << SHIFT);
    if start.is_infinite() {
        return start;
    }
    f64::from_bits((bucket as u64) << SHIFT | 1 << (SHIFT - 1))
}

impl Many {
    fn add(&mut self, value: f64) {
        if value > 0.0 {
            self.positive.add(value, 1);
        } else if value < 0.0 {
            self.negative.add(-value, 1);
        } else {
            self.zeros += 1;
        }
    }

    /// From the least value to the greatest.
    fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let negative = self.negative.buckets().rev();
        let negative = negative.map(|(bucket, count)| (-middle(bucket), count));
        let positive = self.positive.buckets();
        let positive = positive.map(|(bucket, count)| (middle(bucket), count));
        negative.chain([(0.0, self.zeros)]).chain(positive)
    }
}

impl Sketch {
    /// A quantile is off by no more than this share of itself (for numbers that are not subnormal);
    /// up to 128 values it is exact.
    pub const RELATIVE_ERROR: f64 = 1.0 / (1 << (BITS + 1)) as f64;

    /// Add a value that is not NaN.
    #[inline]
    pub fn add(&mut self, value: f64) {
        match &mut self.many {
            Some(many) => many.add(value),
            None => self.add_to_few(value),
        }
    }

    fn add_to_few(&mut self, value: f64) {
        self.few.push(value);
        if self.few.len() > EXACT {
            self.spread();
        }
    }

    /// From single values to counts.
    fn spread(&mut self) -> &mut Many {
        let few = std::mem::take(&mut self.few);
        let many = self.many.get_or_insert_default();
        for value in few {
            many.add(value);
        }
        many
    }

    /// Add what other values amount to.
    pub fn merge(&mut self, other: &Self) {
        if let Some(theirs) = &other.many {
            let many = self.spread();
            many.negative.merge(&theirs.negative);
            many.positive.merge(&theirs.positive);
            many.zeros += theirs.zeros;
        }
        for value in &other.few {
            self.add(*value);
        }
    }

    /// The value of which a share `q` of all is no greater; NaN if there is none.
    #[must_use]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks are far below 2^53"
    )]
    pub fn quantile(&self, q: f64) -> f64 {
        let rank = |count: u64| ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let Some(many) = &self.many else {
            let mut few = self.few.clone();
            few.sort_by(f64::total_cmp);
            let place = rank(few.len() as u64) as usize - 1;
            return few.get(place).copied().unwrap_or(f64::NAN);
        };
        let rank = rank(many.buckets().map(|(_, count)| count).sum());
        let mut seen = 0;
        for (value, count) in many.buckets() {
            seen += count;
            if seen >= rank {
                return value;
            }
        }
        f64::NAN
    }
}
