//! The files of one run, read as one.

mod aggregates;
mod wanted;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

pub use aggregates::aggregates;
pub use wanted::Wanted;

use crate::error::Error;
use crate::frame::Frames;
use crate::journal::MetricReader;
use crate::segment::{Content, SUFFIX, Segment};
use crate::series::{SeriesData, Steps};

/// The points of the series that are wanted, in the order of their first points in the files; with
/// `steps`, only those at such steps.
///
/// Each group of files, a journal or the segments it became, holds what one writer wrote; points of
/// several writers are merged as [`SeriesData::merged`] says.
///
/// # Errors
/// When a file cannot be read, or is neither a journal nor a segment.
pub fn read(
    writers: &[Vec<PathBuf>],
    wanted: &Wanted,
    steps: Option<&Steps>,
) -> Result<Vec<(Box<str>, SeriesData)>, Error> {
    let mut found: Vec<(Box<str>, Vec<SeriesData>)> = Vec::new();
    let mut places = HashMap::<Box<str>, usize>::new();
    for series in each_writer(writers, wanted, steps)? {
        for (name, data) in series {
            let place = *places.entry(name.clone()).or_insert_with(|| {
                found.push((name, Vec::new()));
                found.len() - 1
            });
            found[place].1.push(data);
        }
    }
    let merged = found.into_iter().map(|(name, parts)| {
        let merged = SeriesData::merged(&parts);
        let selected = steps.map(|steps| merged.select(steps));
        (name, selected.unwrap_or(merged))
    });
    Ok(merged.collect())
}

/// The names of all series, in the order of [`read`]: of segments, only the footers are read.
///
/// # Errors
/// As [`read`].
pub fn names(writers: &[Vec<PathBuf>]) -> Result<Vec<Box<str>>, Error> {
    let (mut found, mut seen) = (Vec::<Box<str>>::new(), HashSet::<Box<str>>::new());
    let mut add = |name: &str| {
        if seen.insert(name.into()) {
            found.push(name.into());
        }
    };
    for path in writers.iter().flatten() {
        if is_segment(path) {
            Segment::open(path)?.names().into_iter().for_each(&mut add);
        } else {
            MetricReader::open(path)?
                .logged_names()?
                .into_iter()
                .for_each(&mut add);
        }
    }
    Ok(found)
}

type Named = Vec<(Box<str>, SeriesData)>;

/// What each writer wrote; as many at once as there are cores.
fn each_writer(
    writers: &[Vec<PathBuf>],
    wanted: &Wanted,
    steps: Option<&Steps>,
) -> Result<Vec<Named>, Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut found = Vec::with_capacity(writers.len());
    for group in writers.chunks(cores) {
        if let [only] = group {
            found.push(of_writer(only, wanted, steps, writers.len() == 1)?);
            continue;
        }
        let results: Vec<_> = thread::scope(|scope| {
            let spawned: Vec<_> = group
                .iter()
                .map(|paths| scope.spawn(|| of_writer(paths, wanted, steps, false)))
                .collect();
            spawned
                .into_iter()
                .map(thread::ScopedJoinHandle::join)
                .collect()
        });
        for result in results {
            match result {
                Ok(series) => found.push(series?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    }
    Ok(found)
}

/// With `is_alone`, nothing is merged with it.
fn of_writer(
    paths: &[PathBuf],
    wanted: &Wanted,
    steps: Option<&Steps>,
    is_alone: bool,
) -> Result<Named, Error> {
    let is_wanted = |name: &str| wanted.holds(name);
    let mut frames = Frames::default();
    // Names whose points may all lie in what need not be read: they are there, without a point.
    let mut others: Vec<Box<str>> = Vec::new();
    for path in paths {
        if !is_segment(path) {
            frames = MetricReader::open(path)?.frames(&is_wanted)?;
            continue;
        }
        let segment = Segment::open(path)?;
        let content = match steps {
            Some(steps) => {
                let names = segment.names().into_iter().filter(|name| is_wanted(name));
                others.extend(names.map(Box::from));
                segment.content_of(&rows_around(&segment, steps, is_alone), &is_wanted)?
            }
            None => segment.content(&is_wanted)?,
        };
        match content {
            Content::Long(long) => frames.long = long,
            Content::Wide(wide) => frames.wide.extend(wide),
        }
    }
    let found = SeriesData::of_frames(frames);
    if others.is_empty() {
        return Ok(found);
    }
    let mut found: HashMap<Box<str>, SeriesData> = found.into_iter().collect();
    let named = others.into_iter().map(|name| {
        let data = found.remove(&name).unwrap_or_default();
        (name, data)
    });
    Ok(named.collect())
}

/// The rows of the row groups that may hold such steps, as the statistics tell.
///
/// Where a clock was set back, what stands before a point decides on its place among the points of
/// other writers: then that is read, too, unless the writer is alone.
fn rows_around(segment: &Segment, steps: &Steps, is_alone: bool) -> Vec<Range<usize>> {
    let groups: Vec<(usize, Range<usize>)> = segment.groups().collect();
    let (mut found, mut earliest) = (Vec::new(), i64::MAX);
    for (group, rows) in groups.into_iter().rev() {
        let is_needed = match segment.steps_of(group).zip(segment.times_of(group)) {
            Some((bounds, times)) => {
                let is_needed = steps.meet(bounds) || (!is_alone && times.1 >= earliest);
                if is_needed {
                    earliest = earliest.min(times.0);
                }
                is_needed
            }
            None => true,
        };
        if is_needed {
            found.push(rows);
        }
    }
    found.reverse();
    found
}

fn is_segment(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().ends_with(SUFFIX.as_bytes())
}
