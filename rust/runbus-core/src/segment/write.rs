//! Frames to Parquet.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use xxhash_rust::xxh3::Xxh3;

use super::layout::{self, GROUP_ROWS, Shape};
use crate::frame::{Long, Wide};

type Group<'a> = SerializedRowGroupWriter<'a, Checked>;

/// A file that is hashed while it is written.
struct Checked {
    file: File,
    hash: Xxh3,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

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
    let mut writer = open(file, layout::schema(shape, None)?, about)?;
    for range in groups(frame.steps.len()) {
        let mut group = writer.next_row_group()?;
        write::<ByteArrayType>(&mut group, &names_of(frame, &range))?;
        points.write(&mut group, shape, &range)?;
        write::<DoubleType>(&mut group, &frame.values[range])?;
        group.close()?;
    }
    finish(writer)
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
    let mut writer = open(file, layout::schema(shape, Some(&frame.names))?, about)?;
    for range in groups(frame.steps.len()) {
        let mut group = writer.next_row_group()?;
        points.write(&mut group, shape, &range)?;
        for column in &frame.values {
            write::<DoubleType>(&mut group, &column[range.clone()])?;
        }
        group.close()?;
    }
    finish(writer)
}

fn open(
    file: File,
    schema: parquet::schema::types::TypePtr,
    about: Vec<KeyValue>,
) -> Result<SerializedFileWriter<Checked>> {
    let file = Checked {
        file,
        hash: Xxh3::new(),
    };
    SerializedFileWriter::new(file, schema, Arc::new(layout::properties(about)))
}

/// Write the footer, which holds the check of all that stands before it.
fn finish(mut writer: SerializedFileWriter<Checked>) -> Result<File> {
    writer.flush()?;
    let check = layout::encode_check(writer.bytes_written(), writer.inner().hash.digest());
    writer.append_key_value_metadata(check);
    writer.into_inner().map(|checked| checked.file)
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
