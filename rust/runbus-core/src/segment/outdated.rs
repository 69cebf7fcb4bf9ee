//! A journal beside segments of its writer: which of them tells more.

use std::path::{Path, PathBuf};

use super::open::Segment;
use crate::error::Error;
use crate::journal::MetricReader;

/// Whether segments hold more points than the journal beside them, which nobody writes: as in a copy of
/// a folder that kept the journal of an earlier copy. Otherwise the journal is the truth.
///
/// Reads both.
///
/// # Errors
/// [`Error::Io`] when the journal cannot be read, and [`Error::Version`].
pub fn is_outdated(journal: &Path, segments: &[PathBuf]) -> Result<bool, Error> {
    let held = match MetricReader::open(journal) {
        Ok(reader) if reader.is_live()? => return Ok(false),
        Ok(mut reader) => reader.rows(|| 0, |points, row| *points += row.values.len())?,
        Err(Error::NotAJournal(_) | Error::WrongKind { .. }) => 0,
        Err(error) => return Err(error),
    };
    Ok(readable_points(segments) > held)
}

/// How many points can be read of segments.
pub(super) fn readable_points(segments: &[PathBuf]) -> usize {
    let whole = |path: &PathBuf| {
        let segment = Segment::open(path).ok()?;
        let lost = segment.lost().ok()?;
        let lost: usize = lost.into_iter().map(|(_, count)| count).sum();
        Some(segment.point_count().saturating_sub(lost))
    };
    segments.iter().filter_map(whole).sum()
}
