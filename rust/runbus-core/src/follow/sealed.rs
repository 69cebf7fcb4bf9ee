//! A writer whose journal was sealed before it was seen: its points in the order of the journal.

use std::collections::HashMap;
use std::iter;
use std::ops::Range;
use std::path::PathBuf;

use super::News;
use super::outlet::{Look, MOST_POINTS, Outlet};
use crate::error::Error;
use crate::frame::{Long, Points};
use crate::segment::{Content, Segment};

/// A segment, read a row group at a time: it may be larger than memory.
pub(super) struct Sealed {
    outlet: Outlet,
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    segments: Vec<Segment>,
    /// The rows that come after what is in `block`, the next ones last; of each segment of version 1
    /// all at once.
    rest: Vec<(usize, Range<usize>)>,
    block: Block,
    /// What ends here or before was told to an earlier follower.
    position: u64,
}

/// Points in the order in which they were committed.
#[derive(Default)]
struct Block {
    points: Long,
    /// For each point its name, and its place.
    order: Vec<(u32, usize)>,
    next: usize,
    /// Whether it tells where its records end in the journal.
    has_positions: bool,
}

impl Sealed {
    pub(super) fn open(writer: &str, paths: &[PathBuf], position: u64) -> Result<Self, Error> {
        let segments = paths.iter().map(|path| Segment::open(path));
        let segments = segments.collect::<Result<Vec<_>, _>>()?;
        let (mut names, mut numbers) = (Vec::<Box<str>>::new(), HashMap::new());
        for name in segments.iter().flat_map(Segment::names) {
            numbers.entry(name.into()).or_insert_with(|| {
                names.push(name.into());
                u32::try_from(names.len() - 1).unwrap_or(u32::MAX)
            });
        }
        let mut rest: Vec<(usize, Range<usize>)> = Vec::new();
        for (place, segment) in segments.iter().enumerate() {
            if segment.is_older() {
                rest.push((place, 0..segment.row_count()));
                continue;
            }
            let is_new = |group| {
                segment
                    .last_position(group)
                    .is_none_or(|last| last > position)
            };
            let groups = segment.groups().filter(|(group, _)| is_new(*group));
            rest.extend(groups.map(|(_, rows)| (place, rows)));
        }
        rest.reverse();
        Ok(Self {
            outlet: Outlet::new(writer),
            names,
            numbers,
            segments,
            rest,
            block: Block::default(),
            position,
        })
    }

    /// Tell what there is room for; whether that was all.
    pub(super) fn look(&mut self, look: &Look, news: &mut News) -> Result<bool, Error> {
        while news.points < MOST_POINTS {
            if self.block.is_over() && !self.read_on()? {
                break;
            }
            let (points, position) = self.block.take(MOST_POINTS - news.points);
            let is_last = self.block.is_over() && self.rest.is_empty();
            let look = Look { is_last, ..*look };
            let names = self.names.iter().map(|name| &**name);
            self.outlet.tell(names, points, position, &look, news);
        }
        Ok(self.block.is_over() && self.rest.is_empty())
    }

    /// Have the next points, if there are any.
    fn read_on(&mut self) -> Result<bool, Error> {
        while let Some((place, rows)) = self.rest.pop() {
            let segment = &self.segments[place];
            let points = match segment.content_of(&[rows], &|_| true)? {
                Content::Long(points) => points,
                Content::Wide(frames) => Long::of_wide(frames),
            };
            self.block = if segment.is_older() {
                Block::of(points, None, &self.numbers)
            } else {
                Block::of(points, Some(self.position), &self.numbers)
            };
            if !self.block.is_over() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Block {
    /// The points of records that end behind a position of the journal.
    fn of(points: Long, behind: Option<u64>, numbers: &HashMap<Box<str>, u32>) -> Self {
        let mut order = Vec::with_capacity(points.steps.len());
        for (name, range) in points.stretches() {
            let series = numbers.get(name).copied().unwrap_or(u32::MAX);
            order.extend(iter::repeat(series).zip(range));
        }
        if let Some(ends) = points.order.as_deref() {
            order.retain(|(_, place)| behind.is_none_or(|behind| ends[*place] > behind));
            // Stable: the values of a row stay in the order of its names.
            order.sort_by_key(|(_, place)| ends[*place]);
        }
        Self {
            has_positions: behind.is_some() && points.order.is_some(),
            points,
            order,
            next: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.next == self.order.len()
    }

    /// So many points, and those of the record that the last of them is of; and where that ends.
    fn take(&mut self, count: usize) -> (Points, u64) {
        let rest = &self.order[self.next..];
        let (mut taken, mut position) = (count.min(rest.len()), 0);
        if let Some(ends) = self.points.order.as_deref()
            && self.has_positions
        {
            position = rest[..taken].last().map_or(0, |(_, place)| ends[*place]);
            let same = rest[taken..].iter();
            taken += same
                .take_while(|(_, place)| ends[*place] == position)
                .count();
        }
        let mut points = Points {
            count: taken,
            ..Points::default()
        };
        for (series, place) in &rest[..taken] {
            points.series.extend_from_slice(&series.to_le_bytes());
            let (step, time) = (self.points.steps[*place], self.points.times[*place]);
            points.steps.extend_from_slice(&step.to_le_bytes());
            points.times.extend_from_slice(&time.to_le_bytes());
            let value = self.points.values[*place];
            points.values.extend_from_slice(&value.to_le_bytes());
        }
        self.next += taken;
        (points, position)
    }
}
