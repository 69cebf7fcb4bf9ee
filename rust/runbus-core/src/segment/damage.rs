//! What of a segment is damaged.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use parquet::file::reader::FileReader;

use super::checks::Piece;
use super::layout::VALUE;
use super::open::Segment;
use super::parallel::together;
use super::ranges::{add_range, within, without};
use crate::error::Error;
use crate::journal::Span;

/// Certain rows of a segment, and which of them cannot be read.
pub(super) struct Damaged<'a> {
    segment: &'a Segment,
    rows: Vec<Range<usize>>,
    /// By the number of the column.
    found: HashMap<usize, Vec<Range<usize>>>,
}

impl Damaged<'_> {
    /// The rows of which these columns, and those that every row has, are whole.
    pub(super) fn whole(&self, names: &[&str]) -> Vec<Range<usize>> {
        let mut ranges = self.rows.clone();
        for column in self.segment.columns_of(names) {
            for damaged in self.found.get(&column).into_iter().flatten() {
                ranges = without(&ranges, damaged);
            }
        }
        ranges
    }
}

impl Segment {
    /// What is damaged: pages of columns. Reads the whole file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn damage(&self) -> Result<Vec<Span>, Error> {
        let mut found = Vec::new();
        for piece in self.pieces.iter().flatten() {
            let is_whole = self.is_whole(piece);
            if !is_whole.map_err(|error| Error::io(&self.path, error))? {
                found.push(piece.span);
            }
        }
        Ok(found)
    }

    /// How many points of which metrics are lost to the damage. Reads the whole file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lost(&self) -> Result<Vec<(&str, usize)>, Error> {
        let io = |error: parquet::errors::ParquetError| {
            Error::io(&self.path, io::Error::other(error.to_string()))
        };
        let all = 0..self.rows;
        let all = std::slice::from_ref(&all);
        let Some((names, ends)) = &self.names else {
            let names: Vec<&str> = self.columns_of_metrics().collect();
            let damaged = self.damaged(all, &names).map_err(io)?;
            let lost = names.into_iter().map(|name| {
                let whole: usize = damaged.whole(&[name]).iter().map(Range::len).sum();
                (name, self.rows - whole)
            });
            return Ok(lost.filter(|(_, count)| *count > 0).collect());
        };
        let whole = self.damaged(all, &[VALUE]).map_err(io)?.whole(&[VALUE]);
        let (mut found, mut start) = (Vec::<(&str, usize)>::new(), 0);
        for (name, end) in names.iter().zip(ends) {
            let there: usize = within(&whole, &(start..*end)).map(|part| part.len()).sum();
            let count = end - start - there;
            match found.iter_mut().find(|(known, _)| *known == &**name) {
                Some((_, lost)) => *lost += count,
                None if count > 0 => found.push((name, count)),
                None => {}
            }
            start = *end;
        }
        Ok(found)
    }

    /// Look at these columns, and at those that every row has, where these rows are.
    pub(super) fn damaged(
        &self,
        rows: &[Range<usize>],
        names: &[&str],
    ) -> parquet::errors::Result<Damaged<'_>> {
        let columns = self.columns_of(names);
        let mut looks: Vec<(usize, &Piece, io::Result<bool>)> = Vec::new();
        for (group, group_rows) in self.groups() {
            if within(rows, &group_rows).next().is_none() {
                continue;
            }
            for column in &columns {
                let pieces = self.pieces_of(group, *column).iter();
                let pieces = pieces.filter(|piece| within(rows, &piece.rows).next().is_some());
                looks.extend(pieces.map(|piece| (*column, piece, Ok(true))));
            }
        }
        let tasks = looks.iter_mut().map(|(_, piece, is_whole)| {
            let task = move || *is_whole = self.is_whole(piece);
            Box::new(task) as Box<dyn FnOnce() + Send + '_>
        });
        together(tasks.collect());
        let mut found = HashMap::<usize, Vec<Range<usize>>>::new();
        for (column, piece, is_whole) in looks {
            if !is_whole? {
                add_range(found.entry(column).or_default(), piece.rows.clone());
            }
        }
        Ok(Damaged {
            segment: self,
            rows: rows.to_vec(),
            found,
        })
    }

    /// What a column of a row group is checked by.
    pub(super) fn pieces_of(&self, group: usize, column: usize) -> &[Piece] {
        let columns = self.reader.metadata().file_metadata().schema_descr();
        let place = group * columns.num_columns() + column;
        self.pieces.get(place).map_or(&[], Vec::as_slice)
    }

    fn is_whole(&self, piece: &Piece) -> io::Result<bool> {
        Ok(piece.is_whole(self.chunks.hash(piece.span)?))
    }
}
