//! The writing end of a file: reserved space, committed records, growth, close.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::Closing;
use super::durability::Durability;
use super::exit;
use super::format::{END_WORDS, HEADER_BYTES, Head, Kind, WORD_BYTES};
use super::header::{Header, JournalKind};
use super::keeper;
use super::mapping::{GRAIN_BYTES, Mapping, Piece, reserve_some};
use super::record::end_record;
use super::shared::{Shared, next_piece_bytes};
use super::words::{WORD, bytes_of, bytes_of_mut};
use crate::error::Error;
use crate::os::{self, Lock, ProcessIdentity};
use crate::{clock, files};

/// Page faults are taken this far ahead of the records where the background thread was too slow. A
/// piece at a time would make one call in a hundred thousand wait for milliseconds; and pages that
/// were just made are still in the cache when records are stored into them.
const AHEAD_BYTES: u64 = 128 << 10;
/// A short file has so few of them: each is written to the disk with the first sync.
const FIRST_AHEAD_BYTES: u64 = 16 << 10;
/// Without pieces, schemas are repeated this often.
const PLAIN_PIECE_BYTES: u64 = 4 << 20;
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Each piece keeps room for the final record: a run that ends on a full disk has ended all the same.
const END_BYTES: u64 = (END_WORDS as u64 + 1) * WORD_BYTES;

/// How a journal is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Map the file; `false` writes each record with one `pwrite`, which remote file systems get in
    /// any case.
    pub is_mapped: bool,
    /// How often the background thread writes a metrics journal to the disk; never if `None`.
    pub sync_every: Option<Duration>,
    /// Have the process end a metrics journal that is open when it exits, in the state that its exit
    /// status tells.
    pub ends_with_process: bool,
    /// Hold the lock of the file; `false` leaves it to the caller that nobody else writes it, by a
    /// lock that those who may only read the file cannot take.
    pub is_locked: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            is_mapped: true,
            sync_every: Some(Duration::from_millis(100)),
            ends_with_process: false,
            is_locked: true,
        }
    }
}

enum Storage {
    Mapped(Piece),
    /// Records are put together here and written by `pwrite`.
    Plain(Vec<u64>),
}

/// Appends records to one file; the only writer of it.
pub(super) struct Appender {
    durability: Durability,
    /// What the background thread sees; only of writers that it tends.
    shared: Option<Arc<Shared>>,
    storage: Storage,
    is_mapped: bool,
    /// Where the next record goes.
    position: u64,
    /// Up to where records may go without growth.
    limit: u64,
    /// Counts the pieces: a schema is repeated in each piece that uses it.
    piece_number: u32,
    failure: Option<(Instant, io::ErrorKind, Option<i32>)>,
    is_closed: bool,
}

impl Appender {
    /// Make a new journal; the file must not exist.
    pub(super) fn create(path: &Path, kind: JournalKind, options: Options) -> Result<Self, Error> {
        let io = |error| Error::io(path, error);
        let file = files::create_new(path)?;
        if options.is_locked {
            take_lock(path, &file)?;
        }
        if let Err(error) = write_header(&file, kind, clock::unix_ns()) {
            // Without a header it would only be in the way of the next attempt.
            let _ = fs::remove_file(path);
            return Err(io(error));
        }
        Ok(Self::at(path, file, HEADER_BYTES, options))
    }

    /// A writer without a file, in no process: it takes nothing, as a forked child's copy does.
    pub(super) fn nowhere(path: &Path, is_closed: bool) -> Result<Self, Error> {
        Ok(Self {
            durability: Durability::nowhere(path)?,
            shared: None,
            storage: Storage::Plain(Vec::new()),
            is_mapped: false,
            position: 0,
            limit: 0,
            piece_number: 0,
            failure: None,
            is_closed,
        })
    }

    /// Continue in `file`, which is locked and has a header, at `position`.
    pub(super) fn at(path: &Path, file: File, position: u64, options: Options) -> Self {
        os::watch_forks();
        let is_mapped = options.is_mapped && !os::is_remote(&file);
        let mut appender = Self {
            durability: Durability::new(path, file),
            shared: None,
            storage: Storage::Plain(Vec::new()),
            is_mapped,
            position,
            limit: position,
            piece_number: 0,
            failure: None,
            is_closed: false,
        };
        // A full disk is an error of the records that do not fit, not of the opening.
        let _ = appender.grow(WORD_BYTES);
        appender
    }

    /// Have the background thread tend this journal.
    pub(super) fn tend(&mut self, options: Options) {
        let shared = Shared::new(self.durability.clone(), options.sync_every, self.position);
        if let Storage::Mapped(piece) = &self.storage {
            shared.enter(piece.mapping());
        }
        let shared = Arc::new(shared);
        keeper::tend(&shared);
        if options.ends_with_process {
            exit::remember(&shared);
        }
        self.shared = Some(shared);
    }

