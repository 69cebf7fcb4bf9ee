//! Largest triangle, three buckets (Steinarsson 2013): smooth to look at, blind to single spikes.

use super::buckets::bucket;

/// The places of `count` points: the first, the last, and of each bucket between them the one that
/// spans the largest triangle with the point chosen before and the mean of the next bucket.
///
/// NaN spans nothing: it is chosen only from a bucket of NaNs.
#[must_use]
pub fn lttb(steps: &[i64], values: &[f64], count: usize) -> Vec<usize> {
    let (inner, buckets) = (values.len() - 2, count.max(3) - 2);
    let mut chosen = Vec::with_capacity(count);
    chosen.push(0);
    let mut before = point(steps, values, 0);
    for index in 0..buckets {
        let share = bucket(inner, buckets, index);
        let share = share.start + 1..share.end + 1;
        let next = if index + 1 == buckets {
            values.len() - 1..values.len()
        } else {
            let next = bucket(inner, buckets, index + 1);
            next.start + 1..next.end + 1
        };
        let after = mean(steps, values, next);
        let mut best = (f64::NEG_INFINITY, share.start);
        for place in share {
            let here = point(steps, values, place);
            let area = area(before, here, after);
            if area > best.0 {
                best = (area, place);
            }
        }
        chosen.push(best.1);
        let here = point(steps, values, best.1);
        // A NaN would make every later triangle one, too.
        if !here.1.is_nan() {
            before = here;
        }
    }
    chosen.push(values.len() - 1);
    chosen
}

#[allow(clippy::cast_precision_loss, reason = "a picture has no 2^53 columns")]
fn point(steps: &[i64], values: &[f64], place: usize) -> (f64, f64) {
    (steps[place] as f64, values[place])
}

/// The mean of a share; of a share with NaNs, the mean of the others, at worst 0.
#[allow(
    clippy::cast_precision_loss,
    reason = "counts of points are far below 2^53"
)]
fn mean(steps: &[i64], values: &[f64], share: std::ops::Range<usize>) -> (f64, f64) {
    let (mut x, mut y, mut count) = (0.0, 0.0, 0_usize);
    let total = share.len();
    for place in share {
        let here = point(steps, values, place);
        x += here.0;
        if !here.1.is_nan() {
            y += here.1;
            count += 1;
        }
    }
    (x / total.max(1) as f64, y / count.max(1) as f64)
}

fn area(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    ((a.0 - c.0) * (b.1 - a.1) - (a.0 - b.0) * (c.1 - a.1)).abs()
}
