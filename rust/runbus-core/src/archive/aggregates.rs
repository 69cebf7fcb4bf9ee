//! What the series of a run amount to, without keeping their points where that is possible.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::{Wanted, is_segment, of_writer};
use crate::aggregate::{Aggregate, Point};
use crate::error::Error;
use crate::journal::MetricReader;
use crate::segment::{Content, Segment};

/// What each series amounts to, in the order of [`super::read`].
///
/// # Errors
/// As [`super::read`].
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
        return aggregates_of_journal(&mut MetricReader::open(journal)?);
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

/// Without keeping the points; in the order of the names.
fn aggregates_of_journal(reader: &mut MetricReader) -> Result<Vec<(Box<str>, Aggregate)>, Error> {
    let found: Vec<Aggregate> = reader.rows(Vec::new, |found, row| {
        let (step, time) = (row.step(), row.time());
        for (column, value) in row.columns.iter().zip(row.values) {
            let place = *column as usize;
            if found.len() <= place {
                found.resize_with(place + 1, Aggregate::default);
            }
            let value = f64::from_le_bytes(*value);
            found[place].add(Point { step, time, value });
        }
    })?;
    let named = reader.names().map(Box::from).zip(found);
    Ok(named.filter(|(_, aggregate)| aggregate.count > 0).collect())
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
