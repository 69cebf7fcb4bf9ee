//! What one writer wrote, column by column.

use std::collections::HashMap;
use std::ops::Range;

use crate::integer::{Rests, joined};
use crate::memory::Big;

/// One point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Its step.
    pub step: i64,
    /// Its time, unix nanoseconds.
    pub time: i64,
    /// Its value.
    pub value: f64,
    /// What is missing in a value that is an integer beyond doubles.
    pub rest: i16,
}

/// New points in the order of commitment, as columns of little-endian numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Points {
    /// How many.
    pub count: usize,
    /// For each point the index of its name, `u32`.
    pub series: Vec<u8>,
    /// `i64`.
    pub steps: Vec<u8>,
    /// Unix nanoseconds, `i64`.
    pub times: Vec<u8>,
    /// `f64`, bit for bit; of integers beyond doubles the nearest one.
    pub values: Vec<u8>,
    /// Those integers, with the places of their points.
    pub integers: Vec<(usize, i64)>,
}

/// Everything one writer wrote.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// The rows of one value.
    pub long: Long,
    /// The other rows, a frame for each set of names.
    pub wide: Vec<Wide>,
}

/// Rows of one value each: the points of each name stand together, in the order of commitment.
#[derive(Clone, Debug, Default)]
pub struct Long {
    /// The names, in the order of their first points.
    pub names: Vec<Box<str>>,
    /// For each name where its points end; they start where those of the name before end.
    pub ends: Vec<usize>,
    /// For each point how many rows its writer had committed before; `None` if
    /// there is no frame besides.
    pub order: Option<Vec<u64>>,
    /// For each point its step.
    pub steps: Vec<i64>,
    /// For each point its time, unix nanoseconds.
    pub times: Vec<i64>,
    /// For each point its value, bit for bit.
    pub values: Vec<f64>,
    /// What is missing in values that are integers beyond doubles.
    pub rests: Rests,
}

/// The rows under one set of names, in the order in which they were committed.
#[derive(Clone, Debug, Default)]
pub struct Wide {
    /// The names of the columns of `values`.
    pub names: Vec<Box<str>>,
    /// For each row how many rows its writer had committed before.
    pub order: Vec<u64>,
    /// For each row its step.
    pub steps: Vec<i64>,
    /// For each row its time, unix nanoseconds.
    pub times: Vec<i64>,
    /// For each name the values, one a row, bit for bit.
    pub values: Vec<Vec<f64>>,
}

impl Wide {
    /// A frame without rows.
    #[must_use]
    pub fn new(names: Vec<Box<str>>) -> Self {
        Self {
            values: vec![Vec::new(); names.len()],
            names,
            ..Self::default()
        }
    }
}

impl Long {
    /// The point at a place.
    #[must_use]
    pub fn point(&self, place: usize) -> Point {
        Point {
            step: self.steps[place],
            time: self.times[place],
            value: self.values[place],
            rest: self.rests.at(place),
        }
    }

    /// The value at a place, if it is an integer beyond doubles.
    pub(crate) fn integer(&self, place: usize) -> Option<i64> {
        match self.rests.at(place) {
            0 => None,
            rest => joined(self.values[place], rest),
        }
    }

    /// The points of each name.
    pub fn stretches(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let names = self.names.iter().map(|name| &**name);
        names
            .zip(starts.zip(&self.ends))
            .map(|(name, (start, end))| (name, start..*end))
    }

    /// The points of rows with several names, name by name.
    pub(crate) fn of_wide(frames: Vec<Wide>) -> Self {
        let (mut long, mut order) = (Self::default(), Vec::new());
        for frame in frames {
            for (name, values) in frame.names.into_iter().zip(frame.values) {
                order.extend_from_slice(&frame.order);
                long.steps.extend_from_slice(&frame.steps);
                long.times.extend_from_slice(&frame.times);
                long.values.extend(values);
                long.names.push(name);
                long.ends.push(long.values.len());
            }
        }
        long.order = Some(order);
        long
    }

    /// The same, of a frame in which names have several stretches: the points of each together.
    pub(crate) fn gathered(self) -> Self {
        let mut found: Vec<(Box<str>, Vec<Range<usize>>)> = Vec::new();
        let mut places = HashMap::new();
        for (name, range) in self.stretches() {
            let place = *places.entry(name).or_insert(found.len());
            if place == found.len() {
                found.push((name.into(), Vec::new()));
            }
            found[place].1.push(range);
        }
        if found.len() == self.names.len() {
            return self;
        }
        let mut frame = Self::default();
        let (mut ranges, mut end) = (Vec::new(), 0);
        for (name, of_name) in found {
            end += of_name.iter().map(Range::len).sum::<usize>();
            ranges.extend(of_name);
            frame.names.push(name);
            frame.ends.push(end);
        }
        frame.order = self.order.map(|order| picked(order, &ranges));
        frame.rests = self.rests.picked(&ranges);
        frame.steps = picked(self.steps, &ranges);
        frame.times = picked(self.times, &ranges);
        frame.values = picked(self.values, &ranges);
        frame
    }
}

