//! Many points of one series at once.

use std::io;
use std::ops::Range;

use super::{MetricWriter, SchemaId};
use crate::error::Error;
use crate::journal::column::{self, Form, Steps};
use crate::journal::format::{COLUMN_POINTS, Kind, WORD, WORD_BYTES};

/// Values to be written, as they lie somewhere else.
pub trait Values {
    /// How many.
    fn count(&self) -> usize;
    /// What a range of them is to be written as.
    fn form(&self, range: Range<usize>) -> Form;
    /// Put a range of them where it goes, as words of that form.
    fn put(&self, range: Range<usize>, form: Form, place: &mut [u64]);
    /// A range of them, if they lie somewhere as they go into the file; another thread may change them
    /// there meanwhile.
    fn ready(&self, range: Range<usize>, form: Form) -> Option<&[[u8; WORD]]> {
        let _ = (range, form);
        None
    }
}

impl Values for [f64] {
    fn count(&self) -> usize {
        self.len()
    }

    fn form(&self, _range: Range<usize>) -> Form {
        Form::Doubles
    }

    fn put(&self, range: Range<usize>, _form: Form, place: &mut [u64]) {
        for (word, value) in place.iter_mut().zip(&self[range]) {
            *word = value.to_bits().to_le();
        }
    }
}

impl MetricWriter {
    /// Write many points of one series under one time, in records of 4,096. Returns how many were
    /// accepted.
    ///
    /// # Errors
    /// [`Error::Closed`], and [`Error::StepOverflow`] when automatic steps would exceed 64 bits.
    ///
    /// # Panics
    /// When the schema has other than one name: a mistake of the caller.
    pub fn extend(
        &mut self,
        schema: SchemaId,
        steps: Steps<'_>,
        time_ns: i64,
        values: &(impl Values + ?Sized),
    ) -> Result<usize, Error> {
        if self.appender.is_closed() {
            return Err(Error::Closed);
        }
        let count = values.count();
        if count == 0 {
            return Ok(0);
        }
        let steps = self.resolve(steps, count)?;
        let is_inherited = self.appender.is_inherited();
        for from in (0..count).step_by(COLUMN_POINTS) {
            let points = from..count.min(from + COLUMN_POINTS);
            let part = steps.part(points.start, points.end);
            self.next_step = part.last(points.len()).wrapping_add(1);
            if is_inherited {
                self.dropped += points.len() as u64;
                continue;
            }
            match self.write_column(schema, part, time_ns, values, points.clone()) {
                Ok(()) => self.accepted += points.len() as u64,
                Err(error) => {
                    self.drop_row(&error, count - points.start);
                    self.next_step = steps.last(count).wrapping_add(1);
                    return Ok(points.start);
                }
            }
        }
        Ok(if is_inherited { 0 } else { count })
    }

    /// Automatic steps as those they will be.
    fn resolve<'a>(&self, steps: Steps<'a>, count: usize) -> Result<Steps<'a>, Error> {
        if !matches!(steps, Steps::Automatic) {
            return Ok(steps);
        }
        let first = self.next_step;
        let fits = i64::try_from(count).is_ok_and(|count| first.checked_add(count - 1).is_some());
        if self.next_step == i64::MIN || !fits {
            return Err(Error::StepOverflow);
        }
        Ok(Steps::Regular { first, stride: 1 })
    }

    fn write_column(
        &mut self,
        id: SchemaId,
        steps: Steps<'_>,
        time_ns: i64,
        values: &(impl Values + ?Sized),
        points: Range<usize>,
    ) -> io::Result<()> {
        let (form, count) = (values.form(points.clone()), points.len());
        let payload_words = column::payload_words(steps, count);
        self.place(id, (payload_words as u64 + 1) * WORD_BYTES, 1)?;
        let payload = self.appender.stage(payload_words);
        let place = column::encode(payload, id.0, time_ns, steps, form, count);
        let written = if let Some(words) = values.ready(points.clone(), form) {
            self.appender
                .commit_with(Kind::Column, payload_words, words)
        } else {
            values.put(points, form, place);
            self.appender.commit(Kind::Column, payload_words)
        };
        written.map(drop)
    }
}
