//! A series in equal spans of time.

use std::collections::BTreeMap;

use super::Aggregate;
use crate::series::SeriesData;

/// What the points of a span of time amount to.
#[derive(Clone, Debug)]
pub struct Window {
    /// Where it starts, unix nanoseconds: a multiple of its width.
    pub start: i64,
    /// What its points amount to.
    pub aggregate: Aggregate,
}

/// The windows that hold points, oldest first. A width below 1 is raised to it.
#[must_use]
pub fn windows(data: &SeriesData, width_ns: i64) -> Vec<Window> {
    let width = width_ns.max(1);
    let mut found = BTreeMap::<i64, Aggregate>::new();
    for point in data.points() {
        let window = found.entry(point.time.div_euclid(width)).or_default();
        window.add(point);
    }
    let windows = found.into_iter().map(|(number, aggregate)| Window {
        // The first window may start before the least time there is.
        start: number.saturating_mul(width),
        aggregate,
    });
    windows.collect()
}
