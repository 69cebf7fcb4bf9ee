//! Columns of certain rows of a segment.

use std::ops::Range;

use parquet::basic::Type as Physical;
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::DataType;
use parquet::file::reader::FileReader;

use super::open::{Segment, wrong};
use crate::memory::Big;

/// Certain rows of a segment.
pub(super) struct Columns<'a> {
    pub(super) segment: &'a Segment,
    pub(super) ranges: Vec<Range<usize>>,
}

impl Columns<'_> {
    pub(super) fn read_if_there<T: DataType>(
        &self,
        name: &str,
    ) -> parquet::errors::Result<Option<Vec<T::T>>> {
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

    pub(super) fn read<T: DataType>(&self, name: &str) -> parquet::errors::Result<Vec<T::T>> {
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
        let pages = self.segment.page_reader(group, index, bounds.clone())?;
        let descriptors = self
            .segment
            .reader
            .metadata()
            .file_metadata()
            .schema_descr();
        let column = get_column_reader(descriptors.column(index), Box::new(pages));
        let mut column = get_typed_column_reader::<T>(column);
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
