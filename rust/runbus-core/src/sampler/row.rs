//! The values of one tick, under names that are looked up once.

use std::collections::HashMap;

/// More series than this one sampler never makes: what comes after is left out.
const MOST_NAMES: usize = 4096;
/// Measured values keep so many bits after the first: an error below 1 in 30,000, which no gauge of a
/// machine is exact to, and half of the bytes at rest.
const KEPT_BITS: u32 = 14;
const DROPPED_BITS: u32 = 52 - KEPT_BITS;

/// A name of a series of one [`Row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(u32);

impl NameId {
    /// A name that there was no room for.
    const NONE: Self = Self(u32::MAX);
}

/// What getters fill in, tick after tick.
#[derive(Default)]
pub struct Row {
    prefix: Box<str>,
    names: Vec<Box<str>>,
    ids: HashMap<Box<str>, NameId>,
    /// Whether values of a name are totals, by its number.
    totals: Vec<bool>,
    values: Vec<(NameId, f64)>,
}

impl Row {
    /// A row whose names all begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    /// The id of a name; the same for the same name.
    pub fn name(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let Some(id) = u32::try_from(self.names.len())
            .ok()
            .filter(|_| self.names.len() < MOST_NAMES)
        else {
            return NameId::NONE;
        };
        self.names.push(format!("{}{name}", self.prefix).into());
        self.totals.push(false);
        self.ids.insert(name.into(), NameId(id));
        NameId(id)
    }

    /// Whether there are series of this name.
    pub(super) fn has_name(&self, name: &str) -> bool {
        self.ids.contains_key(name)
    }

    /// Put a measured value: [`KEPT_BITS`] of it are kept. What is no number is left out.
    pub fn put(&mut self, name: NameId, value: f64) {
        self.push(name, rounded(value));
    }

    /// Put a value as it is: a total, from which others are computed.
    pub fn put_exact(&mut self, name: NameId, value: f64) {
        if let Some(is_total) = self.totals.get_mut(name.0 as usize) {
            *is_total = true;
        }
        self.push(name, value);
    }

    /// Whether values of this name are totals.
    pub(super) fn is_total(&self, name: NameId) -> bool {
        self.totals.get(name.0 as usize) == Some(&true)
    }

    fn push(&mut self, name: NameId, value: f64) {
        if value.is_finite() && name != NameId::NONE {
            self.values.push((name, value));
        }
    }

    /// Put what is there.
    pub fn put_some(&mut self, name: NameId, value: Option<f64>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// What the row holds, with full names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        let text = |id: &NameId| &*self.names[id.0 as usize];
        self.values
            .iter()
            .map(move |(id, value)| (text(id), *value))
    }

    /// What the row holds.
    #[must_use]
    pub fn values(&self) -> &[(NameId, f64)] {
        &self.values
    }

    /// How much the row holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether the row holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Forget the values from the one of this number on; the names stay.
    pub fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
    }
}

/// The nearest number that has [`KEPT_BITS`].
fn rounded(value: f64) -> f64 {
    if !value.is_finite() {
        return value;
    }
    let half = 1u64 << (DROPPED_BITS - 1);
    f64::from_bits((value.to_bits() + half) & !((1 << DROPPED_BITS) - 1))
}

/// A count or a number of bytes as a value.
#[allow(clippy::cast_precision_loss)] // Nothing is counted beyond 2^53.
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

/// A part of a whole in percent.
pub(super) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| 100.0 * float(part) / float(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_measured_value_is_off_by_less_than_one_in_thirty_thousand(value in -1e18..1e18) {
            prop_assert!((rounded(value) - value).abs() <= value.abs() / 30_000.0);
        }
    }

    #[test]
    fn small_counts_are_exact_and_what_is_no_number_is_left_out() {
        let mut row = Row::new("sys/");
        let name = row.name("threads");
        for count in [0.0, 1.0, 100.0, 16_383.0, -7.5] {
            row.put(name, count);
        }
        row.put(name, f64::NAN);
        row.put_exact(name, f64::INFINITY);
        let values: Vec<(&str, f64)> = row.iter().collect();
        assert_eq!(
            values,
            [0.0, 1.0, 100.0, 16_383.0, -7.5].map(|count| ("sys/threads", count))
        );
    }

    #[test]
    fn names_beyond_the_limit_are_left_out() {
        let mut row = Row::new("");
        for number in 0..MOST_NAMES + 10 {
            let name = row.name(&number.to_string());
            row.put(name, 1.0);
        }
        assert_eq!(row.len(), MOST_NAMES);
    }
}
