//! What of a segment is damaged.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use parquet::file::reader::FileReader;

use super::checks::span_of;
use super::open::Segment;
use super::parallel::together;
use super::ranges::add_range;
use crate::error::Error;
use crate::journal::Span;

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

    fn is_whole(&self, group: usize, column: usize) -> io::Result<bool> {
        let metadata = self.reader.metadata().row_group(group);
        let expected = self.checks.get(group * metadata.num_columns() + column);
        let hash = self.chunks.hash(span_of(metadata.column(column)))?;
        Ok(Some(&hash) == expected)
    }
}