    /// Tell the background thread what was lost, and why.
    pub(super) fn tell_dropped(&self, values: u64, reason: &str) {
        if let Some(shared) = &self.shared {
            shared.drop_values(values, reason);
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.durability.path()
    }

    #[inline]
    pub(super) fn piece_number(&self) -> u32 {
        self.piece_number
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether this process was forked from the one that opened the journal.
    #[inline]
    pub(super) fn is_inherited(&self) -> bool {
        self.durability.generation != os::generation()
    }

    /// Whether this process has no journal: it was forked from the one that has, or there is none yet.
    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        self.is_inherited() && !self.durability.is_nowhere()
    }

    /// Whether somebody has removed the file: what it holds is lost, and so is what follows.
    pub(super) fn is_gone(&self) -> bool {
        self.durability.is_gone()
    }

    /// Take no more records, because the file is gone; whether nobody has told so yet.
    pub(super) fn give_up(&mut self) -> bool {
        self.limit = self.position;
        self.shared.as_ref().is_none_or(|shared| shared.set_gone())
    }

    /// Make room for records of `bytes` together; afterwards staging them cannot fail.
    #[inline]
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        if self.limit - self.position >= bytes {
            Ok(())
        } else {
            self.grow(bytes)
        }
    }

    /// The payload of the next record, to be filled in; room for it must be reserved.
    #[inline(always)]
    pub(super) fn stage(&mut self, payload_words: usize) -> &mut [u64] {
        let record = match &mut self.storage {
            Storage::Mapped(piece) => piece.stage(self.position, payload_words + 1),
            Storage::Plain(buffer) => {
                buffer.resize(payload_words + 1, 0);
                buffer.as_mut_slice()
            }
        };
        &mut record[1..]
    }

    /// Commit the staged record and return its offset.
    #[inline(always)]
    pub(super) fn commit(&mut self, kind: Kind, payload_words: usize) -> io::Result<u64> {
        let head = Head {
            kind,
            payload_words,
        };
        let offset = self.position;
        match &mut self.storage {
            Storage::Mapped(piece) => piece.commit(offset, head),
            Storage::Plain(buffer) => {
                buffer[0] = head.commit_word(offset, bytes_of(&buffer[1..])).to_le();
                if let Err(error) = self.durability.file.write_all_at(bytes_of(buffer), offset) {
                    return Err(self.fail(error));
                }
            }
        }
        Ok(self.go_on(head))
    }

    /// As [`Appender::commit`], but the payload lacks its last words, which are these.
    pub(super) fn commit_with(
        &mut self,
        kind: Kind,
        payload_words: usize,
        words: &[[u8; WORD]],
    ) -> io::Result<u64> {
        let Storage::Mapped(piece) = &mut self.storage else {
            let payload = bytes_of_mut(self.stage(payload_words));
            let ready = payload.len() - size_of_val(words);
            payload[ready..].copy_from_slice(words.as_flattened());
            return self.commit(kind, payload_words);
        };
        let head = Head {
            kind,
            payload_words,
        };
        piece.commit_with(self.position, head, words);
        Ok(self.go_on(head))
    }

    /// Step over the record that was committed, and return its offset.
    #[inline(always)]
    fn go_on(&mut self, head: Head) -> u64 {
        let offset = self.position;
        self.position = offset + head.record_bytes();
        if let Some(shared) = &self.shared {
            shared.publish(self.position);
        }
        offset
    }

    /// The final record, in the room that was kept for it.
    pub(super) fn end(&mut self, state: u32) -> io::Result<()> {
        let record = end_record(self.position, state);
        // A mapped piece shows it as well: both are the same pages.
        self.durability.file.write_all_at(&record, self.position)?;
        self.position += END_BYTES;
        if let Some(shared) = &self.shared {
            shared.publish(self.position);
        }
        Ok(())
    }

    /// Leave the journal as it is: when the process exits, its exit status is the end of it.
    pub(super) fn leave(&mut self, fallback: u32) {
        self.is_closed = true;
        self.storage = Storage::Plain(Vec::new());
        if let Some(shared) = self.shared.take().filter(|_| !self.is_inherited()) {
            exit::leave(shared, fallback);
        }
    }

    /// Take no more records; [`Closing::complete`] does the slow rest.
    pub(super) fn close(&mut self) -> Closing {
        self.is_closed = true;
        self.storage = Storage::Plain(Vec::new());
        let shared = self.shared.take().filter(|_| !self.is_inherited());
        if let Some(shared) = &shared {
            shared.close();
        }
        Closing {
            durability: self.durability.clone(),
            shared,
            used: self.position,
        }
    }

    pub(super) fn durability(&self) -> &Durability {
        &self.durability
    }

