//! First, last, least, greatest: what a line drawn at this width is made of.

use super::buckets::each_bucket;
use super::extremes::extremes;

/// The places of the first, the last, the least and the greatest value of each of `count / 4`
/// buckets, ascending, each once.
#[must_use]
pub fn m4(values: &[f64], count: usize) -> Vec<usize> {
    let buckets = (count / 4).clamp(1, values.len().max(1));
    each_bucket(values.len(), buckets, |bucket, chosen| {
        if bucket.is_empty() {
            return;
        }
        let (first, last) = (bucket.start, bucket.end - 1);
        let (low, high) = extremes(&values[bucket]).unwrap_or((0, 0));
        let mut places = [first, first + low, first + high, last];
        places.sort_unstable();
        let start = chosen.len();
        for place in places {
            if chosen.len() == start || chosen.last() != Some(&place) {
                chosen.push(place);
            }
        }
    })
}
