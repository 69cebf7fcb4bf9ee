//! Rows that wait until they are enough for a row group.

use super::layout::{BLOCK_POINTS, GROUP_POINTS};
use crate::integer::Rests;
use crate::journal::Row;

/// As many rows as become one row group, point by point, in the order of the journal.
#[derive(Default)]
pub(super) struct Window {
    /// For each point its name.
    series: Vec<u32>,
    /// Where its record ends in the journal.
    pub(super) positions: Vec<u64>,
    pub(super) steps: Vec<i64>,
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<f64>,
    pub(super) rests: Rests,
    rows: usize,
    /// By the index that a name has in the journal, the one it has here: names are numbered in the
    /// order of their first points, over all windows.
    numbers: Vec<Option<u32>>,
    /// The indices in the journal, by the numbers here.
    names: Vec<u32>,
}

impl Window {
    /// Take in a row.
    #[inline]
    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.rows += 1;
        for (column, point) in row.points() {
            let known = self.numbers.get(column as usize).copied().flatten();
            let number = known.unwrap_or_else(|| self.number(column));
            self.series.push(number);
            self.positions.push(row.position);
            self.steps.push(point.step);
            self.times.push(point.time);
            self.rests.set(self.values.len(), point.rest);
            self.values.push(point.value);
        }
    }

    #[cold]
    fn number(&mut self, column: u32) -> u32 {
        let place = column as usize;
        if self.numbers.len() <= place {
            self.numbers.resize(place + 1, None);
        }
        // There are no more names than indices, which have 32 bits.
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(column);
        self.numbers[place] = Some(number);
        number
    }

    /// Whether it becomes a row group before the row that ends at `position` is added: it is large
    /// enough, and no record is cut in two.
    #[inline]
    pub(super) fn is_full(&self, position: u64) -> bool {
        self.steps.len() >= GROUP_POINTS
            && (self.rows.is_multiple_of(BLOCK_POINTS) || self.steps.len() >= 2 * GROUP_POINTS)
            && self.positions.last() != Some(&position)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The names so far, as their indices in the journal.
    pub(super) fn names(&self) -> &[u32] {
        &self.names
    }

    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.positions.clear();
        self.steps.clear();
        self.times.clear();
        self.values.clear();
        self.rests.clear();
        self.rows = 0;
    }

    /// How many points each name has.
    pub(super) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.names.len()];
        for series in &self.series {
            counts[*series as usize] += 1;
        }
        counts
    }

    /// The places of the points, those of each name together.
    pub(super) fn order(&self, counts: &[usize]) -> Vec<u32> {
        let mut next: Vec<usize> = Vec::with_capacity(counts.len());
        let mut total = 0;
        for count in counts {
            next.push(total);
            total += count;
        }
        let mut order = vec![0; total];
        for (place, series) in (0..).zip(&self.series) {
            let next = &mut next[*series as usize];
            order[*next] = place;
            *next += 1;
        }
        order
    }
}
