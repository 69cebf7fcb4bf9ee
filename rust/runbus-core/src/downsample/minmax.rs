//! The envelope of a series.

use super::buckets::each_bucket;
use super::extremes::extremes;

/// The places of the least and the greatest value of each of `count / 2` buckets, ascending, each
/// once; of a bucket of NaNs the first.
#[must_use]
pub fn min_max(values: &[f64], count: usize) -> Vec<usize> {
    let buckets = (count / 2).clamp(1, values.len().max(1));
    each_bucket(values.len(), buckets, |bucket, chosen| {
        if bucket.is_empty() {
            return;
        }
        let start = bucket.start;
        let (low, high) = extremes(&values[bucket]).unwrap_or((0, 0));
        chosen.push(start + low.min(high));
        if low != high {
            chosen.push(start + low.max(high));
        }
    })
}
