//! What the series of a journal amount to, without keeping their points.

use super::error::Error;
use super::metric_reader::MetricReader;
use crate::aggregate::{Aggregate, Point};

impl MetricReader {
    /// What each series amounts to, in the order of [`MetricReader::names`]; without those that
    /// have no point.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn aggregates(&mut self) -> Result<Vec<(&str, Aggregate)>, Error> {
        let found: Vec<Aggregate> = self.scan_all(Vec::new, |found, table, row| {
            if found.len() < table.count() {
                found.resize_with(table.count(), Aggregate::default);
            }
            let step = row.step();
            let time = row.time();
            for (column, value) in row.columns.iter().zip(row.values) {
                let value = f64::from_le_bytes(*value);
                found[*column as usize].add(Point { step, time, value });
            }
        })?;
        let named = self.names().zip(found);
        Ok(named.filter(|(_, aggregate)| aggregate.count > 0).collect())
    }
}
