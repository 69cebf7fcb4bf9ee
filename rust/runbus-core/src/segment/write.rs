//! Windows of rows to Parquet, a row group each.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::checks::{self, span_of};
use super::chunks::Chunks;
use super::footer;
use super::layout::{self, About, BATCH_ROWS};
use super::window::Window;

type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// A segment that is being written.
pub(super) struct Writer {
    parquet: SerializedFileWriter<File>,
    points: usize,
    /// Names by their numbers, and where the points of each end.
    stretches: Vec<(usize, usize)>,
}

impl Writer {
    pub(super) fn open(file: File) -> Result<Self> {
        let properties = Arc::new(layout::properties());
        Ok(Self {
            parquet: SerializedFileWriter::new(file, layout::schema()?, properties)?,
            points: 0,
            stretches: Vec::new(),
        })
    }

    /// Make a row group of a window; `names` are those of all windows so far.
    pub(super) fn write(&mut self, window: &Window, names: &[&str]) -> Result<()> {
        let counts = window.counts();
        let order = window.order(&counts);
        let mut group = self.parquet.next_row_group()?;
        let there = names.iter().zip(&counts).filter(|(_, count)| **count > 0);
        write::<ByteArrayType>(
            &mut group,
            there.flat_map(|(name, count)| std::iter::repeat_n(ByteArray::from(*name), *count)),
        )?;
        write_points(&mut group, window, &order)?;
        group.close()?;
        for (name, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.points += count;
            match self.stretches.last_mut() {
                Some((last, end)) if *last == name => *end = self.points,
                _ => self.stretches.push((name, self.points)),
            }
        }
        Ok(())
    }

    /// Write the footer, which holds the checks of all that stands before it and of itself; the file
    /// is complete, but not yet on the disk.
    pub(super) fn finish(mut self, about: &About, names: &[&str]) -> Result<File> {
        self.parquet.flush()?;
        let written = Chunks::new(self.parquet.inner().try_clone()?)?;
        let groups = self.parquet.flushed_row_groups().iter();
        let columns = groups.flat_map(RowGroupMetaData::columns);
        let hashes = columns.map(|column| written.hash(span_of(column)));
        let hashes = hashes.collect::<io::Result<Vec<u64>>>()?;
        let stretches = self.stretches.iter();
        let stretches = stretches.map(|(name, end)| (names[*name], *end));
        let mut pairs = about.encode();
        pairs.push(layout::encode_names(stretches));
        pairs.push(checks::encode(&hashes));
        pairs.push(footer::placeholder());
        for pair in pairs {
            self.parquet.append_key_value_metadata(pair);
        }
        let file = self.parquet.into_inner()?;
        footer::seal(&file)?;
        Ok(file)
    }
}

/// The columns behind the name, with the points in this order.
fn write_points(group: &mut Group<'_>, window: &Window, order: &[u32]) -> Result<()> {
    let places = || order.iter().map(|place| *place as usize);
    let times = || places().map(|place| window.times[place]);
    write::<Int64Type>(group, places().map(|place| window.steps[place]))?;
    write::<Int64Type>(group, times().map(|time| time.div_euclid(1000)))?;
    #[allow(clippy::cast_possible_truncation, reason = "less than a thousand")]
    write::<Int32Type>(group, times().map(|time| time.rem_euclid(1000) as i32))?;
    let positions = places().map(|place| window.positions[place].cast_signed());
    write::<Int64Type>(group, positions)?;
    write::<DoubleType>(group, places().map(|place| window.values[place]))?;
    write::<Int32Type>(group, places().map(|place| window.rests.at(place).into()))
}

/// Write the next column, a batch at a time.
fn write<T: DataType>(group: &mut Group<'_>, mut values: impl Iterator<Item = T::T>) -> Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    let mut batch = Vec::new();
    loop {
        batch.extend(values.by_ref().take(BATCH_ROWS));
        if batch.is_empty() {
            return column.close();
        }
        column.typed::<T>().write_batch(&batch, None, None)?;
        batch.clear();
    }
}
