//! The writing end of a file: reserved space, committed records, growth, close.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::Error;
use super::format::{END_WORDS, HEADER_BYTES, Head, Kind, WORD, WORD_BYTES};
use super::header::{Header, JournalKind};
use super::mapping::{LARGEST_PAGE, Piece, bytes_of};
use super::os::{self, Lock, ProcessIdentity};
use crate::clock;

const GRAIN_BYTES: u64 = LARGEST_PAGE as u64;
/// Page faults are taken this far ahead of the records.
const AHEAD_BYTES: u64 = 128 << 10;
const LARGEST_PIECE_BYTES: u64 = 4 << 20;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// How a journal is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Map the file; `false` writes each record with one `pwrite`, which remote file systems get in
    /// any case.
    pub is_mapped: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { is_mapped: true }
    }
}

enum Storage {
    Mapped(Piece),
    /// Records are put together here and written by `pwrite`.
    Plain(Vec<u64>),
}

/// Appends records to one file; the only writer of it.
pub(super) struct Appender {
    path: PathBuf,
    file: Arc<File>,
    storage: Storage,
    is_mapped: bool,
    /// Where the next record goes.
    position: u64,
    /// Up to where records may go without growth.
    limit: u64,
    /// Counts the pieces: a schema is repeated in each piece that uses it.
    piece_number: u32,
    next_piece_bytes: u64,
    failure: Option<(Instant, io::ErrorKind, Option<i32>)>,
    generation: u32,
    is_closed: bool,
}

