//! What is damaged in a segment: a hash for each column of each row group.
//!
//! The footer that holds them has one of its own, see [`super::footer`].

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::file::reader::FileReader;
use parquet::schema::types::SchemaDescriptor;
use xxhash_rust::xxh3::Xxh3;

use super::layout;
use super::read::{Segment, add_range, together};
use crate::journal::{Error, Span};

const CHECKS: &str = "runbus.checks";

/// The hashes of each column of each row group.
pub(super) fn encode(columns: &[u64]) -> KeyValue {
    let texts: Vec<String> = columns.iter().map(|hash| format!("{hash:016x}")).collect();
    KeyValue::new(CHECKS.into(), texts.join(" "))
}

pub(super) fn decode(pairs: &[KeyValue]) -> Option<Vec<u64>> {
    let texts = layout::find(pairs, CHECKS)?.split_ascii_whitespace();
    texts
        .map(|text| u64::from_str_radix(text, 16).ok())
        .collect()
}

/// What covers the description in version 1: XXH3-64 of the names of the columns and of what `pairs`
/// tell, but for the checks themselves. It is the first of the hashes.
pub(super) fn of_description(schema: &SchemaDescriptor, pairs: &[KeyValue]) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    for column in schema.columns() {
        add(column.name());
    }
    for pair in pairs {
        // Other writers of Parquet may have added theirs.
        if pair.key.starts_with("runbus.") && pair.key != CHECKS {
            add(&pair.key);
            add(pair.value.as_deref().unwrap_or_default());
        }
    }
    hash.digest()
}

/// Where a column of a row group lies.
pub(super) fn span_of(column: &ColumnChunkMetaData) -> Span {
    let (offset, length) = column.byte_range();
    Span { offset, length }
}

/// The row groups of a segment that somebody wants, and which of their columns are damaged.
pub(super) struct Damaged<'a> {
    segment: &'a Segment,
    groups: Vec<(usize, Range<usize>)>,
    /// Group and column.
    found: HashSet<(usize, usize)>,
}

impl Damaged<'_> {
    /// The rows of which these columns, and those that every row has, are whole.
    pub(super) fn whole(&self, names: &[&str]) -> Vec<Range<usize>> {
        let columns = self.segment.columns_of(names);
        let mut ranges = Vec::new();
        for (group, rows) in &self.groups {
            if !columns
                .iter()
                .any(|column| self.found.contains(&(*group, *column)))
            {
                add_range(&mut ranges, rows.clone());
            }
        }
        ranges
    }
}

impl Segment {
    /// What is damaged: columns of row groups. Reads the whole file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn damage(&self) -> Result<Vec<Span>, Error> {
        let groups = self.reader.metadata().row_groups().iter().enumerate();
        let mut found = Vec::new();
        for (group, metadata) in groups {
            for (column, metadata) in metadata.columns().iter().enumerate() {
                let is_whole = self.is_whole(group, column);
                if !is_whole.map_err(|error| Error::io(&self.path, error))? {
                    found.push(span_of(metadata));
                }
            }
        }
        Ok(found)
    }

    /// Look at these columns, and at those that every row has, in the row groups of these rows.
    pub(super) fn damaged(
        &self,
        rows: &[Range<usize>],
        names: &[&str],
    ) -> parquet::errors::Result<Damaged<'_>> {
        let is_wanted = |group: &Range<usize>| {
            let mut rows = rows.iter();
            rows.any(|range| range.start < group.end && group.start < range.end)
        };
        let groups = self.groups().filter(|(_, rows)| is_wanted(rows));
        let groups: Vec<(usize, Range<usize>)> = groups.collect();
        let columns = self.columns_of(names);
        let mut looks: Vec<(usize, usize, io::Result<bool>)> = Vec::new();
        for (group, _) in &groups {
            looks.extend(columns.iter().map(|column| (*group, *column, Ok(true))));
        }
        let tasks = looks.iter_mut().map(|(group, column, is_whole)| {
            let task = move || *is_whole = self.is_whole(*group, *column);
            Box::new(task) as Box<dyn FnOnce() + Send + '_>
        });
        together(tasks.collect());
        let mut found = HashSet::new();
        for (group, column, is_whole) in looks {
            if !is_whole? {
                found.insert((group, column));
            }
        }
        Ok(Damaged {
            segment: self,
            groups,
            found,
        })
    }

    /// The row groups, each with the numbers of its rows.
    pub fn groups(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        let mut start = 0;
        let groups = self.reader.metadata().row_groups().iter();
        let rows = groups.map(RowGroupMetaData::num_rows).map(move |rows| {
            let first = start;
            start += usize::try_from(rows).unwrap_or(0);
            first..start
        });
        rows.enumerate()
    }

    fn columns_of(&self, names: &[&str]) -> Vec<usize> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().enumerate();
        let wanted = columns.filter(|(_, column)| {
            layout::is_of_every_row(column.name()) || names.contains(&column.name())
        });
        wanted.map(|(index, _)| index).collect()
    }

    fn is_whole(&self, group: usize, column: usize) -> io::Result<bool> {
        let metadata = self.reader.metadata().row_group(group);
        let expected = self.checks.get(group * metadata.num_columns() + column);
        let hash = self.chunks.hash(span_of(metadata.column(column)))?;
        Ok(Some(&hash) == expected)
    }
}
