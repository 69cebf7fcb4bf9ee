//! The windows of a writer's series, while its points come in.

use std::time::{Duration, Instant};

use super::{Aggregate, Point};
use crate::frame::Points;

/// Windows as columns of little-endian numbers, one row each.
///
/// A window may have several rows, if its points came late or its series went back in time: each
/// tells of other points, so that the rows of a window add up to all of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WindowRows {
    /// How many.
    pub count: usize,
    /// For each row the index of its series' name, `u32`.
    pub series: Vec<u8>,
    /// `i64`: start, points, finite points; steps of the first, last, least and greatest; times of
    /// the first and last.
    pub integers: [Vec<u8>; 9],
    /// `f64`: first, last, least, greatest, mean, variance, quantiles 0.5, 0.95 and 0.99.
    pub numbers: [Vec<u8>; 9],
}

impl WindowRows {
    fn add(&mut self, series: usize, start: i64, of: &Aggregate) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let step = |point: Option<Point>| point.map_or(0, |point| point.step);
        let time = |point: Option<Point>| point.map_or(0, |point| point.time);
        let value = |point: Option<Point>| point.map_or(f64::NAN, |point| point.value);
        let integers = [
            start,
            count(of.count),
            count(of.moments.count()),
            step(of.first),
            step(of.last),
            step(of.min),
            step(of.max),
            time(of.first),
            time(of.last),
        ];
        let numbers = [
            value(of.first),
            value(of.last),
            value(of.min),
            value(of.max),
            of.moments.mean(),
            of.moments.variance(),
            of.quantile(0.5),
            of.quantile(0.95),
            of.quantile(0.99),
        ];
        self.count += 1;
        let series = u32::try_from(series).unwrap_or(u32::MAX);
        self.series.extend_from_slice(&series.to_le_bytes());
        for (column, integer) in self.integers.iter_mut().zip(integers) {
            column.extend_from_slice(&integer.to_le_bytes());
        }
        for (column, number) in self.numbers.iter_mut().zip(numbers) {
            column.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// A window that may get more points.
#[derive(Debug)]
struct Open {
    number: i64,
    since: Instant,
    aggregate: Aggregate,
}

/// Cuts the series of one writer into windows: one is open for each series.
///
/// A window is closed by a point outside of it, or once it has been open for its width.
#[derive(Debug)]
pub struct LiveWindows {
    width_ns: i64,
    width: Duration,
    open: Vec<Option<Box<Open>>>,
    /// When the oldest open window is to be closed, or some time before.
    due: Option<Instant>,
}

impl LiveWindows {
    /// No windows yet. A width below 1 is raised to it.
    #[must_use]
    pub fn new(width_ns: i64) -> Self {
        let width_ns = width_ns.max(1);
        Self {
            width_ns,
            width: Duration::from_nanos(width_ns.unsigned_abs()),
            open: Vec::new(),
            due: None,
        }
    }

    /// How wide they are.
    #[must_use]
    pub fn width_ns(&self) -> i64 {
        self.width_ns
    }

    /// Add what came in at `now`, and put the windows that this closes into `rows`.
    pub fn add(&mut self, points: &Points, now: Instant, rows: &mut WindowRows) {
        let (series, _) = points.series.as_chunks::<4>();
        let (steps, _) = points.steps.as_chunks::<8>();
        let (times, _) = points.times.as_chunks::<8>();
        let (values, _) = points.values.as_chunks::<8>();
        let columns = series.iter().zip(steps).zip(times).zip(values);
        for (((series, step), time), value) in columns {
            let point = Point {
                step: i64::from_le_bytes(*step),
                time: i64::from_le_bytes(*time),
                value: f64::from_le_bytes(*value),
            };
            self.add_point(u32::from_le_bytes(*series) as usize, point, now, rows);
        }
    }

    #[inline]
    fn add_point(&mut self, series: usize, point: Point, now: Instant, rows: &mut WindowRows) {
        if self.open.len() <= series {
            self.open.resize_with(series + 1, || None);
        }
        let number = point.time.div_euclid(self.width_ns);
        let place = &mut self.open[series];
        if let Some(open) = place {
            if open.number != number {
                rows.add(series, start(open.number, self.width_ns), &open.aggregate);
                open.number = number;
                open.since = now;
                open.aggregate = Aggregate::default();
            }
            open.aggregate.add(point);
            return;
        }
        self.due = self.due.or_else(|| now.checked_add(self.width));
        let mut aggregate = Aggregate::default();
        aggregate.add(point);
        *place = Some(Box::new(Open {
            number,
            since: now,
            aggregate,
        }));
    }

    /// Close the windows that have been open for their width by `now`.
    pub fn close_due(&mut self, now: Instant, rows: &mut WindowRows) {
        if self.due.is_some_and(|due| due <= now) {
            self.close(|open, width| now.duration_since(open.since) >= width, rows);
        }
    }

    /// Close all windows.
    pub fn close_all(&mut self, rows: &mut WindowRows) {
        self.close(|_, _| true, rows);
    }

    fn close(&mut self, is_over: impl Fn(&Open, Duration) -> bool, rows: &mut WindowRows) {
        let mut oldest: Option<Instant> = None;
        for (series, place) in self.open.iter_mut().enumerate() {
            let Some(open) = place else { continue };
            if is_over(open, self.width) {
                rows.add(series, start(open.number, self.width_ns), &open.aggregate);
                *place = None;
            } else {
                oldest = Some(oldest.map_or(open.since, |since| since.min(open.since)));
            }
        }
        self.due = oldest.and_then(|since| since.checked_add(self.width));
    }
}

/// Where a window starts; the first may start before the least time there is.
fn start(number: i64, width_ns: i64) -> i64 {
    number.saturating_mul(width_ns)
}
