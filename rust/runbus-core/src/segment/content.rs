//! The points of a segment, as frames.

use std::ops::Range;
use std::thread;

use parquet::data_type::{DoubleType, Int32Type, Int64Type};

use super::columns::Columns;
use super::layout::{PAGE_ROWS, POSITION, ROW, STEP, TIME, TIME_NS, VALUE};
use super::open::{Segment, guarded};
use super::parallel::together;
use super::ranges::{add_range, within};
use crate::error::Error;
use crate::frame::{Long, Wide};
use crate::memory::Big;

/// What a segment holds.
pub enum Content {
    /// Points of names one after the other.
    Long(Long),
    /// Rows under one set of names: several frames only where some columns are damaged.
    Wide(Vec<Wide>),
}

impl Segment {
    /// The points, with only the names that are wanted, and without the row groups in which one of
    /// their columns is damaged.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::BadSegment`] when the file is damaged.
    pub fn content(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Content, Error> {
        self.content_of(std::slice::from_ref(&(0..self.rows)), is_wanted)
    }

    /// The same of certain rows, in ascending ranges.
    ///
    /// # Errors
    /// As [`Segment::content`].
    pub fn content_of(
        &self,
        rows: &[Range<usize>],
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Content, Error> {
        guarded(&self.path, || match &self.names {
            Some((names, ends)) => self.long(names, ends, rows, is_wanted).map(Content::Long),
            None => self.wide(rows, is_wanted).map(Content::Wide),
        })
    }

    fn long(
        &self,
        names: &[Box<str>],
        ends: &[usize],
        rows: &[Range<usize>],
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> parquet::errors::Result<Long> {
        let (mut wanted, mut start) = (Vec::new(), 0);
        for (name, end) in names.iter().zip(ends) {
            if is_wanted(name) {
                wanted.extend(within(rows, &(start..*end)).map(|range| (name, range)));
            }
            start = *end;
        }
        let rows: Vec<Range<usize>> = wanted.iter().map(|(_, range)| range.clone()).collect();
        let whole = self.damaged(&rows, &[VALUE])?.whole(&[VALUE]);
        let (mut frame, mut ranges, mut points) = (Long::default(), Vec::new(), 0);
        for (name, range) in wanted {
            let before = points;
            for part in within(&whole, &range) {
                points += part.len();
                add_range(&mut ranges, part);
            }
            if points > before {
                frame.names.push(name.clone());
                frame.ends.push(points);
            }
        }
        let mut read = self.points(ranges, &[VALUE.into()])?;
        (frame.steps, frame.times) = (read.steps, read.times);
        frame.order = read.rows;
        frame.values = read.values.pop().unwrap_or_default();
        Ok(frame.gathered())
    }

    /// A frame for all columns that are whole, and one more for those that lack the same rows.
    fn wide(
        &self,
        rows: &[Range<usize>],
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> parquet::errors::Result<Vec<Wide>> {
        let names = self.columns_of_metrics().filter(|name| is_wanted(name));
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let damaged = self.damaged(rows, &names)?;
        let mut alike: Vec<(Ranges, Vec<Box<str>>)> = Vec::new();
        for name in names {
            let whole = damaged.whole(&[name]);
            let whole: Ranges = rows.iter().flat_map(|rows| within(&whole, rows)).collect();
            match alike.iter_mut().find(|(ranges, _)| *ranges == whole) {
                Some((_, names)) => names.push(name.into()),
                None => alike.push((whole, vec![name.into()])),
            }
        }
        alike.retain(|(ranges, _)| !ranges.is_empty());
        let frames = alike.into_iter().map(|(ranges, names)| {
            let read = self.points(ranges.clone(), &names)?;
            let places = || ranges.into_iter().flatten().map(|row| row as u64).collect();
            Ok(Wide {
                names,
                order: read.rows.unwrap_or_else(places),
                steps: read.steps,
                times: read.times,
                values: read.values,
            })
        });
        frames.collect()
    }

    /// The columns of all points in `ranges`, as many at once as there are cores.
    fn points(
        &self,
        ranges: Vec<Range<usize>>,
        names: &[Box<str>],
    ) -> parquet::errors::Result<Read> {
        let parts: Vec<Columns<'_>> = shares(&ranges, names.len())
            .into_iter()
            .map(|ranges| Columns {
                segment: self,
                ranges,
            })
            .collect();
        let columns = Columns {
            segment: self,
            ranges,
        };
        let (mut steps, mut micros) = (Ok(Vec::new()), Ok(Vec::new()));
        let (mut nanos, mut rows) = (Ok(None), Ok(None));
        let mut values: Vec<parquet::errors::Result<Vec<f64>>> = Vec::new();
        values.resize_with(names.len() * parts.len(), || Ok(Vec::new()));
        let mut tasks: Vec<Box<dyn FnOnce() + Send + '_>> = Vec::new();
        tasks.push(Box::new(|| micros = columns.read::<Int64Type>(TIME)));
        tasks.push(Box::new(|| {
            nanos = columns.read_if_there::<Int32Type>(TIME_NS);
        }));
        let shares = names
            .iter()
            .flat_map(|name| parts.iter().map(move |part| (name, part)));
        for ((name, part), place) in shares.zip(&mut values) {
            tasks.push(Box::new(move || *place = part.read::<DoubleType>(name)));
        }
        tasks.push(Box::new(|| steps = columns.read::<Int64Type>(STEP)));
        let order = if self.about.is_older { ROW } else { POSITION };
        tasks.push(Box::new(|| {
            rows = columns.read_if_there::<Int64Type>(order);
        }));
        together(tasks);
        let rows = rows?.map(|rows| rows.into_iter().map(i64::cast_unsigned).collect());
        Ok(Read {
            steps: steps?,
            times: nanoseconds(micros?, nanos?),
            rows,
            values: joined(values.into_iter().collect::<Result<_, _>>()?, parts.len()),
        })
    }
}

type Ranges = Vec<Range<usize>>;

struct Read {
    steps: Vec<i64>,
    times: Vec<i64>,
    rows: Option<Vec<u64>>,
    values: Vec<Vec<f64>>,
}

/// So many parts of a column become one.
fn joined(parts: Vec<Vec<f64>>, count: usize) -> Vec<Vec<f64>> {
    if count == 1 {
        return parts;
    }
    let columns = parts.chunks(count).map(|parts| {
        let mut column = Vec::new();
        column.reserve_big(parts.iter().map(Vec::len).sum());
        for part in parts {
            column.extend_from_slice(part);
        }
        column
    });
    columns.collect()
}

/// The ranges in as many shares as there are cores without a column of their own; cut at pages.
fn shares(ranges: &[Range<usize>], columns: usize) -> Vec<Vec<Range<usize>>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let rows: usize = ranges.iter().map(Range::len).sum();
    let count = (cores / columns.max(1)).min(rows / (2 * PAGE_ROWS));
    match ranges {
        [whole] if count > 1 => {
            let share = (rows / count).next_multiple_of(PAGE_ROWS);
            let starts = whole.clone().step_by(share);
            let ends = |start: usize| whole.end.min(start + share);
            starts
                .map(|start| std::iter::once(start..ends(start)).collect())
                .collect()
        }
        _ => vec![ranges.to_vec()],
    }
}

/// Whole microseconds and what is left of each, put together; wraps as the writer did.
fn nanoseconds(mut times: Vec<i64>, rest: Option<Vec<i32>>) -> Vec<i64> {
    match rest {
        Some(rest) => {
            for (time, rest) in times.iter_mut().zip(rest) {
                *time = time.wrapping_mul(1000).wrapping_add(i64::from(rest));
            }
        }
        None => {
            for time in &mut times {
                *time = time.wrapping_mul(1000);
            }
        }
    }
    times
}
