//! Frames to Parquet.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::TypePtr;

use super::checks::{self, span_of};
use super::chunks::Chunks;
use super::layout::{self, GROUP_ROWS, Shape};
use crate::frame::{Long, Wide};

type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// What every point has, whatever its name.
struct Points<'a> {
    steps: &'a [i64],
    times: &'a [i64],
    /// `None` where the place of a row is its number.
    rows: Option<&'a [u64]>,
}

impl Points<'_> {
    fn shape(&self) -> Shape {
        Shape {
            has_nanoseconds: self.times.iter().any(|time| time.rem_euclid(1000) != 0),
            has_rows: self.rows.is_some(),
        }
    }

    fn write(&self, group: &mut Group<'_>, shape: Shape, range: &Range<usize>) -> Result<()> {
        let times = &self.times[range.clone()];
        write::<Int64Type>(group, &self.steps[range.clone()])?;
        let micros: Vec<i64> = times.iter().map(|time| time.div_euclid(1000)).collect();
        write::<Int64Type>(group, &micros)?;
        if shape.has_nanoseconds {
            let rest = times.iter().map(|time| time.rem_euclid(1000));
            #[allow(clippy::cast_possible_truncation, reason = "less than a thousand")]
            let rest: Vec<i32> = rest.map(|rest| rest as i32).collect();
            write::<Int32Type>(group, &rest)?;
        }
        if let Some(rows) = self.rows {
            let rows = rows[range.clone()].iter().map(|row| row.cast_signed());
            write::<Int64Type>(group, &rows.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Write the points of a long frame; the file is complete, but not yet on the disk.
pub(super) fn write_long(file: File, frame: &Long, mut about: Vec<KeyValue>) -> Result<File> {
    about.push(layout::encode_names(&frame.names, &frame.ends));
    let points = Points {
        steps: &frame.steps,
        times: &frame.times,
        rows: frame.order.as_deref(),
    };
    let shape = points.shape();
    let mut writer = Writer::open(file, layout::schema(shape, None)?, about)?;
    for range in groups(frame.steps.len()) {
        let mut group = writer.parquet.next_row_group()?;
        write::<ByteArrayType>(&mut group, &names_of(frame, &range))?;
        points.write(&mut group, shape, &range)?;
        write::<DoubleType>(&mut group, &frame.values[range])?;
        group.close()?;
    }
    writer.finish()
}

/// Write the rows of a wide frame; the file is complete, but not yet on the disk.
pub(super) fn write_wide(file: File, frame: &Wide, about: Vec<KeyValue>) -> Result<File> {
    let is_plain = frame
        .order
        .iter()
        .zip(0..)
        .all(|(row, place)| *row == place);
    let points = Points {
        steps: &frame.steps,
        times: &frame.times,
        rows: (!is_plain).then_some(&frame.order),
    };
    let shape = points.shape();
    let mut writer = Writer::open(file, layout::schema(shape, Some(&frame.names))?, about)?;
    for range in groups(frame.steps.len()) {
        let mut group = writer.parquet.next_row_group()?;
        points.write(&mut group, shape, &range)?;
        for column in &frame.values {
            write::<DoubleType>(&mut group, &column[range.clone()])?;
        }
        group.close()?;
    }
    writer.finish()
}

struct Writer {
    parquet: SerializedFileWriter<File>,
    about: Vec<KeyValue>,
}

impl Writer {
    fn open(file: File, schema: TypePtr, about: Vec<KeyValue>) -> Result<Self> {
        let properties = Arc::new(layout::properties(about.clone()));
        Ok(Self {
            parquet: SerializedFileWriter::new(file, schema, properties)?,
            about,
        })
    }

    /// Write the footer, which holds the checks of all that stands before it.
    fn finish(mut self) -> Result<File> {
        self.parquet.flush()?;
        let written = Chunks::new(self.parquet.inner().try_clone()?)?;
        let groups = self.parquet.flushed_row_groups().iter();
        let columns = groups.flat_map(RowGroupMetaData::columns);
        let hashes = columns.map(|column| written.hash(span_of(column)));
        let hashes = hashes.collect::<io::Result<Vec<u64>>>()?;
        let description = checks::of_description(self.parquet.schema_descr(), &self.about);
        self.parquet
            .append_key_value_metadata(checks::encode(description, &hashes));
        self.parquet.into_inner()
    }
}

fn groups(rows: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..rows).step_by(GROUP_ROWS);
    starts.map(move |start| start..rows.min(start + GROUP_ROWS))
}

fn names_of(frame: &Long, range: &Range<usize>) -> Vec<ByteArray> {
    let mut names = Vec::with_capacity(range.len());
    for (name, stretch) in frame.stretches() {
        let from = stretch.start.clamp(range.start, range.end);
        let to = stretch.end.clamp(range.start, range.end);
        let name = ByteArray::from(name);
        names.extend(std::iter::repeat_n(name, to - from));
    }
    names
}

fn write<T: DataType>(group: &mut Group<'_>, values: &[T::T]) -> Result<()> {
    if let Some(mut column) = group.next_column()? {
        column.typed::<T>().write_batch(values, None, None)?;
        column.close()?;
    }
    Ok(())
}