/// These parts of a column, one after the other.
#[allow(
    clippy::needless_pass_by_value,
    reason = "given back before the next column is made"
)]
fn picked<T: Copy>(column: Vec<T>, ranges: &[Range<usize>]) -> Vec<T> {
    let mut found = Vec::new();
    found.reserve_big(ranges.iter().map(Range::len).sum());
    for range in ranges {
        found.extend_from_slice(&column[range.clone()]);
    }
    found
}

/// Points of several names as they come, to become a [`Long`].
#[derive(Debug, Default)]
pub(crate) struct Mixed {
    pub(crate) names: Vec<Box<str>>,
    /// For each point its name, unless all have the first one.
    series: Vec<u32>,
    /// As in [`Long`], but `None` means that the place of the point is its row's number.
    pub(crate) order: Option<Vec<u64>>,
    pub(crate) steps: Vec<i64>,
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    pub(crate) rests: Rests,
}

impl Mixed {
    /// Make room for so many points.
    pub(crate) fn reserve(&mut self, points: usize) {
        self.steps.reserve_big(points);
        self.times.reserve_big(points);
        self.values.reserve_big(points);
    }

    #[inline]
    pub(crate) fn push(&mut self, series: u32, order: u64, point: Point) {
        if self.steps.len() == self.steps.capacity() {
            self.reserve(self.steps.len().max(64));
        }
        if series > 0 || !self.series.is_empty() {
            self.name_up_to(self.steps.len() + 1, series);
        }
        if let Some(known) = &mut self.order {
            known.push(order);
        }
        self.steps.push(point.step);
        self.times.push(point.time);
        self.rests.set(self.values.len(), point.rest);
        self.values.push(point.value);
    }

    /// Add points of one name, whose rows are numbered from `first` on; none has a rest.
    pub(crate) fn extend(
        &mut self,
        series: u32,
        first: u64,
        points: impl ExactSizeIterator<Item = Point> + Clone,
    ) {
        let end = self.steps.len() + points.len();
        if end > self.steps.capacity() {
            self.reserve(end.max(64));
        }
        if series > 0 || !self.series.is_empty() {
            self.name_up_to(end, series);
        }
        if let Some(known) = &mut self.order {
            known.extend(first..first + points.len() as u64);
        }
        self.steps.extend(points.clone().map(|point| point.step));
        self.times.extend(points.clone().map(|point| point.time));
        self.values.extend(points.map(|point| point.value));
    }

    /// The points from here up to `end` are of this name.
    fn name_up_to(&mut self, end: usize, series: u32) {
        if end > self.series.capacity() {
            self.series.reserve_big(self.steps.capacity().max(end));
        }
        // So far all were of the first name.
        self.series.resize(self.steps.len(), 0);
        self.series.resize(end, series);
    }

    /// From now on the place of a point is not its number.
    pub(crate) fn number_rows(&mut self) {
        if self.order.is_none() {
            self.order = Some((0..self.steps.len() as u64).collect());
        }
    }

    /// Put the points of each name together.
    pub(crate) fn grouped(self) -> Long {
        if self.names.len() <= 1 {
            return Long {
                ends: vec![self.steps.len(); self.names.len()],
                names: self.names,
                order: self.order,
                steps: self.steps,
                times: self.times,
                values: self.values,
                rests: self.rests,
            };
        }
        let mut next = self.starts();
        let points = self.steps.len();
        let (mut steps, mut times, mut values) = (zeros(points), zeros(points), zeros(points));
        let mut order = self.order.as_ref().map(|_| zeros(points));
        let mut rests = Rests::default();
        for (from, series) in self.series.iter().enumerate() {
            let place = &mut next[*series as usize];
            steps[*place] = self.steps[from];
            times[*place] = self.times[from];
            values[*place] = self.values[from];
            rests.set(*place, self.rests.at(from));
            if let (Some(order), Some(known)) = (&mut order, &self.order) {
                order[*place] = known[from];
            }
            *place += 1;
        }
        Long {
            names: self.names,
            ends: next,
            order,
            steps,
            times,
            values,
            rests,
        }
    }

    /// For each name where its points will start.
    fn starts(&self) -> Vec<usize> {
        let mut starts = vec![0_usize; self.names.len()];
        for series in &self.series {
            starts[*series as usize] += 1;
        }
        let mut total = 0;
        for start in &mut starts {
            let count = *start;
            *start = total;
            total += count;
        }
        starts
    }
}

fn zeros<T: Copy + Default>(count: usize) -> Vec<T> {
    let mut column = Vec::new();
    column.reserve_big(count);
    column.resize(count, T::default());
    column
}
