//! Many points of one series in one record.

use super::format::{ARE_INTEGERS, COLUMN_POINTS, COLUMN_WORDS, HAS_STEPS, WORD, word_at};
use super::header::halves;

/// The steps of many points.
#[derive(Clone, Copy, Debug)]
pub enum Steps<'a> {
    /// From the automatic step on, one by one.
    Automatic,
    /// From the first on, each this much further; wrapping around.
    Regular {
        /// The first.
        first: i64,
        /// From each to the next.
        stride: i64,
    },
    /// One for each point.
    Each(&'a [i64]),
}

impl<'a> Steps<'a> {
    /// The steps of points `from..to`, in their shortest form.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        match self {
            Self::Automatic => Self::Automatic,
            Self::Regular { first, stride } => Self::Regular {
                first: nth(first, stride, from),
                stride,
            },
            Self::Each(steps) => Self::shortest(&steps[from..to]),
        }
    }

    fn shortest(steps: &'a [i64]) -> Self {
        let [first, second, ..] = *steps else {
            let first = steps.first().copied().unwrap_or(0);
            return Self::Regular { first, stride: 1 };
        };
        let stride = second.wrapping_sub(first);
        let is_regular = steps
            .windows(2)
            .all(|pair| pair[1].wrapping_sub(pair[0]) == stride);
        if is_regular {
            Self::Regular { first, stride }
        } else {
            Self::Each(steps)
        }
    }

    /// The last of `count` steps.
    pub(super) fn last(self, count: usize) -> i64 {
        match self {
            Self::Automatic => 0,
            Self::Regular { first, stride } => nth(first, stride, count.saturating_sub(1)),
            Self::Each(steps) => steps.last().copied().unwrap_or(0),
        }
    }
}

fn nth(first: i64, stride: i64, index: usize) -> i64 {
    first.wrapping_add(stride.wrapping_mul(index.cast_signed() as i64))
}

/// The words of a column's payload.
pub(super) fn payload_words(steps: Steps<'_>, count: usize) -> usize {
    let each = matches!(steps, Steps::Each(_));
    COLUMN_WORDS + if each { 2 * count } else { count }
}

/// What the words of values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Doubles, as their bits.
    Doubles,
    /// Integers of 64 bits.
    Integers,
}

/// Write everything but the values, and return the place of these.
pub(super) fn encode<'a>(
    payload: &'a mut [u64],
    schema: u32,
    time_ns: i64,
    steps: Steps<'_>,
    form: Form,
    count: usize,
) -> &'a mut [u64] {
    let (has_steps, first, stride) = match steps {
        Steps::Each(_) | Steps::Automatic => (HAS_STEPS, 0, 0),
        Steps::Regular { first, stride } => (0, first, stride),
    };
    let are_integers = match form {
        Form::Doubles => 0,
        Form::Integers => ARE_INTEGERS,
    };
    let head = [
        u64::from(schema) | u64::from(has_steps | are_integers) << 32,
        time_ns.cast_unsigned(),
        count as u64,
        first.cast_unsigned(),
        stride.cast_unsigned(),
    ];
    for (word, value) in payload.iter_mut().zip(head) {
        *word = value.to_le();
    }
    let mut rest = &mut payload[COLUMN_WORDS..];
    if let Steps::Each(steps) = steps {
        let (own, after) = rest.split_at_mut(count);
        for (word, step) in own.iter_mut().zip(steps) {
            *word = step.cast_unsigned().to_le();
        }
        rest = after;
    }
    rest
}

/// A column as it lies in a record.
pub(super) struct Column<'a> {
    pub(super) time: i64,
    first: i64,
    stride: i64,
    /// Empty where first and stride tell them.
    steps: &'a [[u8; WORD]],
    values: &'a [[u8; WORD]],
    pub(super) form: Form,
}

impl<'a> Column<'a> {
    /// `None` when the payload is no column of this version.
    pub(super) fn decode(payload: &'a [u8]) -> Option<Self> {
        let (_, flags) = halves(word_at(payload, 0));
        let count = usize::try_from(word_at(payload, 2)).ok()?;
        if count > COLUMN_POINTS {
            return None;
        }
        let (head, rest) = payload.split_at_checked(COLUMN_WORDS * WORD)?;
        let (words, _) = rest.as_chunks::<WORD>();
        let form = if flags & ARE_INTEGERS == 0 {
            Form::Doubles
        } else {
            Form::Integers
        };
        let (steps, values) = match flags & !ARE_INTEGERS {
            0 => (&words[..0], words),
            HAS_STEPS if words.len() == count * 2 => words.split_at(count),
            _ => return None,
        };
        (values.len() == count).then_some(Self {
            time: word_at(head, 1).cast_signed(),
            first: word_at(payload, 3).cast_signed(),
            stride: word_at(payload, 4).cast_signed(),
            steps,
            values,
            form,
        })
    }

    /// The steps, and the values as they are stored.
    pub(super) fn points(&self) -> impl ExactSizeIterator<Item = (i64, &'a [u8; WORD])> {
        self.values.iter().enumerate().map(|(index, value)| {
            let step = match self.steps.get(index) {
                Some(step) => i64::from_le_bytes(*step),
                None => nth(self.first, self.stride, index),
            };
            (step, value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::words::bytes_of;

    #[test]
    fn a_count_beyond_what_the_payload_holds_is_none() {
        let steps = [5, -1];
        let mut payload = [0; COLUMN_WORDS + 4];
        encode(
            &mut payload,
            0,
            0,
            Steps::Each(&steps),
            Form::Doubles,
            steps.len(),
        );
        assert!(Column::decode(bytes_of(&payload)).is_some());
        // Twice this many is four again, in 64 bits.
        for count in [1_u64, 3, 1 << 63 | 2, u64::MAX] {
            payload[2] = count.to_le();
            assert!(Column::decode(bytes_of(&payload)).is_none(), "{count}");
        }
    }
}
