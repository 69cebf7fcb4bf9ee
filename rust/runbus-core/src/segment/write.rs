//! Windows of rows to Parquet, a row group each.

use std::fs::File;
use std::io;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::Result;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use super::checks::{self, span_of};
use super::chunks::Chunks;
use super::layout::{self, BATCH_ROWS, Shape};
use super::plan::Sheet;
use super::window::Window;

type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// A segment that is being written.
pub(super) struct Writer<'a> {
    parquet: SerializedFileWriter<File>,
    about: Vec<KeyValue>,
    sheet: &'a Sheet,
    is_long: bool,
    rows: usize,
    /// Of a long one: names by their places in the sheet, and where the rows of each end.
    stretches: Vec<(usize, usize)>,
}

impl<'a> Writer<'a> {
    pub(super) fn open(
        file: File,
        sheet: &'a Sheet,
        is_long: bool,
        about: Vec<KeyValue>,
    ) -> Result<Self> {
        let schema = layout::schema(sheet.shape, (!is_long).then_some(&sheet.names))?;
        let properties = Arc::new(layout::properties(about.clone()));
        Ok(Self {
            parquet: SerializedFileWriter::new(file, schema, properties)?,
            about,
            sheet,
            is_long,
            rows: 0,
            stretches: Vec::new(),
        })
    }

    /// Make a row group of a window.
    pub(super) fn write(&mut self, window: &Window) -> Result<()> {
        let mut group = self.parquet.next_row_group()?;
        if self.is_long {
            let counts = window.counts(self.sheet.names.len());
            let names = self.sheet.names.iter().zip(&counts);
            let names = names.filter(|(_, count)| **count > 0);
            write::<ByteArrayType>(
                &mut group,
                names.flat_map(|(name, count)| {
                    std::iter::repeat_n(ByteArray::from(&**name), *count)
                }),
            )?;
            let order = window.order(&counts);
            write_rows(&mut group, window, self.sheet.shape, order.as_deref())?;
            group.close()?;
            self.add_stretches(&counts);
        } else {
            write_rows(&mut group, window, self.sheet.shape, None)?;
            group.close()?;
        }
        Ok(())
    }

    fn add_stretches(&mut self, counts: &[usize]) {
        for (name, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.rows += count;
            match self.stretches.last_mut() {
                Some((last, end)) if *last == name => *end = self.rows,
                _ => self.stretches.push((name, self.rows)),
            }
        }
    }

    /// Write the footer, which holds the checks of all that stands before it; the file is complete,
    /// but not yet on the disk.
    pub(super) fn finish(mut self) -> Result<File> {
        if self.is_long {
            let names = &self.sheet.names;
            let stretches = self.stretches.iter();
            let stretches = stretches.map(|(name, end)| (&*names[*name], *end));
            let pair = layout::encode_names(stretches);
            self.parquet.append_key_value_metadata(pair.clone());
            self.about.push(pair);
        }
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

/// The columns behind the name, with the rows in this order.
fn write_rows(
    group: &mut Group<'_>,
    window: &Window,
    shape: Shape,
    order: Option<&[u32]>,
) -> Result<()> {
    let places = || {
        let place = move |at: usize| order.map_or(at, |order| order[at] as usize);
        (0..window.steps.len()).map(place)
    };
    let times = || places().map(|place| window.times[place]);
    write::<Int64Type>(group, places().map(|place| window.steps[place]))?;
    write::<Int64Type>(group, times().map(|time| time.div_euclid(1000)))?;
    if shape.has_nanoseconds {
        #[allow(clippy::cast_possible_truncation, reason = "less than a thousand")]
        write::<Int32Type>(group, times().map(|time| time.rem_euclid(1000) as i32))?;
    }
    if shape.has_rows {
        write::<Int64Type>(
            group,
            places().map(|place| window.rows[place].cast_signed()),
        )?;
    }
    for column in &window.values {
        write::<DoubleType>(group, places().map(|place| column[place]))?;
    }
    Ok(())
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
