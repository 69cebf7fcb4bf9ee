//! Integers that no double represents: a double beside what is missing.

use std::ops::Range;
use std::sync::Arc;

use crate::shared::Shared;

/// The double that is nearest to an integer, and what is to be added to it: at most half of what lies
/// between two doubles, 512.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the rest says what is lost"
)]
pub fn split(integer: i64) -> (f64, i16) {
    let nearest = integer as f64;
    let rest = i128::from(integer) - nearest as i128;
    (nearest, rest as i16)
}

/// The integer that was split so; `None` if it is none of 64 bits.
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "checked to be an integer")]
pub fn joined(nearest: f64, rest: i16) -> Option<i64> {
    if nearest.fract() != 0.0 {
        return None;
    }
    // Saturates far beyond 64 bits; NaN and the infinities have no fraction of 0.
    i64::try_from(nearest as i128 + i128::from(rest)).ok()
}

/// For each value what is to be added to it: nothing, mostly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rests {
    /// The values behind have no rest.
    known: Vec<i16>,
}

impl Rests {
    /// The rest of the value at this place.
    #[must_use]
    pub fn at(&self, place: usize) -> i16 {
        self.known.get(place).copied().unwrap_or(0)
    }

    /// Whether no value has any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Note the rest of a value.
    #[inline]
    pub fn set(&mut self, place: usize, rest: i16) {
        if rest != 0 {
            self.put(place, rest);
        }
    }

    #[cold]
    fn put(&mut self, place: usize, rest: i16) {
        if self.known.len() <= place {
            self.known.resize(place + 1, 0);
        }
        self.known[place] = rest;
    }

    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    /// Those at these places, one behind the other.
    pub(crate) fn picked(&self, ranges: &[Range<usize>]) -> Self {
        let mut found = Self::default();
        if !self.is_empty() {
            for (to, from) in ranges.iter().cloned().flatten().enumerate() {
                found.set(to, self.at(from));
            }
        }
        found
    }

    /// One for each of so many values, or none at all.
    pub(crate) fn shared(mut self, count: usize) -> Arc<Vec<i16>> {
        if !self.is_empty() {
            self.known.resize(count, 0);
        }
        Arc::new(self.known)
    }
}

impl FromIterator<i16> for Rests {
    fn from_iter<I: IntoIterator<Item = i16>>(rests: I) -> Self {
        let mut found = Self::default();
        for (place, rest) in rests.into_iter().enumerate() {
            found.set(place, rest);
        }
        found
    }
}

/// The part of shared rests that belongs to a part of the values.
pub(crate) fn part(rests: &Arc<Vec<i16>>, range: Range<usize>) -> Shared<i16> {
    if rests.is_empty() {
        Shared::default()
    } else {
        Shared::part(rests, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_of_64_bits_is_its_double_and_a_rest() {
        let mut integers = vec![0, 1, -1, i64::MAX, i64::MIN, i64::MAX - 511, i64::MAX - 512];
        for power in 50..63 {
            let power = 1_i64 << power;
            for away in [1, 2, 3, 255, 256, 257, 511, 512, 513] {
                integers.extend([power - away, power + away, -power - away, away - power]);
            }
        }
        for integer in integers {
            let (nearest, rest) = split(integer);
            assert_eq!(joined(nearest, rest), Some(integer), "{integer}");
        }
    }

    #[test]
    fn no_integer_of_64_bits_is_none() {
        for nearest in [
            0.5,
            -1e-300,
            f64::NAN,
            f64::INFINITY,
            1e300,
            -1e19,
            2_f64.powi(63),
        ] {
            assert_eq!(joined(nearest, 0), None, "{nearest}");
        }
        assert_eq!(joined(2_f64.powi(63), -1), Some(i64::MAX));
    }
}