    #[cold]
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        if let Some((at, kind, code)) = self.failure
            && at.elapsed() < RETRY_AFTER
        {
            return Err(code.map_or_else(|| kind.into(), io::Error::from_raw_os_error));
        }
        if self.shared.as_ref().is_some_and(|shared| shared.is_gone()) {
            let removed = io::Error::new(io::ErrorKind::NotFound, "the file was removed");
            return Err(self.fail(removed));
        }
        let result = if self.is_mapped {
            self.extend(bytes)
        } else {
            Ok(())
        };
        if let Err(error) = result {
            return Err(self.fail(error));
        }
        if !self.is_mapped {
            self.limit = self.position + bytes.max(PLAIN_PIECE_BYTES);
            self.piece_number += 1;
        }
        self.failure = None;
        Ok(())
    }

    /// Go on in the mapped piece, or in the next one.
    fn extend(&mut self, bytes: u64) -> io::Result<()> {
        let has_room = match &self.storage {
            Storage::Mapped(piece) => piece.end() - self.position >= bytes + END_BYTES,
            Storage::Plain(_) => false,
        };
        if !has_room {
            self.map_next(bytes)?;
        }
        if let Storage::Mapped(piece) = &mut self.storage {
            if piece.present_end() < self.position + bytes {
                let ahead = self.position.clamp(FIRST_AHEAD_BYTES, AHEAD_BYTES);
                piece.fault_in(self.position, bytes + ahead)?;
            }
            self.limit = piece.present_end().min(piece.end() - END_BYTES);
        }
        if self.shared.is_some() {
            keeper::nudge();
        }
        Ok(())
    }

    /// Remember the failure: the disk is not asked again for a while.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.failure = Some((Instant::now(), error.kind(), error.raw_os_error()));
        if matches!(self.storage, Storage::Plain(_)) {
            self.limit = self.position;
        }
        error
    }

    /// Reserve and map the next piece, then leave the old one.
    fn map_next(&mut self, bytes: u64) -> io::Result<()> {
        let (offset, ahead) = match &self.storage {
            Storage::Mapped(piece) => (piece.end(), 0),
            Storage::Plain(_) => {
                let ahead = self.position % GRAIN_BYTES;
                (self.position - ahead, ahead)
            }
        };
        let needed = (ahead + bytes + END_BYTES).next_multiple_of(GRAIN_BYTES);
        match self.mapping_from(offset, needed) {
            Ok(mapping) => {
                self.pad()?;
                self.position = self.position.max(offset);
                self.limit = self.position;
                self.piece_number += 1;
                if let Some(shared) = &self.shared {
                    shared.enter(&mapping);
                }
                self.storage = Storage::Mapped(Piece::of(mapping));
                Ok(())
            }
            Err(error) if is_unmappable(&error) => {
                self.is_mapped = false;
                self.storage = Storage::Plain(Vec::new());
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The piece that the background thread has made, or one made now.
    fn mapping_from(&self, offset: u64, needed: u64) -> io::Result<Arc<Mapping>> {
        let made = self.shared.as_ref();
        if let Some(mapping) = made.and_then(|shared| shared.take_next(offset, needed)) {
            return Ok(mapping);
        }
        let last = match &self.storage {
            Storage::Mapped(piece) => Some(piece.mapping().bytes()),
            Storage::Plain(_) => None,
        };
        let file = &self.durability.file;
        let bytes = reserve_some(file, offset, needed, next_piece_bytes(last))?;
        Mapping::map(file, offset, bytes).map(Arc::new)
    }

    /// Fill the rest of a mapped piece, so that the reader can step over it.
    fn pad(&mut self) -> io::Result<()> {
        let Storage::Mapped(piece) = &mut self.storage else {
            return Ok(());
        };
        let words = to_usize((piece.end() - self.position) / WORD_BYTES)?;
        let Some(payload_words) = words.checked_sub(1) else {
            return Ok(());
        };
        piece.fault_in(self.position, words as u64 * WORD_BYTES)?;
        // Not all zeros if a record was staged here and given up.
        piece.stage(self.position, words)[1..].fill(0);
        piece.commit(
            self.position,
            Head {
                kind: Kind::Pad,
                payload_words,
            },
        );
        self.position = piece.end();
        Ok(())
    }
}

/// Dropped without being closed: as after the death of the process, but the lock goes now, however
/// long the background thread keeps the file open.
impl Drop for Appender {
    fn drop(&mut self) {
        if self.is_closed || self.is_inherited() {
            return;
        }
        if let Some(shared) = &self.shared {
            shared.close();
        }
        os::unlock(&self.durability.file);
    }
}

pub(super) fn take_lock(path: &Path, file: &File) -> Result<(), Error> {
    match os::lock_for_writing(file) {
        Ok(Lock::Held) => Err(Error::Locked(path.to_owned())),
        Ok(Lock::Free | Lock::Unknown) => Ok(()),
        Err(error) => Err(Error::io(path, error)),
    }
}

pub(super) fn write_header(file: &File, kind: JournalKind, created_ns: i64) -> io::Result<()> {
    let header = Header {
        kind: kind as u32,
        created_ns,
        writer: ProcessIdentity::current(),
    };
    file.write_all_at(&header.encode(), 0)
}

/// Whether the same file may still take records by `pwrite`.
fn is_unmappable(error: &io::Error) -> bool {
    os::is_unsupported(error) || matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EACCES))
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}