impl Appender {
    /// Make a new journal; the file must not exist.
    pub(super) fn create(path: &Path, kind: JournalKind, options: Options) -> Result<Self, Error> {
        let io = |error| Error::io(path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(io)?;
        take_lock(path, &file)?;
        if let Err(error) = write_header(&file, kind, clock::unix_ns()) {
            // Without a header it would only be in the way of the next attempt.
            let _ = fs::remove_file(path);
            return Err(io(error));
        }
        Ok(Self::at(path, file, HEADER_BYTES, options))
    }

    /// Continue in `file`, which is locked and has a header, at `position`.
    pub(super) fn at(path: &Path, file: File, position: u64, options: Options) -> Self {
        os::watch_forks();
        let is_mapped = options.is_mapped && !os::is_remote(&file);
        let mut appender = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            storage: Storage::Plain(Vec::new()),
            is_mapped,
            position,
            limit: position,
            piece_number: 0,
            next_piece_bytes: GRAIN_BYTES,
            failure: None,
            generation: os::generation(),
            is_closed: false,
        };
        // A full disk is an error of the records that do not fit, not of the opening.
        let _ = appender.grow(WORD_BYTES);
        appender
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
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
        self.generation != os::generation()
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
    #[inline]
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
    #[inline]
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
                if let Err(error) = self.file.write_all_at(bytes_of(buffer), offset) {
                    return Err(self.fail(error));
                }
            }
        }
        self.position = offset + head.record_bytes();
        Ok(offset)
    }

    /// The final record, if it fits.
    pub(super) fn end(&mut self, state: u32) -> io::Result<()> {
        self.reserve((END_WORDS as u64 + 1) * WORD_BYTES)?;
        let payload = self.stage(END_WORDS);
        payload[0] = u64::from(state).to_le();
        payload[1] = clock::unix_ns().cast_unsigned().to_le();
        self.commit(Kind::End, END_WORDS).map(drop)
    }

    /// Take no more records; [`Closing::complete`] does the slow rest.
    pub(super) fn close(&mut self) -> Closing {
        self.is_closed = true;
        self.storage = Storage::Plain(Vec::new());
        Closing {
            handle: self.sync_handle(),
            used: self.position,
        }
    }

    pub(super) fn sync_handle(&self) -> Durability {
        Durability {
            path: self.path.clone(),
            file: Arc::clone(&self.file),
            generation: self.generation,
        }
    }

    #[cold]
    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        if let Some((at, kind, code)) = self.failure
            && at.elapsed() < RETRY_AFTER
        {
            return Err(code.map_or_else(|| kind.into(), io::Error::from_raw_os_error));
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
            self.limit = self.position + bytes.max(LARGEST_PIECE_BYTES);
            self.piece_number += 1;
        }
        self.failure = None;
        Ok(())
    }

    /// Go on in the mapped piece, or in the next one.
    fn extend(&mut self, bytes: u64) -> io::Result<()> {
        let has_room = match &self.storage {
            Storage::Mapped(piece) => piece.end() - self.position >= bytes,
            Storage::Plain(_) => false,
        };
        if !has_room {
            self.map_next(bytes)?;
        }
        if let Storage::Mapped(piece) = &mut self.storage {
            piece.fault_in(self.position, to_usize(bytes + AHEAD_BYTES)?)?;
            self.limit = piece.present_end();
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
        let needed = (ahead + bytes).next_multiple_of(GRAIN_BYTES);
        let mapped =
            reserve_some(&self.file, offset, needed, self.next_piece_bytes).and_then(|reserved| {
                Ok((
                    Piece::map(&self.file, offset, to_usize(reserved)?)?,
                    reserved,
                ))
            });
        match mapped {
            Ok((piece, reserved)) => {
                self.pad()?;
                self.position = self.position.max(offset);
                self.limit = self.position;
                self.piece_number += 1;
                self.storage = Storage::Mapped(piece);
                self.next_piece_bytes = (reserved * 2).min(LARGEST_PIECE_BYTES);
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

    /// Fill the rest of a mapped piece, so that the reader can step over it.
    fn pad(&mut self) -> io::Result<()> {
        let Storage::Mapped(piece) = &mut self.storage else {
            return Ok(());
        };
        let words = to_usize((piece.end() - self.position) / WORD_BYTES)?;
        let Some(payload_words) = words.checked_sub(1) else {
            return Ok(());
        };
        piece.fault_in(self.position, words * WORD)?;
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

/// Makes what was written durable, from any thread, beside the writer.
#[derive(Clone)]
pub struct Durability {
    path: PathBuf,
    file: Arc<File>,
    generation: u32,
}

impl Durability {
    /// Wait until everything committed before this call is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        // Linux keeps one page cache: syncing the file covers stores into a shared mapping of it.
        self.file
            .sync_data()
            .map_err(|error| Error::io(&self.path, error))
    }
}

/// The slow part of closing a journal; dropped unused, the file keeps its reserved space.
#[must_use]
pub struct Closing {
    handle: Durability,
    used: u64,
}

impl Closing {
    /// Give back the space that was not used, make the rest durable, let go of the lock.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; the journal is closed all the same.
    pub fn complete(self) -> Result<(), Error> {
        let Durability {
            path,
            file,
            generation,
        } = &self.handle;
        if *generation != os::generation() {
            return Ok(());
        }
        let truncated = file.set_len(self.used).and_then(|()| file.sync_data());
        os::unlock(file);
        truncated.map_err(|error| Error::io(path, error))
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

/// Reserve what is wanted, or on a nearly full disk less, but never less than needed.
fn reserve_some(file: &File, offset: u64, needed: u64, wanted: u64) -> io::Result<u64> {
    let mut bytes = wanted.max(needed);
    loop {
        match os::reserve(file, offset, bytes) {
            Ok(()) => return Ok(bytes),
            Err(error) if os::is_full(&error) && bytes > needed => {
                bytes = (bytes / 2).next_multiple_of(GRAIN_BYTES).max(needed);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the same file may still take records by `pwrite`.
fn is_unmappable(error: &io::Error) -> bool {
    os::is_unsupported(error) || matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EACCES))
}

fn to_usize(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))
}

const _: () = assert!(GRAIN_BYTES.is_multiple_of(WORD as u64));
