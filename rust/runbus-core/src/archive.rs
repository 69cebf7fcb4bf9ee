//! The files of one run, read as one.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;

use crate::aggregate::{Aggregate, Point};
use crate::frame::Frames;
use crate::journal::{Error, MetricReader};
use crate::segment::{Content, SUFFIX, Segment};
use crate::series::{SeriesData, Steps};

/// Which series are wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All.
    All,
    /// Those of these names; `*` in a name stands for any characters, `?` for any one.
    Matching(Vec<String>),
}

impl Wanted {
    /// Whether the series of this name is wanted.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(patterns) => patterns
                .iter()
                .any(|pattern| pattern == name || matches(pattern.as_bytes(), name.as_bytes())),
        }
    }
}

/// Whether a pattern describes a name; linear, as only the last `*` is ever tried again.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                place = character_end(name, place);
            }
            Some(byte) if *byte == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, place) = (back + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The end of the character of UTF-8 that starts at `place`.
fn character_end(name: &[u8], place: usize) -> usize {
    let rest = name[place + 1..].iter();
    place + 1 + rest.take_while(|byte| **byte & 0xC0 == 0x80).count()
}

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
            let mut reader = MetricReader::open(path)?;
            reader.check()?;
            reader.names().for_each(&mut add);
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
            found.push(of_writer(only, wanted, steps)?);
            continue;
        }
        let results: Vec<_> = thread::scope(|scope| {
            let spawned: Vec<_> = group
                .iter()
                .map(|paths| scope.spawn(|| of_writer(paths, wanted, steps)))
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

/// What each series amounts to, in the order of [`read`].
///
/// # Errors
/// As [`read`].
pub fn aggregates(writers: &[Vec<PathBuf>]) -> Result<Vec<(Box<str>, Aggregate)>, Error> {
    let mut found: Vec<(Box<str>, Aggregate)> = Vec::new();
    let mut places = HashMap::<Box<str>, usize>::new();
    for paths in writers {
        for (name, aggregate) in aggregates_of_writer(paths)? {
            if let Some(place) = places.get(&name) {
                found[*place].1.merge(&aggregate);
                continue;
            }
            places.insert(name.clone(), found.len());
            found.push((name, aggregate));
        }
    }
    Ok(found)
}

fn aggregates_of_writer(paths: &[PathBuf]) -> Result<Vec<(Box<str>, Aggregate)>, Error> {
    if let [journal] = paths
        && !is_segment(journal)
    {
        let mut reader = MetricReader::open(journal)?;
        let found = reader.aggregates()?.into_iter();
        return Ok(found
            .map(|(name, aggregate)| (name.into(), aggregate))
            .collect());
    }
    let segments: Vec<Segment> = paths
        .iter()
        .map(|path| Segment::open(path))
        .collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    let mut names = segments.iter().flat_map(Segment::names);
    if names.all(|name| seen.insert(name)) {
        return aggregates_of_segments(&segments);
    }
    // Some points of one name are among those of another segment.
    let series = of_writer(paths, &Wanted::All, None)?.into_iter();
    Ok(series
        .map(|(name, data)| (name, Aggregate::of(&data)))
        .collect())
}

/// Of segments that share no names: read a row group at a time.
fn aggregates_of_segments(segments: &[Segment]) -> Result<Vec<(Box<str>, Aggregate)>, Error> {
    let mut found = Aggregates::default();
    for segment in segments {
        for (_, rows) in segment.groups() {
            match segment.content_of(&[rows], &|_| true)? {
                Content::Long(long) => {
                    for (name, range) in long.stretches() {
                        let row = long.order.as_ref().map_or(0, |order| order[range.start]);
                        let places =
                            range.map(|at| (long.steps[at], long.times[at], long.values[at]));
                        found.add(name, row, places);
                    }
                }
                Content::Wide(frames) => {
                    for frame in frames {
                        for (name, values) in frame.names.iter().zip(&frame.values) {
                            let places = frame.steps.iter().zip(&frame.times).zip(values);
                            let places = places.map(|((step, time), value)| (*step, *time, *value));
                            found.add(name, frame.order[0], places);
                        }
                    }
                }
            }
        }
    }
    found.named.sort_by_key(|(row, ..)| *row);
    let named = found.named.into_iter();
    Ok(named
        .map(|(_, name, aggregate)| (name, aggregate))
        .collect())
}

/// What the series of one writer amount to so far, each with the number of its first row.
#[derive(Default)]
struct Aggregates {
    named: Vec<(u64, Box<str>, Aggregate)>,
    places: HashMap<Box<str>, usize>,
}

impl Aggregates {
    fn add(&mut self, name: &str, row: u64, points: impl Iterator<Item = (i64, i64, f64)>) {
        let place = self.places.get(name).copied().unwrap_or_else(|| {
            self.places.insert(name.into(), self.named.len());
            self.named.push((row, name.into(), Aggregate::default()));
            self.named.len() - 1
        });
        let aggregate = &mut self.named[place].2;
        for (step, time, value) in points {
            aggregate.add(Point { step, time, value });
        }
    }
}

fn of_writer(paths: &[PathBuf], wanted: &Wanted, steps: Option<&Steps>) -> Result<Named, Error> {
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
                segment.content_of(&rows_around(&segment, steps), &is_wanted)?
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
/// other writers: then that is read, too.
fn rows_around(segment: &Segment, steps: &Steps) -> Vec<Range<usize>> {
    let groups: Vec<(usize, Range<usize>)> = segment.groups().collect();
    let (mut found, mut earliest) = (Vec::new(), i64::MAX);
    for (group, rows) in groups.into_iter().rev() {
        let is_needed = match segment.steps_of(group).zip(segment.times_of(group)) {
            Some((bounds, times)) => {
                let is_needed = steps.meet(bounds) || times.1 >= earliest;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_would_but_across_slashes() {
        let cases = [
            ("*", "", true),
            ("train/*", "train/loss/0", true),
            ("train/*", "train", false),
            ("*/norm", "layer/0/norm", true),
            ("*/norm", "layer/norm/x", false),
            ("l?ss", "loss", true),
            ("l?ss", "löss", true),
            ("l?ss", "lss", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_name_that_looks_like_a_pattern_matches_itself() {
        assert!(Wanted::Matching(vec!["a*".into()]).holds("a*"));
    }
}
