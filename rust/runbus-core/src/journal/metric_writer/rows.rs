//! One row after the other.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::io;

use super::{Layout, MetricWriter, Outcome, SchemaId, TOO_MANY_NAMES};
use crate::error::Error;
use crate::journal::format::{ARE_INTEGERS, Kind, ROW_WORDS, WORD, WORD_BYTES};
use crate::journal::record::copy_bytes;

impl MetricWriter {
    /// Write one row; without `step` under the automatic one, the last step plus one.
    ///
    /// # Errors
    /// [`Error::Closed`], and [`Error::StepOverflow`] without a `step` after the greatest one.
    ///
    /// # Panics
    /// When the number of values is not that of the layout's names: a mistake of the caller.
    #[inline(always)]
    pub fn log(
        &mut self,
        layout: &Layout,
        step: Option<i64>,
        time_ns: i64,
        values: &[f64],
    ) -> Result<Outcome, Error> {
        let step = self.take_step(step)?;
        if self.appender.is_inherited() {
            self.dropped += values.len() as u64;
            return Ok(Outcome::Dropped);
        }
        let (schema, order) = match layout {
            Layout::Row { schema, order } => (*schema, order.as_deref()),
            Layout::Each(schemas) => return Ok(self.log_each(schemas, step, time_ns, values)),
        };
        match self.write(schema, order, step, time_ns, values) {
            Ok(()) => {
                self.accepted += values.len() as u64;
                Ok(Outcome::Accepted)
            }
            Err(error) => Ok(self.drop_row(&error, values.len())),
        }
    }

    /// Write the values of a row one by one.
    #[cold]
    fn log_each(
        &mut self,
        schemas: &[Option<SchemaId>],
        step: i64,
        time_ns: i64,
        values: &[f64],
    ) -> Outcome {
        assert_eq!(
            schemas.len(),
            values.len(),
            "a row has one value for each name"
        );
        let mut outcome = Outcome::Accepted;
        for (schema, value) in schemas.iter().zip(values) {
            let written = match schema {
                Some(schema) => self.write(*schema, None, step, time_ns, &[*value]),
                None => Err(io::Error::other(TOO_MANY_NAMES)),
            };
            match written {
                Ok(()) => self.accepted += 1,
                Err(error) => outcome = self.drop_row(&error, 1),
            }
        }
        outcome
    }

    /// The step that a row of now is written under, to be given to [`MetricWriter::log_late`]: the
    /// next automatic one is the one after it.
    ///
    /// # Errors
    /// As [`MetricWriter::log`].
    #[inline(always)]
    pub fn take_step(&mut self, step: Option<i64>) -> Result<i64, Error> {
        if self.appender.is_closed() {
            return Err(Error::Closed);
        }
        let step = match step {
            Some(step) => step,
            None if self.next_step == i64::MIN => return Err(Error::StepOverflow),
            None => self.next_step,
        };
        self.next_step = step.wrapping_add(1);
        Ok(step)
    }

    /// Write one row whose step was taken before: automatic steps continue from where they are.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Panics
    /// As [`MetricWriter::log`].
    pub fn log_late(
        &mut self,
        layout: &Layout,
        step: i64,
        time_ns: i64,
        values: &[f64],
    ) -> Result<Outcome, Error> {
        let next_step = self.next_step;
        let outcome = self.log(layout, Some(step), time_ns, values);
        self.next_step = next_step;
        outcome
    }

