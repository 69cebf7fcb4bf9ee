//! Windows of rows to Parquet, a row group each.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use parquet::column::writer::{get_column_writer, get_typed_column_writer};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::{
    SerializedFileWriter, SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite,
};
use parquet::schema::types::SchemaDescPtr;

use super::checks::{self, Page};
use super::footer;
use super::layout::{self, About, BATCH_ROWS};
use super::window::Window;

/// A segment that is being written.
pub(super) struct Writer {
    parquet: SerializedFileWriter<File>,
    kinds: Kinds,
    /// Of each column so far.
    pages: Vec<Vec<Page>>,
    points: usize,
    /// Names by their numbers, and where the points of each end.
    stretches: Vec<(usize, usize)>,
}

/// How columns are written.
#[derive(Clone)]
struct Kinds {
    schema: SchemaDescPtr,
    usual: WriterPropertiesPtr,
    values: WriterPropertiesPtr,
}

impl Writer {
    pub(super) fn open(file: File) -> Result<Self> {
        let properties = Arc::new(layout::properties());
        let parquet = SerializedFileWriter::new(file, layout::schema()?, Arc::clone(&properties))?;
        Ok(Self {
            kinds: Kinds {
                schema: Arc::new(parquet.schema_descr().clone()),
                usual: properties,
                values: Arc::new(layout::properties_of_values()),
            },
            parquet,
            pages: Vec::new(),
            points: 0,
            stretches: Vec::new(),
        })
    }

    /// Make a row group of a window; `names` are those of all windows so far.
    pub(super) fn write(&mut self, window: &Window, names: &[&str]) -> Result<()> {
        let counts = window.counts();
        let order = window.order(&counts);
        let kinds = self.kinds.clone();
        let mut group = Group {
            parquet: self.parquet.next_row_group()?,
            kinds,
            pages: &mut self.pages,
            column: 0,
        };
        let there = names.iter().zip(&counts).filter(|(_, count)| **count > 0);
        group.write::<ByteArrayType>(
            there.flat_map(|(name, count)| std::iter::repeat_n(ByteArray::from(*name), *count)),
        )?;
        write_points(&mut group, window, &order, &counts)?;
        group.parquet.close()?;
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
        let stretches = self.stretches.iter();
        let stretches = stretches.map(|(name, end)| (names[*name], *end));
        let mut pairs = about.encode();
        pairs.push(layout::encode_names(stretches));
        pairs.push(checks::encode(&self.pages));
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
fn write_points(
    group: &mut Group<'_>,
    window: &Window,
    order: &[u32],
    counts: &[usize],
) -> Result<()> {
    let places = || order.iter().map(|place| *place as usize);
    let times = || places().map(|place| window.times[place]);
    group.write::<Int64Type>(places().map(|place| window.steps[place]))?;
    group.write::<Int64Type>(times().map(|time| time.div_euclid(1000)))?;
    #[allow(clippy::cast_possible_truncation, reason = "less than a thousand")]
    group.write::<Int32Type>(times().map(|time| time.rem_euclid(1000) as i32))?;
    group.write::<Int64Type>(places().map(|place| window.positions[place].cast_signed()))?;
    let values = places().map(|place| window.values[place]);
    group.write_pages::<DoubleType>(values, &layout::value_pages(counts))?;
    group.write::<Int32Type>(places().map(|place| window.rests.at(place).into()))
}

/// A row group that is being written, column by column.
struct Group<'a> {
    parquet: SerializedRowGroupWriter<'a, File>,
    kinds: Kinds,
    pages: &'a mut Vec<Vec<Page>>,
    column: usize,
}

impl Group<'_> {
    /// Write the next column.
    fn write<T: DataType>(&mut self, values: impl Iterator<Item = T::T>) -> Result<()> {
        let properties = Arc::clone(&self.kinds.usual);
        self.write_batches::<T>(values, std::iter::repeat(BATCH_ROWS), properties)
    }

    /// Write the next column, in pages of so many values.
    fn write_pages<T: DataType>(
        &mut self,
        values: impl Iterator<Item = T::T>,
        pages: &[usize],
    ) -> Result<()> {
        let properties = Arc::clone(&self.kinds.values);
        self.write_batches::<T>(values, pages.iter().copied(), properties)
    }

    /// A column is put together in memory: what is there is hashed before it is on its way to the disk.
    fn write_batches<T: DataType>(
        &mut self,
        mut values: impl Iterator<Item = T::T>,
        batches: impl Iterator<Item = usize>,
        properties: WriterPropertiesPtr,
    ) -> Result<()> {
        let mut sink = TrackedWrite::new(Vec::new());
        let descriptor = self.kinds.schema.column(self.column);
        let pages = Box::new(SerializedPageWriter::new(&mut sink));
        let column = get_column_writer(descriptor, properties, pages);
        let mut column = get_typed_column_writer::<T>(column);
        let mut batch = Vec::new();
        for count in batches {
            batch.extend(values.by_ref().take(count));
            if batch.is_empty() {
                break;
            }
            column.write_batch(&batch, None, None)?;
            batch.clear();
        }
        let mut closed = column.close()?;
        let bytes = Bytes::from(sink.into_inner()?);
        // Our checks tell where the pages are.
        let pages = closed.offset_index.take().and_then(|index| {
            let rows = usize::try_from(closed.rows_written).ok()?;
            checks::pages_of(&bytes, index.page_locations(), rows)
        });
        let missing = || ParquetError::General("the pages of a column are not known".into());
        self.pages.push(pages.ok_or_else(missing)?);
        closed.column_index = None;
        self.column += 1;
        self.parquet.append_column(&bytes, closed)
    }
}
