//! Reads a metrics journal: what is new since a cursor, or all of it.

use std::collections::HashSet;
use std::path::Path;

use super::format::{HEADER_BYTES, Kind, word_at};
use super::header::{JournalKind, halves};
use super::rows::{Row, Rows, Table, Unread};
use super::scanner::{Mode, Record, Span};
use super::source::Source;
use crate::error::Error;
use crate::frame::Points;

/// Reads one metrics journal, while it is written or afterwards.
pub struct MetricReader {
    source: Source,
    table: Table,
    /// Up to where every schema is in the table.
    scanned: u64,
    end_state: Option<u32>,
}

impl MetricReader {
    /// Open a journal, with the cursor at its start.
    ///
    /// # Errors
    /// [`Error::Io`], and when the file is no metrics journal of this version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            source: Source::open(path, JournalKind::Metrics)?,
            table: Table::default(),
            scanned: HEADER_BYTES,
            end_state: None,
        })
    }

    /// The points committed since the cursor: whole rows, until there are `max_points` or more.
    ///
    /// # Errors
    /// [`Error::Io`], and when the file turns out to be no metrics journal.
    pub fn poll(&mut self, max_points: usize) -> Result<Points, Error> {
        self.poll_in(Mode::Live, max_points)
    }

    /// As [`MetricReader::poll`], but when no writer is at work, continue behind the holes that a power
    /// failure left.
    ///
    /// # Errors
    /// As [`MetricReader::poll`].
    pub fn poll_rest(&mut self, max_points: usize) -> Result<Points, Error> {
        if self.source.is_live()? {
            return self.poll(max_points);
        }
        self.poll_in(Mode::Settled, max_points)
    }

    /// Whether anything stands at the cursor: without, [`MetricReader::poll`] finds nothing. Costs
    /// one small read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn has_news(&self) -> Result<bool, Error> {
        self.source.has_news()
    }

    /// Whether the final record was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end_state.is_some()
    }

    fn poll_in(&mut self, mode: Mode, max_points: usize) -> Result<Points, Error> {
        self.source.refresh()?;
        let mut points = Points::default();
        let mut wrong = Vec::new();
        while points.count < max_points {
            let record = match self.source.scanner.next(mode) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => return Err(self.source.io(error)),
            };
            match record.kind {
                Kind::Row | Kind::Column => {
                    let span = record.span();
                    match Rows::of(&self.table, record) {
                        Ok(rows) => rows.each(|row| points.add(row)),
                        Err(_) => wrong.push(span),
                    }
                }
                Kind::Schema if self.table.learn(record.payload) => {}
                Kind::Schema | Kind::Blob => wrong.push(record.span()),
                Kind::End => self.end_state = Some(halves(word_at(record.payload, 0)).0),
                Kind::Pad => {}
            }
        }
        self.scanned = self.scanned.max(self.source.scanner.cursor());
        let found = self.source.scanner.take_damage();
        self.source.add_damage(found.into_iter().chain(wrong));
        Ok(points)
    }

    /// Read the whole file for its damage, also behind holes and at its end; the cursor stays.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn check(&mut self) -> Result<&[Span], Error> {
        self.scan_all(|| (), |(), _, _| {})?;
        Ok(self.damage())
    }

    pub(super) fn file_bytes(&self) -> Result<u64, Error> {
        let metadata = self.source.scanner.file().metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|error| self.source.io(error))
    }

    /// Visit every row of the file, in the order of commitment; `visit` gets what `start` made.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn rows<T>(
        &mut self,
        start: impl Fn() -> T,
        mut visit: impl FnMut(&mut T, &Row<'_>),
    ) -> Result<T, Error> {
        self.scan_all(start, |found, _, rows| rows.each(|row| visit(found, row)))
    }

    /// As [`MetricReader::rows`], with the names so far, and rows that are alike together.
    pub(super) fn scan_all<T>(
        &mut self,
        start: impl Fn() -> T,
        mut visit: impl FnMut(&mut T, &Table, &Rows<'_>),
    ) -> Result<T, Error> {
        loop {
            let (mut result, mut wrong, mut unknown) = (start(), Vec::new(), Vec::new());
            self.source.refresh()?;
            let is_live = self.source.is_live()?;
            let mut scanner = self.source.rescan()?;
            let result_of_all = scanner.each(|record| match record.kind {
                Kind::Row | Kind::Column => {
                    let span = record.span();
                    match Rows::of(&self.table, record) {
                        Ok(rows) => visit(&mut result, &self.table, &rows),
                        Err(why) => {
                            wrong.push(span);
                            if let Unread::Unknown(id) = why {
                                unknown.push(id);
                            }
                        }
                    }
                }
                Kind::Schema if self.table.learn(record.payload) => {}
                _ => wrong.extend(self.note(&record)),
            });
            result_of_all.map_err(|error| self.source.io(error))?;
            self.scanned = self.scanned.max(scanner.cursor());
            // A damaged schema that was repeated in a later piece: now its rows can be read.
            if unknown.iter().any(|id| self.table.columns(*id).is_some()) {
                continue;
            }
            let torn = scanner.torn().filter(|_| !is_live);
            let found = scanner.take_damage();
            self.source
                .add_damage(found.into_iter().chain(wrong).chain(torn));
            return Ok(result);
        }
    }

    /// Take in a record that is neither row nor schema; the span if it does not belong here.
    fn note(&mut self, record: &Record<'_>) -> Option<Span> {
        match record.kind {
            Kind::End => self.end_state = Some(halves(word_at(record.payload, 0)).0),
            Kind::Pad => {}
            Kind::Row | Kind::Column | Kind::Schema | Kind::Blob => return Some(record.span()),
        }
        None
    }

    /// The names so far, in the order in which they turned up; `series` of [`Points`] counts here.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.table.names.iter().map(|name| &**name)
    }

    /// The names under which there are points, in the order of the first of these; the cursor stays.
    ///
    /// A name that was only just introduced has none yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn logged_names(&mut self) -> Result<Vec<&str>, Error> {
        let (_, schemas) = self.scan_all(
            || (HashSet::new(), Vec::new()),
            |(seen, found), _, rows| {
                if found.last() != Some(&rows.schema) && seen.insert(rows.schema) {
                    found.push(rows.schema);
                }
            },
        )?;
        let names = schemas.iter().flat_map(|id| self.table.names_of(*id));
        Ok(names.collect())
    }

    /// The byte cursor: where the next poll continues.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.source.scanner.cursor()
    }

    /// Move the cursor to a position it had, in this reader or in another of the same file; 0 is
    /// the start.
    ///
    /// # Errors
    /// [`Error::BadPosition`] when no record starts or ends there, and [`Error::Io`].
    pub fn seek(&mut self, position: u64) -> Result<(), Error> {
        let position = position.max(HEADER_BYTES);
        let mut scanner = self.source.rescan()?;
        scanner.restart(if position < self.scanned {
            HEADER_BYTES
        } else {
            self.scanned
        });
        while scanner.cursor() < position {
            let record = scanner
                .next(Mode::Live)
                .map_err(|error| self.source.io(error))?;
            let Some(record) = record else { break };
            if record.kind == Kind::Schema {
                self.table.learn(record.payload);
            }
        }
        let end = scanner.cursor();
        if end != position {
            return Err(Error::BadPosition { position, end });
        }
        self.scanned = self.scanned.max(position);
        self.source.scanner.restart(position);
        Ok(())
    }

    /// What is damaged, as far as it was read, in the order of the file.
    #[must_use]
    pub fn damage(&self) -> &[Span] {
        self.source.damage()
    }

    /// How many bytes of what is damaged are not zero, as far as it was read.
    pub(crate) fn damaged_bytes(&self) -> Result<u64, Error> {
        self.source.damaged_bytes()
    }

    /// Up to where the file was read for its rows.
    pub(crate) fn position_of_end(&self) -> u64 {
        self.scanned
    }

    /// The state that the writer closed the journal with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn end_state(&self) -> Result<Option<u32>, Error> {
        match self.end_state {
            Some(state) => Ok(Some(state)),
            None => self.source.end_state(),
        }
    }

    /// Whether a writer is at work; `true` when that cannot be told.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_live(&self) -> Result<bool, Error> {
        self.source.is_live()
    }

    /// The process that made the journal; `None` while its header is missing.
    #[must_use]
    pub fn writer_pid(&self) -> Option<u32> {
        self.source.header().map(|header| header.writer.pid)
    }

    /// When the journal was made, in unix nanoseconds; `None` while its header is missing.
    #[must_use]
    pub fn created_ns(&self) -> Option<i64> {
        self.source.header().map(|header| header.created_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::journal::column::{self, Form, Steps};
    use crate::journal::format::{COLUMN_WORDS, Head};
    use crate::journal::words::bytes_of;
    use crate::journal::{MetricWriter, Options};

    #[test]
    fn a_column_under_two_names_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let options = Options {
            is_mapped: false,
            ..Options::default()
        };
        let mut writer = MetricWriter::create(&path, options).unwrap();
        let two = writer.layout(&["a", "b"]).unwrap();
        writer.log(&two, None, 0, &[0.5, 1.5]).unwrap();
        drop(writer);
        let file = File::options().write(true).open(&path).unwrap();
        let offset = file.metadata().unwrap().len();
        let mut words = [0; 1 + COLUMN_WORDS + 1];
        let regular = Steps::Regular {
            first: 0,
            stride: 1,
        };
        column::encode(&mut words[1..], 0, 0, regular, Form::Doubles, 1);
        let head = Head {
            kind: Kind::Column,
            payload_words: COLUMN_WORDS + 1,
        };
        words[0] = head.commit_word(offset, bytes_of(&words[1..])).to_le();
        file.write_all_at(bytes_of(&words), offset).unwrap();

        let mut reader = MetricReader::open(&path).unwrap();
        let length = size_of_val(&words) as u64;
        assert_eq!(reader.check().unwrap(), [Span { offset, length }]);
        assert_eq!(reader.poll(10).unwrap().count, 2);
    }
    /// All points of a journal, step by step and in one pass.
    fn read_both_ways(path: &Path) -> [(Points, Vec<Span>); 2] {
        let mut stepping = MetricReader::open(path).unwrap();
        let stepped = stepping.poll_rest(usize::MAX).unwrap();
        let mut passing = MetricReader::open(path).unwrap();
        let passed = passing.rows(Points::default, Points::add).unwrap();
        [(stepped, stepping), (passed, passing)]
            .map(|(points, reader)| (points, reader.damage().to_vec()))
    }

    #[test]
    fn what_is_read_ahead_is_what_is_read_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let options = Options {
            is_mapped: false,
            ..Options::default()
        };
        let mut writer = MetricWriter::create(&path, options).unwrap();
        let (one, two) = (
            writer.layout(&["a"]).unwrap(),
            writer.layout(&["b", "c"]).unwrap(),
        );
        let series = one.single().unwrap();
        let (steps, doubles) = (vec![7; 4096], vec![0.5; 4096]);
        for step in 0..20_000 {
            writer.log(&one, Some(step), step, &[1.5]).unwrap();
            if step % 7 == 0 {
                writer.log(&two, Some(step), step, &[2.5, 3.5]).unwrap();
            }
            // Of any length: some cross the ends of what is read at once.
            if step % 200 == 0 {
                let count = 1 + usize::try_from(step).unwrap() * 37 % 4096;
                for steps in [Steps::Automatic, Steps::Each(&steps[..count])] {
                    writer
                        .extend(series, steps, step, &doubles[..count])
                        .unwrap();
                }
            }
        }
        drop(writer.close(1));
        drop(writer);
        let file = File::options().write(true).open(&path).unwrap();
        let bytes = file.metadata().unwrap().len();
        assert!(bytes > 4_000_000, "enough for a thread to read ahead");
        let [stepped, passed] = read_both_ways(&path);
        assert_eq!(stepped.0.count, 20_000 + 2 * 2_858 + 2 * extended());
        assert_eq!(stepped, passed);

        for share in 1..40 {
            // Zeros, as a power failure leaves them, and a word that is none.
            let offset = bytes * share / 40 / 8 * 8;
            let length = if share % 2 == 0 { 8 } else { 4096 };
            let word = if share % 3 == 0 { 0x11 } else { 0 };
            file.write_all_at(&vec![word; length], offset).unwrap();
        }
        let [stepped, passed] = read_both_ways(&path);
        assert!(stepped.1.len() >= 20);
        assert_eq!(stepped, passed);
    }

    fn extended() -> usize {
        (0..20_000)
            .step_by(200)
            .map(|step| 1 + step * 37 % 4096)
            .sum()
    }
}
