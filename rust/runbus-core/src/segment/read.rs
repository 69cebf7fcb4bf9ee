//! Parquet to frames.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use parquet::basic::Type as Physical;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::file::statistics::Statistics;

use super::checks;
use super::chunks::Chunks;
use super::footer::{self, Footer};
use super::guard;
use super::layout::{self, About, NAME, PAGE_ROWS, POSITION, ROW, STEP, TIME, TIME_NS, VALUE};
use crate::files;
use crate::frame::{Long, Wide};
use crate::journal::Error;
use crate::memory::Big;

/// One segment, opened for reading.
pub struct Segment {
    pub(super) path: PathBuf,
    pub(super) reader: SerializedFileReader<Chunks>,
    pub(super) chunks: Chunks,
    about: About,
    /// For each row group the hashes of its columns.
    pub(super) checks: Vec<u64>,
    rows: usize,
    /// The names of a long segment, and where their points end: each once a row group at most.
    names: Option<(Vec<Box<str>>, Vec<usize>)>,
}

/// What a segment holds.
pub enum Content {
    /// Points of names one after the other.
    Long(Long),
    /// Rows under one set of names: several frames only where some columns are damaged.
    Wide(Vec<Wide>),
}

impl Segment {
    /// Open a segment and read its metadata.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::BadSegment`] when it is none that this version reads.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |error| Error::io(path, error);
        let file = files::open(path)?;
        let footer = footer::check(&file).map_err(io)?;
        let chunks = Chunks::new(file).map_err(io)?;
        guarded(path, || {
            if footer == Footer::Damaged {
                return Err(wrong("its footer"));
            }
            let reader = SerializedFileReader::new(chunks.clone())?;
            let file = reader.metadata().file_metadata();
            let pairs = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
            let about = About::decode(pairs).ok_or_else(|| wrong("its description"))?;
            let rows = usize::try_from(file.num_rows()).map_err(|_| wrong("its rows"))?;
            let mut checks = checks::decode(pairs).ok_or_else(|| wrong("its checks"))?;
            match footer {
                Footer::Whole(end) if !about.is_older => check_places(&reader, end)?,
                Footer::Unchecked if about.is_older && !checks.is_empty() => {
                    let description = checks::of_description(file.schema_descr(), pairs);
                    if checks.remove(0) != description {
                        return Err(wrong("its description"));
                    }
                }
                _ => return Err(wrong("its footer")),
            }
            let columns = file.schema_descr().num_columns();
            if checks.len() != columns * reader.metadata().num_row_groups() {
                return Err(wrong("its checks"));
            }
            let groups = reader.metadata().row_groups().iter();
            for column in groups.flat_map(RowGroupMetaData::columns) {
                // It panics for one that lies nowhere.
                checks::span_of(column);
            }
            let names = match layout::find(pairs, "runbus.names") {
                Some(text) => {
                    let names = layout::decode_names(text).ok_or_else(|| wrong("its names"))?;
                    if names.1.last().copied().unwrap_or(0) != rows {
                        return Err(wrong("its names do not cover its points, which"));
                    }
                    Some(names)
                }
                None => None,
            };
            Ok(Self {
                path: path.to_owned(),
                reader,
                chunks,
                about,
                checks,
                rows,
                names,
            })
        })
    }

    /// What it tells of its journal.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether it is of version 1.
    pub(crate) fn is_older(&self) -> bool {
        self.about.is_older
    }

    /// How many points it holds; of a wide one of version 1, how many rows.
    pub(crate) fn row_count(&self) -> usize {
        self.rows
    }

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

    /// The metrics that it has points of, each once, in the order of their first points.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match &self.names {
            Some((names, _)) => {
                let mut seen = HashSet::new();
                let names = names.iter().map(|name| &**name);
                names.filter(|name| seen.insert(*name)).collect()
            }
            None => self.columns_of_metrics().collect(),
        }
    }

    /// The least and the greatest step of a row group; `None` where that is not told.
    pub(crate) fn steps_of(&self, group: usize) -> Option<(i64, i64)> {
        self.bounds(group, STEP)
    }

    /// The same of its times, in whole microseconds.
    pub(crate) fn times_of(&self, group: usize) -> Option<(i64, i64)> {
        self.bounds(group, TIME)
    }

    /// Where the last record of a row group ended in the journal.
    pub(crate) fn last_position(&self, group: usize) -> Option<u64> {
        let (_, last) = self.bounds(group, POSITION)?;
        Some(last.cast_unsigned())
    }

    fn bounds(&self, group: usize, column: &str) -> Option<(i64, i64)> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let mut columns = schema.columns().iter();
        let place = columns.position(|known| known.name() == column)?;
        let group = self.reader.metadata().row_group(group);
        match group.column(place).statistics()? {
            Statistics::Int64(found) => Some((*found.min_opt()?, *found.max_opt()?)),
            _ => None,
        }
    }

    fn columns_of_metrics(&self) -> impl Iterator<Item = &str> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let names = schema.columns().iter().map(|column| column.name());
        names.filter(|name| *name != NAME && !layout::is_of_every_row(name))
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

