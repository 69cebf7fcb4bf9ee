//! What points amount to, by series and by time window. Aggregates of parts merge into one of all.

mod live;
mod moments;
mod sketch;
mod windows;

pub use live::{LiveWindows, WindowRows};
pub use moments::Moments;
pub use sketch::Sketch;
pub use windows::{Window, windows};

use crate::frame::Point;
use crate::series::SeriesData;

/// What points amount to.
///
/// NaN counts as a point, and may be the first or last one, but has no part in the rest. The
/// infinities take part in the extremes and the quantiles, not in mean and variance. First, last and
/// extremes are exact, also as integers beyond doubles; mean, variance and quantiles are of the nearest
/// doubles.
/// What several writers' points amount to is what those of their merged series do, as
/// [`SeriesData::merged`] defines it.
#[derive(Clone, Debug, Default)]
pub struct Aggregate {
    /// How many points.
    pub count: u64,
    /// The first one.
    pub first: Option<Point>,
    /// The last one.
    pub last: Option<Point>,
    /// The first of the least values.
    pub min: Option<Point>,
    /// The first of the greatest values.
    pub max: Option<Point>,
    /// The latest time that a point had, when each of the extremes came and by now: by these the
    /// points of several writers are merged.
    latest: Latest,
    /// Of the finite values.
    pub moments: Moments,
    /// Of the values.
    pub sketch: Sketch,
}

/// Latest times; the first point's is its own.
#[derive(Clone, Copy, Debug)]
struct Latest {
    min: i64,
    max: i64,
    now: i64,
}

impl Default for Latest {
    fn default() -> Self {
        Self {
            min: i64::MIN,
            max: i64::MIN,
            now: i64::MIN,
        }
    }
}

impl Aggregate {
    /// The aggregate of a series.
    #[must_use]
    pub fn of(data: &SeriesData) -> Self {
        let mut aggregate = Self::default();
        for point in data.points() {
            aggregate.add(point);
        }
        aggregate
    }

    /// Add the next point of a writer.
    #[inline]
    pub fn add(&mut self, point: Point) {
        self.count += 1;
        self.first.get_or_insert(point);
        self.last = Some(point);
        self.latest.now = self.latest.now.max(point.time);
        if point.value.is_nan() {
            return;
        }
        if self.min.is_none_or(|min| is_below(&point, &min)) {
            self.min = Some(point);
            self.latest.min = self.latest.now;
        }
        if self.max.is_none_or(|max| is_below(&max, &point)) {
            self.max = Some(point);
            self.latest.max = self.latest.now;
        }
        if point.value.is_finite() {
            self.moments.add(point.value);
        }
        self.sketch.add(point.value);
    }

    /// Add what the points of the next writer amount to.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.first = chosen(self.first, other.first, |a, b| b.time < a.time);
        let (ours, theirs) = (self.latest, other.latest);
        self.last = chosen(self.last, other.last, |_, _| theirs.now >= ours.now);
        let is_theirs =
            |a: &Point, b: &Point| is_below(b, a) || (!is_below(a, b) && theirs.min < ours.min);
        if other.min.is_some()
            && self
                .min
                .zip(other.min)
                .is_none_or(|(a, b)| is_theirs(&a, &b))
        {
            (self.min, self.latest.min) = (other.min, theirs.min);
        }
        let is_theirs =
            |a: &Point, b: &Point| is_below(a, b) || (!is_below(b, a) && theirs.max < ours.max);
        if other.max.is_some()
            && self
                .max
                .zip(other.max)
                .is_none_or(|(a, b)| is_theirs(&a, &b))
        {
            (self.max, self.latest.max) = (other.max, theirs.max);
        }
        self.latest.now = ours.now.max(theirs.now);
        self.moments.merge(&other.moments);
        self.sketch.merge(&other.sketch);
    }

    /// The quantile `q`, 0 to 1, within [`Sketch::RELATIVE_ERROR`]; NaN if there is no number.
    #[must_use]
    pub fn quantile(&self, q: f64) -> f64 {
        match (self.min, self.max) {
            (Some(min), Some(max)) => self.sketch.quantile(q).clamp(min.value, max.value),
            _ => f64::NAN,
        }
    }
}

/// Whether a value is less than another one, also where the nearest double to both is the same.
#[inline]
#[allow(clippy::float_cmp, reason = "the same double, not one that is near")]
fn is_below(one: &Point, other: &Point) -> bool {
    one.value < other.value || (one.rest < other.rest && one.value == other.value)
}

fn chosen(
    a: Option<Point>,
    b: Option<Point>,
    is_second: impl Fn(&Point, &Point) -> bool,
) -> Option<Point> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if is_second(&a, &b) { b } else { a }),
        (a, b) => a.or(b),
    }
}
