//! Rows of numbers under sets of names.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::appender::{Appender, Options};
use super::column::{self, Steps};
use super::durability::{Closing, Durability};
use super::error::Error;
use super::format::{COLUMN_POINTS, Kind, MAX_PAYLOAD_BYTES, ROW_WORDS, WORD, WORD_BYTES};
use super::header::JournalKind;
use super::names::{Names, check_names};
use super::record::{copy_bytes, encode_schema};

/// Why values of new names are dropped.
const TOO_MANY_NAMES: &str = "the names of metrics take all the memory that a run has for them, 64 MiB: \
    values under new names are dropped; put what changes from call to call into values or tables";

/// A name, or a set of names, of one [`MetricWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SchemaId(u32);

/// Where the values of a row go, in the order of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Into one record.
    Row {
        /// The set of the names.
        schema: SchemaId,
        /// For each value its place in the record; `None` if they are in their places.
        order: Option<Box<[u32]>>,
    },
    /// Into a record each: there are too many sets of names. `None` for a name that there is no
    /// memory for: its values are dropped.
    Each(Box<[Option<SchemaId>]>),
}

impl Layout {
    /// The schema of one name; `None` if there is no memory for it.
    #[must_use]
    pub fn single(&self) -> Option<SchemaId> {
        match self {
            Self::Row { schema, .. } => Some(*schema),
            Self::Each(schemas) => *schemas.first()?,
        }
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the file and survives the death of the process.
    Accepted,
    /// It is lost, and counted: the disk is full, or this is a forked child.
    Dropped,
}

struct Schema {
    payload: Box<[u8]>,
    values: usize,
    /// Of several names, in ascending order of their ids: the place of the value of each.
    places: Box<[u32]>,
    /// The piece of the file that last got this schema; 0 is none.
    piece: u32,
}

/// Writes one metrics journal.
pub struct MetricWriter {
    appender: Appender,
    names: Names,
    schemas: Vec<Schema>,
    /// Made once, for the ids of a row.
    key: Vec<u32>,
    /// The automatic step; the least number stands for "beyond the greatest".
    next_step: i64,
    accepted: u64,
    dropped: u64,
    last_error: Option<String>,
    /// Values accepted by journals before this one.
    accepted_before: u64,
    is_gone: bool,
}

impl MetricWriter {
    /// Make a new journal at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn create(path: &Path, options: Options) -> Result<Self, Error> {
        let mut appender = Appender::create(path, JournalKind::Metrics, options)?;
        appender.tend(options);
        Ok(Self::with(appender))
    }