type Ranges = Vec<Range<usize>>;

struct Read {
    steps: Vec<i64>,
    times: Vec<i64>,
    rows: Option<Vec<u64>>,
    values: Vec<Vec<f64>>,
}

/// Certain rows of a segment.
struct Columns<'a> {
    segment: &'a Segment,
    ranges: Vec<Range<usize>>,
}

impl Columns<'_> {
    fn read_if_there<T: DataType>(&self, name: &str) -> parquet::errors::Result<Option<Vec<T::T>>> {
        self.index(name).map(|_| self.read::<T>(name)).transpose()
    }

    fn index(&self, name: &str) -> Option<usize> {
        let schema = self
            .segment
            .reader
            .metadata()
            .file_metadata()
            .schema_descr();
        schema
            .columns()
            .iter()
            .position(|column| column.name() == name)
    }

    fn read<T: DataType>(&self, name: &str) -> parquet::errors::Result<Vec<T::T>> {
        let index = self.index(name).ok_or_else(|| wrong(name))?;
        let metadata = self.segment.reader.metadata();
        let descriptor = metadata.file_metadata().schema_descr().column(index);
        let is_flat = descriptor.max_def_level() == 0 && descriptor.max_rep_level() == 0;
        if descriptor.physical_type() != T::get_physical_type() || !is_flat {
            return Err(wrong(name));
        }
        let wanted: usize = self.ranges.iter().map(Range::len).sum();
        let mut found = Vec::new();
        if descriptor.physical_type() != Physical::BYTE_ARRAY {
            found.reserve_big(wanted);
        }
        let mut start = 0;
        for group in 0..metadata.num_row_groups() {
            let rows = usize::try_from(metadata.row_group(group).num_rows());
            let end = start + rows.map_err(|_| wrong(name))?;
            self.read_group::<T>(group, index, start..end, &mut found)?;
            start = end;
        }
        if found.len() != wanted {
            return Err(wrong(name));
        }
        Ok(found)
    }

    fn read_group<T: DataType>(
        &self,
        group: usize,
        index: usize,
        bounds: Range<usize>,
        found: &mut Vec<T::T>,
    ) -> parquet::errors::Result<()> {
        let within = |range: &Range<usize>| {
            range.start.clamp(bounds.start, bounds.end)..range.end.clamp(bounds.start, bounds.end)
        };
        let ranges = self.ranges.iter().map(within);
        let ranges: Vec<Range<usize>> = ranges.filter(|range| !range.is_empty()).collect();
        if ranges.is_empty() {
            return Ok(());
        }
        let group = self.segment.reader.get_row_group(group)?;
        let mut column = get_typed_column_reader::<T>(group.get_column_reader(index)?);
        let mut place = bounds.start;
        for range in ranges {
            column.skip_records(range.start - place)?;
            let mut left = range.len();
            while left > 0 {
                let (_, count, _) = column.read_records(left, None, None, found)?;
                if count == 0 || count > left {
                    return Err(wrong("it ends early"));
                }
                left -= count;
            }
            place = range.end;
        }
        Ok(())
    }
}

/// What of a range lies within ascending ones.
fn within(ranges: &[Range<usize>], range: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let parts = ranges
        .iter()
        .map(move |part| part.start.max(range.start)..part.end.min(range.end));
    parts.filter(|part| !part.is_empty())
}

/// Neighbours become one.
pub(super) fn add_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Do all tasks, with a thread for each core.
pub(super) fn together(tasks: Vec<Box<dyn FnOnce() + Send + '_>>) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(tasks.len());
    let queue = Mutex::new(tasks.into_iter());
    let work = || {
        loop {
            let next = queue.lock().map(|mut queue| queue.next());
            let Ok(Some(task)) = next else { break };
            task();
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| guard::quietly(work));
        }
        work();
    });
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(format!("{what} is not what a segment has"))
}

/// In a segment the columns lie one behind the other, from the magic to the footer: nothing is there
/// that no check covers.
fn check_places(reader: &SerializedFileReader<Chunks>, end: u64) -> parquet::errors::Result<()> {
    let mut place = 4;
    let groups = reader.metadata().row_groups().iter();
    for column in groups.flat_map(RowGroupMetaData::columns) {
        let span = checks::span_of(column);
        if span.offset != place {
            return Err(wrong("the place of a column"));
        }
        place += span.length;
    }
    if place == end {
        Ok(())
    } else {
        Err(wrong("the place of its footer"))
    }
}

fn guarded<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T, Error> {
    let bad = |reason: String| Error::BadSegment {
        path: path.to_owned(),
        reason,
    };
    match guard::guarded(read) {
        Some(result) => result.map_err(|error| bad(error.to_string())),
        None => Err(bad("it is damaged".into())),
    }
}