    /// Write one integer, exactly, under a step that was taken before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    ///
    /// # Panics
    /// When the schema has other than one name: a mistake of the caller.
    pub fn log_integer(
        &mut self,
        schema: Option<SchemaId>,
        step: i64,
        time_ns: i64,
        integer: i64,
    ) -> Result<Outcome, Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if self.appender.is_inherited() {
            self.dropped += 1;
            return Ok(Outcome::Dropped);
        }
        let written = match schema {
            Some(schema) => self.write_integer(schema, step, time_ns, integer),
            None => Err(io::Error::other(TOO_MANY_NAMES)),
        };
        match written {
            Ok(()) => {
                self.accepted += 1;
                Ok(Outcome::Accepted)
            }
            Err(error) => Ok(self.drop_row(&error, 1)),
        }
    }

    fn write_integer(
        &mut self,
        id: SchemaId,
        step: i64,
        time_ns: i64,
        integer: i64,
    ) -> io::Result<()> {
        self.stage(id, step, time_ns, 1)?[0] = integer.cast_unsigned().to_le();
        let head = u64::from(id.0) | u64::from(ARE_INTEGERS) << 32;
        self.appender.stage(ROW_WORDS + 1)[0] = head.to_le();
        self.appender.commit(Kind::Row, ROW_WORDS + 1).map(drop)
    }

    /// Write one row whose values `fill` puts where they go, as their bits, or do nothing.
    ///
    /// Nothing is done, not even counted, when `fill` returns `None`, and when anything else stands in
    /// the way: [`MetricWriter::log`] then says what, or counts what is lost.
    #[inline(always)]
    pub fn log_in_place(
        &mut self,
        id: SchemaId,
        step: Option<i64>,
        time_ns: i64,
        fill: impl FnOnce(&mut [u64]) -> Option<()>,
    ) -> Option<()> {
        let values = self.schemas[id.0 as usize].values;
        self.log_so_many(id, step, time_ns, values, fill)
    }

    /// Write a row of several values, as their bits, under names in any order, or do nothing: as
    /// [`MetricWriter::log_in_place`]. No name may occur twice. The values are put into another order.
    ///
    /// A set of names that was not there before, while there is room for one, is left to
    /// [`MetricWriter::layout`].
    pub fn log_named(
        &mut self,
        step: Option<i64>,
        time_ns: i64,
        values: &mut [(SchemaId, u64)],
    ) -> Option<()> {
        values.sort_unstable_by_key(|(name, _)| name.0);
        self.key.clear();
        self.key.extend(values.iter().map(|(name, _)| name.0));
        if let Some(id) = self.names.known_set(&self.key) {
            let ranked = std::mem::take(&mut self.schemas[id as usize].places);
            let written = self.log_in_place(SchemaId(id), step, time_ns, |places| {
                for (place, (_, bits)) in ranked.iter().zip(&*values) {
                    places[*place as usize] = *bits;
                }
                Some(())
            });
            self.schemas[id as usize].places = ranked;
            return written;
        }
        if !self.names.is_full() {
            return None;
        }
        let ((name, first), rest) = values.split_first()?;
        let next_step = self.next_step;
        let step = self.take_step(step).ok()?;
        if self.log_one_of(*name, step, time_ns, *first).is_none() {
            self.next_step = next_step;
            return None;
        }
        for (name, bits) in rest {
            // What does not fit any more is dropped and counted: the row has begun.
            if self.log_one_of(*name, step, time_ns, *bits).is_none() {
                let value = f64::from_bits(u64::from_le(*bits));
                self.log_each(&[Some(*name)], step, time_ns, &[value]);
            }
        }
        Some(())
    }

    fn log_one_of(&mut self, name: SchemaId, step: i64, time_ns: i64, bits: u64) -> Option<()> {
        self.log_so_many(name, Some(step), time_ns, 1, |places| {
            places[0] = bits;
            Some(())
        })
    }

    /// Write one value, or do nothing: as [`MetricWriter::log_in_place`].
    ///
    /// # Panics
    /// When the schema has other than one name: a mistake of the caller.
    #[inline(always)]
    pub fn log_one(
        &mut self,
        id: SchemaId,
        step: Option<i64>,
        time_ns: i64,
        value: f64,
    ) -> Option<()> {
        self.log_so_many(id, step, time_ns, 1, |places| {
            places[0] = value.to_bits().to_le();
            Some(())
        })
    }

    #[inline(always)]
    fn log_so_many(
        &mut self,
        id: SchemaId,
        step: Option<i64>,
        time_ns: i64,
        values: usize,
        fill: impl FnOnce(&mut [u64]) -> Option<()>,
    ) -> Option<()> {
        let next_step = self.next_step;
        let step = self.take_step(step).ok()?;
        let written = self.write_in_place(id, step, time_ns, values, fill);
        if written.is_none() {
            self.next_step = next_step;
        } else {
            self.accepted += values as u64;
        }
        written
    }

    #[inline(always)]
    fn write_in_place(
        &mut self,
        id: SchemaId,
        step: i64,
        time_ns: i64,
        values: usize,
        fill: impl FnOnce(&mut [u64]) -> Option<()>,
    ) -> Option<()> {
        if self.appender.is_inherited() {
            return None;
        }
        let places = self.stage(id, step, time_ns, values).ok()?;
        if fill(places).is_none() {
            // What follows the records reads as zeros.
            self.appender.stage(ROW_WORDS + values).fill(0);
            return None;
        }
        let committed = self.appender.commit(Kind::Row, ROW_WORDS + values);
        committed.ok().map(drop)
    }

    #[inline(always)]
    fn write(
        &mut self,
        id: SchemaId,
        order: Option<&[u32]>,
        step: i64,
        time_ns: i64,
        values: &[f64],
    ) -> io::Result<()> {
        let places = self.stage(id, step, time_ns, values.len())?;
        match order {
            None => {
                for (place, value) in places.iter_mut().zip(values) {
                    *place = value.to_bits().to_le();
                }
            }
            Some(order) => {
                for (place, value) in order.iter().zip(values) {
                    places[*place as usize] = value.to_bits().to_le();
                }
            }
        }
        let committed = self.appender.commit(Kind::Row, ROW_WORDS + values.len());
        committed.map(drop)
    }

    /// The places of the values of the next row, with what precedes them filled in.
    #[inline(always)]
    fn stage(
        &mut self,
        id: SchemaId,
        step: i64,
        time_ns: i64,
        values: usize,
    ) -> io::Result<&mut [u64]> {
        let payload_words = ROW_WORDS + values;
        self.place(id, (payload_words as u64 + 1) * WORD_BYTES, values)?;
        let (head, places) = self.appender.stage(payload_words).split_at_mut(ROW_WORDS);
        head[0] = u64::from(id.0).to_le();
        head[1] = step.cast_unsigned().to_le();
        head[2] = time_ns.cast_unsigned().to_le();
        Ok(places)
    }

    /// Make room for a record of `bytes` under the schema, and have the schema before it.
    #[inline(always)]
    pub(super) fn place(&mut self, id: SchemaId, bytes: u64, values: usize) -> io::Result<()> {
        let schema = &self.schemas[id.0 as usize];
        assert_eq!(schema.values, values, "a row has one value for each name");
        if schema.piece == self.appender.piece_number() {
            self.appender.reserve(bytes)?;
        }
        // Also when the reservation went on to a new piece, which has no schema yet.
        if self.schemas[id.0 as usize].piece != self.appender.piece_number() {
            self.write_schema(id, bytes)?;
        }
        Ok(())
    }

    /// Write the schema into the piece that will also hold its next row.
    #[cold]
    fn write_schema(&mut self, id: SchemaId, row_bytes: u64) -> io::Result<()> {
        let schema = &mut self.schemas[id.0 as usize];
        let payload_words = schema.payload.len() / WORD;
        self.appender
            .reserve((payload_words as u64 + 1) * WORD_BYTES + row_bytes)?;
        copy_bytes(self.appender.stage(payload_words), &schema.payload);
        self.appender.commit(Kind::Schema, payload_words)?;
        schema.piece = self.appender.piece_number();
        Ok(())
    }
}