    /// A writer that has no journal until [`MetricWriter::open`]: what it is given is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn nowhere(path: &Path) -> Result<Self, Error> {
        Appender::nowhere(path, false).map(Self::with)
    }

    fn with(appender: Appender) -> Self {
        Self {
            appender,
            names: Names::default(),
            schemas: Vec::new(),
            key: Vec::new(),
            next_step: 0,
            accepted: 0,
            dropped: 0,
            last_error: None,
            accepted_before: 0,
            is_gone: false,
        }
    }

    /// Go on in a new journal of this process; names and steps stay what they are. For a writer that
    /// [`MetricWriter::is_inherited`].
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists. The writer is then as it was.
    pub fn open(&mut self, path: &Path, options: Options) -> Result<(), Error> {
        let mut appender = Appender::create(path, JournalKind::Metrics, options)?;
        appender.tend(options);
        if self.appender.is_forked() {
            (self.accepted, self.dropped) = (0, 0);
        }
        self.accepted_before = self.accepted;
        self.appender = appender;
        self.is_gone = false;
        for schema in &mut self.schemas {
            schema.piece = 0;
        }
        Ok(())
    }

    /// End the journal in `state`, and have none until the next [`MetricWriter::open`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn let_go(&mut self, state: u32) -> Result<Option<Closing>, Error> {
        let nowhere = Appender::nowhere(self.appender.path(), false)?;
        let closing = self.close(state);
        self.appender = nowhere;
        Ok(closing)
    }

    /// Take no more rows. The journal stays open: when the process exits, its exit status is the end
    /// of it. Where too many are left so, it ends in the state `fallback`.
    pub fn leave(&mut self, fallback: u32) {
        if !self.appender.is_closed() {
            self.appender.leave(fallback);
        }
    }

    /// Look whether somebody has removed the journal, with everything in it: that is dropped then.
    /// Returns whether this is news to everybody.
    pub fn look_for_file(&mut self) -> bool {
        if self.is_gone || self.is_closed() || self.is_inherited() || !self.appender.is_gone() {
            return false;
        }
        self.is_gone = true;
        self.dropped += self.accepted - self.accepted_before;
        self.accepted = self.accepted_before;
        self.last_error = Some(format!(
            "{}: the file was removed",
            self.appender.path().display()
        ));
        self.appender.give_up()
    }

    /// Where the values of these names go. Names in another order are the same set.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn layout(&mut self, names: &[&str]) -> Result<Layout, Error> {
        check_names(names)?;
        let ids = names.iter().map(|name| self.name(name));
        let ids = ids.collect::<Result<Box<[Option<SchemaId>]>, Error>>()?;
        let known: Option<Vec<u32>> = ids.iter().map(|id| id.map(|id| id.0)).collect();
        let layout = match known.as_deref() {
            Some([id]) => Some(Layout::Row {
                schema: SchemaId(*id),
                order: None,
            }),
            Some(known) => self.set(known, names),
            None => None,
        };
        Ok(layout.unwrap_or(Layout::Each(ids)))
    }

    /// The schema of one name; `None` when there is no memory for another one.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn name(&mut self, name: &str) -> Result<Option<SchemaId>, Error> {
        let Some((id, is_new)) = self.names.name(name)? else {
            return Ok(None);
        };
        if is_new {
            self.add_schema(id, &[name], Box::default());
        }
        Ok(Some(SchemaId(id)))
    }

    /// The layout of a row of several names, if it becomes one record.
    fn set(&mut self, ids: &[u32], names: &[&str]) -> Option<Layout> {
        if (ROW_WORDS + names.len()) * WORD > MAX_PAYLOAD_BYTES {
            return None;
        }
        // There are no more names than ids.
        let mut ranks: Vec<u32> = (0..).take(ids.len()).collect();
        ranks.sort_unstable_by_key(|place| ids[*place as usize]);
        let key: Vec<u32> = ranks.iter().map(|place| ids[*place as usize]).collect();
        let text_bytes = names.iter().map(|name| name.len() + 4).sum();
        let (id, is_new) = self.names.set(&key, text_bytes)?;
        if is_new {
            self.add_schema(id, names, ranks.into());
            return Some(Layout::Row {
                schema: SchemaId(id),
                order: None,
            });
        }
        let places = &self.schemas[id as usize].places;
        let mut order = vec![0; ids.len()].into_boxed_slice();
        for (rank, place) in ranks.iter().zip(places) {
            order[*rank as usize] = *place;
        }
        let is_in_place = order.iter().zip(0..).all(|(place, index)| *place == index);
        Some(Layout::Row {
            schema: SchemaId(id),
            order: (!is_in_place).then_some(order),
        })
    }

    /// Ids are given out one after the other, and so are schemas.
    fn add_schema(&mut self, id: u32, names: &[&str], places: Box<[u32]>) {
        self.schemas.push(Schema {
            payload: encode_schema(id, names).into(),
            values: names.len(),
            places,
            piece: 0,
        });
    }

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

    /// Write one row whose step was taken before: automatic steps go on from where they are.
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
    fn place(&mut self, id: SchemaId, bytes: u64, values: usize) -> io::Result<()> {
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

    /// Write many points of one series under one time, in records of 4,096; `fill` puts the bits of
    /// the values of a range of points where it is told. Returns how many were accepted.
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
        count: usize,
        mut fill: impl FnMut(Range<usize>, &mut [u64]),
    ) -> Result<usize, Error> {
        if self.appender.is_closed() {
            return Err(Error::Closed);
        }
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
            let filled = |place: &mut [u64]| fill(points.clone(), place);
            match self.write_column(schema, part, time_ns, points.len(), filled) {
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
        count: usize,
        fill: impl FnOnce(&mut [u64]),
    ) -> io::Result<()> {
        let payload_words = column::payload_words(steps, count);
        self.place(id, (payload_words as u64 + 1) * WORD_BYTES, 1)?;
        let payload = self.appender.stage(payload_words);
        fill(column::encode(payload, id.0, time_ns, steps, count));
        self.appender.commit(Kind::Column, payload_words).map(drop)
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

    #[cold]
    fn drop_row(&mut self, error: &io::Error, values: usize) -> Outcome {
        self.dropped += values as u64;
        let reason = format!("{}: {error}", self.appender.path().display());
        if !self.is_gone && !self.appender.is_gone() {
            self.appender.tell_dropped(values as u64, &reason);
        }
        self.last_error = Some(reason);
        Outcome::Dropped
    }

    /// Count values of a name that there is no memory for.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn drop_unnamed(&mut self, values: usize) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        self.drop_row(&io::Error::other(TOO_MANY_NAMES), values);
        Ok(())
    }

    /// Values in the file.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Values that were lost to a full disk or a flood of names, or logged in a forked child.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Why values were dropped the last time.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Whether the journal was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.appender.is_closed()
    }

    /// Whether this process has no journal of its own, so that what it is given is dropped: this is a
    /// forked child's copy, or the journal was not opened yet.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.appender.is_inherited()
    }

    /// Have the first sync write these files and folders to the disk, too: what makes the journal
    /// worth anything. They are complete.
    pub fn sync_once(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.appender.durability().sync_once(paths);
    }

    /// A handle that makes the journal durable beside this writer.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.appender.durability().clone()
    }

    /// Write the final record and take no more rows; `None` when that was done before.
    ///
    /// In a forked child the file is left alone.
    pub fn close(&mut self, state: u32) -> Option<Closing> {
        if self.appender.is_closed() {
            return None;
        }
        if !self.appender.is_inherited()
            && let Err(error) = self.appender.end(state)
        {
            self.drop_row(&error, 0);
        }
        let closing = self.appender.close();
        // The file is closed with what completes the closing, not with the writer.
        if let Ok(nowhere) = Appender::nowhere(self.appender.path(), true) {
            self.appender = nowhere;
        }
        Some(closing)
    }

    /// Where the journal is, or was.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.appender.path()
    }

    /// Whether this is a forked child's copy of a writer that has a journal.
    #[must_use]
    pub fn is_forked(&self) -> bool {
        self.appender.is_forked()
    }
}
