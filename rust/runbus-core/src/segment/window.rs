//! Rows that wait until they are enough for a row group.

use super::plan::{Sheet, Target};
use crate::journal::Row;

/// As many rows as become one row group, column by column.
#[derive(Default)]
pub(super) struct Window {
    /// Of points of several names: the name of each.
    pub(super) series: Vec<u32>,
    /// For each row how many its writer had committed before; empty where nobody needs to be told.
    pub(super) rows: Vec<u64>,
    pub(super) steps: Vec<i64>,
    pub(super) times: Vec<i64>,
    /// One column for each name of a wide segment; one of a long one.
    pub(super) values: Vec<Vec<f64>>,
    has_series: bool,
    has_rows: bool,
}

impl Window {
    pub(super) fn of(sheet: &Sheet, is_long: bool) -> Self {
        let columns = if is_long { 1 } else { sheet.names.len() };
        Self {
            values: vec![Vec::new(); columns],
            has_series: is_long && sheet.names.len() > 1,
            has_rows: sheet.shape.has_rows,
            ..Self::default()
        }
    }

    /// How many words a row takes, at most.
    pub(super) fn row_words(&self) -> usize {
        3 + self.values.len()
    }

    pub(super) fn words(&self) -> usize {
        self.steps.len() * self.row_words()
    }

    /// Take in a row; returns by how many words that is more.
    #[inline]
    pub(super) fn add(&mut self, number: u64, row: &Row<'_>, target: &Target) -> usize {
        if target.series.is_empty() {
            self.add_place(number, row);
            for (column, value) in self.values.iter_mut().zip(row.values) {
                column.push(f64::from_le_bytes(*value));
            }
            return self.row_words();
        }
        for (series, value) in target.series.iter().zip(row.values) {
            self.add_place(number, row);
            if self.has_series {
                self.series.push(*series);
            }
            self.values[0].push(f64::from_le_bytes(*value));
        }
        self.row_words() * target.series.len()
    }

    #[inline]
    fn add_place(&mut self, number: u64, row: &Row<'_>) {
        if self.has_rows {
            self.rows.push(number);
        }
        self.steps.push(row.step());
        self.times.push(row.time());
    }

    pub(super) fn clear(&mut self) {
        self.series.clear();
        self.rows.clear();
        self.steps.clear();
        self.times.clear();
        for column in &mut self.values {
            column.clear();
        }
    }

    /// How many points each of so many names has.
    pub(super) fn counts(&self, names: usize) -> Vec<usize> {
        if !self.has_series {
            return vec![self.steps.len(); names];
        }
        let mut counts = vec![0; names];
        for series in &self.series {
            counts[*series as usize] += 1;
        }
        counts
    }

    /// The places of the points, those of each name together; `None` where they are already.
    pub(super) fn order(&self, counts: &[usize]) -> Option<Vec<u32>> {
        if !self.has_series {
            return None;
        }
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
        Some(order)
    }
}
