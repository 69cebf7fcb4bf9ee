//! Rows of numbers under sets of names.

mod columns;
mod layout;
mod rows;

pub use columns::Values;
pub use layout::{Layout, SchemaId};

use std::io;
use std::path::{Path, PathBuf};

use super::appender::{Appender, Options};
use super::closing::Closing;
use super::durability::Durability;
use super::header::JournalKind;
use super::names::Names;
use crate::error::Error;

/// Why values of new names are dropped.
const TOO_MANY_NAMES: &str = "the names of metrics take all the memory that a run has for them, 64 MiB: \
    values under new names are dropped; put what changes from call to call into values or tables";

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

    /// The step of the row before the next automatic one; `None` before the first row.
    #[must_use]
    pub fn last_step(&self) -> Option<i64> {
        // Beyond the greatest step the next one is the least number, as it is marked.
        let is_unused = self.next_step == 0 && self.accepted == 0 && self.dropped == 0;
        (!is_unused).then(|| self.next_step.wrapping_sub(1))
    }

    /// Has the next automatic step follow one of an earlier writer.
    pub fn continue_after(&mut self, step: i64) {
        self.next_step = step.wrapping_add(1);
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
