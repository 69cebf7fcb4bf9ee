//! A segment that is opened: its footer.

use std::collections::HashSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{SerializedFileReader, SerializedPageReader};
use parquet::file::statistics::Statistics;

use super::checks::{self, Piece};
use super::chunks::Chunks;
use super::footer::{self, Footer};
use super::guard;
use super::layout::{self, About, NAME, POSITION, STEP, TIME, VALUE_REST};
use crate::error::Error;
use crate::files;

/// One segment, opened for reading.
pub struct Segment {
    pub(super) path: PathBuf,
    pub(super) reader: SerializedFileReader<Chunks>,
    pub(super) chunks: Chunks,
    pub(super) about: About,
    /// What each column of each row group is checked by.
    pub(super) pieces: Vec<Vec<Piece>>,
    pub(super) rows: usize,
    /// The names of a long segment, and where their points end: each once a row group at most.
    pub(super) names: Option<(Vec<Box<str>>, Vec<usize>)>,
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
            match footer {
                Footer::Whole(end) if about.version != 1 => check_places(&reader, end)?,
                Footer::Unchecked if about.version == 1 => {
                    if !checks::is_description_whole(file.schema_descr(), pairs) {
                        return Err(wrong("its description"));
                    }
                }
                _ => return Err(wrong("its footer")),
            }
            // It panics for a column that lies nowhere.
            let pieces = checks::decode(pairs, about.version, reader.metadata().row_groups());
            let pieces = pieces.ok_or_else(|| wrong("its checks"))?;
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
                pieces,
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
        self.about.version == 1
    }

    /// How many points it holds; of a wide one of version 1, how many rows.
    pub(crate) fn row_count(&self) -> usize {
        self.rows
    }

    /// How many points it holds.
    pub(crate) fn point_count(&self) -> usize {
        match self.names {
            Some(_) => self.rows,
            None => self.rows * self.columns_of_metrics().count(),
        }
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

    /// Whether some values are integers beyond doubles, for all that the statistics tell.
    pub(super) fn has_rests(&self) -> bool {
        let mut groups = 0..self.reader.metadata().num_row_groups();
        groups.any(|group| self.bounds(group, VALUE_REST) != Some((0, 0)))
    }

    fn bounds(&self, group: usize, column: &str) -> Option<(i64, i64)> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let mut columns = schema.columns().iter();
        let place = columns.position(|known| known.name() == column)?;
        let group = self.reader.metadata().row_group(group);
        match group.column(place).statistics()? {
            Statistics::Int64(found) => Some((*found.min_opt()?, *found.max_opt()?)),
            Statistics::Int32(found) => {
                Some((i64::from(*found.min_opt()?), i64::from(*found.max_opt()?)))
            }
            _ => None,
        }
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

    /// The pages of a column of a row group, which has these rows of the file.
    pub(super) fn page_reader(
        &self,
        group: usize,
        column: usize,
        rows: Range<usize>,
    ) -> parquet::errors::Result<SerializedPageReader<Chunks>> {
        let metadata = self.reader.metadata().row_group(group).column(column);
        let pieces = self.pieces_of(group, column).iter();
        let pages = pieces.filter_map(|piece| piece.location(rows.start));
        // Without places, one header after the other is read: a damaged page is the end then.
        let pages = (self.about.version >= 4).then(|| pages.collect());
        SerializedPageReader::new(Arc::new(self.chunks.clone()), metadata, rows.len(), pages)
    }

    pub(super) fn columns_of(&self, names: &[&str]) -> Vec<usize> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let columns = schema.columns().iter().enumerate();
        let wanted = columns.filter(|(_, column)| {
            layout::is_of_every_row(column.name()) || names.contains(&column.name())
        });
        wanted.map(|(index, _)| index).collect()
    }

    pub(super) fn columns_of_metrics(&self) -> impl Iterator<Item = &str> {
        let schema = self.reader.metadata().file_metadata().schema_descr();
        let names = schema.columns().iter().map(|column| column.name());
        names.filter(|name| *name != NAME && !layout::is_of_every_row(name))
    }
}

pub(super) fn wrong(what: &str) -> ParquetError {
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

pub(super) fn guarded<T>(
    path: &Path,
    read: impl FnOnce() -> parquet::errors::Result<T>,
) -> Result<T, Error> {
    let bad = |reason: String| Error::BadSegment {
        path: path.to_owned(),
        reason,
    };
    match guard::guarded(read) {
        Some(result) => result.map_err(|error| bad(error.to_string())),
        None => Err(bad("it is damaged".into())),
    }
}
