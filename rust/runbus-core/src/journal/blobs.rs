//! Journals of opaque bytes: the events.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::appender::{Appender, Options, take_lock, write_header};
use super::closing::Closing;
use super::durability::Durability;
use super::format::{HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES, WORD, WORD_BYTES, words_for};
use super::header::{self, Header, HeaderState, JournalKind};
use super::record::{copy_bytes, decode_blob};
use super::scanner::{Mode, Span};
use super::source::Source;
use crate::error::Error;
use crate::{clock, files};

/// Writes one event journal.
pub struct BlobWriter {
    appender: Appender,
}

impl BlobWriter {
    /// Make a new journal at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], also when the file exists.
    pub fn create(path: &Path, options: Options) -> Result<Self, Error> {
        Ok(Self {
            appender: Appender::create(path, JournalKind::Events, options)?,
        })
    }

    /// Continue the journal at `path` after its last whole record, or make a new one.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Locked`], when the file is no event journal of this version, and
    /// [`Error::Kept`] when something is at this place that cannot be read as a record.
    pub fn open(path: &Path, options: Options) -> Result<Self, Error> {
        let io = |error| Error::io(path, error);
        let file = files::open_or_create(path)?;
        if options.is_locked {
            take_lock(path, &file)?;
        }
        // Refuses what is no event journal, before anything is changed.
        let mut source = Source::of(path, file.try_clone().map_err(io)?, JournalKind::Events)?;
        let created_ns = created_ns(&file).map_err(io)?;
        let mut scanner = source.rescan()?;
        while scanner.next(Mode::Settled).map_err(io)?.is_some() {}
        let end = scanner.cursor();
        source.add_damage(scanner.torn());
        if end == HEADER_BYTES && source.damaged_bytes()? > 0 {
            let (path, reason) = (path.to_owned(), "no record of it can be read".into());
            return Err(Error::Kept { path, reason });
        }
        write_header(&file, JournalKind::Events, created_ns).map_err(io)?;
        file.set_len(end).map_err(io)?;
        Ok(Self {
            appender: Appender::at(path, file, end, options),
        })
    }

    /// Write one record and return its offset.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full; nothing was written then, and a later call may succeed.
    /// [`Error::Closed`], [`Error::Forked`], [`Error::TooLarge`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        if self.appender.is_closed() {
            return Err(Error::Closed);
        }
        if self.appender.is_inherited() {
            return Err(Error::Forked);
        }
        let payload_words = 1 + words_for(bytes.len());
        if payload_words * WORD > MAX_PAYLOAD_BYTES {
            return Err(Error::TooLarge {
                bytes: bytes.len(),
                most: MAX_PAYLOAD_BYTES,
            });
        }
        let written = self
            .appender
            .reserve((payload_words as u64 + 1) * WORD_BYTES)
            .and_then(|()| {
                let payload = self.appender.stage(payload_words);
                payload[0] = (bytes.len() as u64).to_le();
                copy_bytes(&mut payload[1..], bytes);
                self.appender.commit(Kind::Blob, payload_words)
            });
        written.map_err(|error| Error::io(self.appender.path(), error))
    }

    /// A handle that makes the journal durable beside this writer.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.appender.durability().clone()
    }

    /// Write the final record and take no more; `None` when that was done before.
    pub fn close(&mut self) -> Option<Closing> {
        if self.appender.is_closed() {
            return None;
        }
        if !self.appender.is_inherited() {
            // Without room for it the journal ends without it: nothing else is missing.
            let _ = self.appender.end(0);
        }
        Some(self.appender.close())
    }
}

/// When the journal was first made; now, if its header does not say.
fn created_ns(file: &std::fs::File) -> std::io::Result<i64> {
    let mut bytes = [0; header::BYTES];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(match Header::decode(&bytes[..count]) {
        HeaderState::Whole(header) => header.created_ns,
        _ => clock::unix_ns(),
    })
}

/// Follows one event journal.
pub struct BlobReader {
    source: Source,
}

impl BlobReader {
    /// Open a journal with the cursor at `position`, 0 for the start.
    ///
    /// # Errors
    /// [`Error::Io`], and when the file is no event journal of this version.
    pub fn open(path: &Path, position: u64) -> Result<Self, Error> {
        let mut source = Source::open(path, JournalKind::Events)?;
        source.scanner.restart(position);
        Ok(Self { source })
    }

    /// The records committed since the cursor with their offsets: up to `max_records` of them, and
    /// no more once they hold `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Io`], and when the file turns out to be no event journal.
    pub fn poll(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.source.refresh()?;
        let (mut blobs, mut wrong, mut bytes) = (Vec::new(), Vec::new(), 0);
        while blobs.len() < max_records && bytes < max_bytes {
            let record = match self.source.scanner.next(Mode::Live) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => return Err(self.source.io(error)),
            };
            match (record.kind, decode_blob(record.payload)) {
                (Kind::Blob, Some(blob)) => {
                    bytes += blob.len();
                    blobs.push((record.offset, blob.to_vec()));
                }
                (Kind::Pad | Kind::End, _) => {}
                _ => wrong.push(record.span()),
            }
        }
        let found = self.source.scanner.take_damage();
        self.source.add_damage(found.into_iter().chain(wrong));
        Ok(blobs)
    }

    /// The byte cursor: where the next poll continues.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.source.scanner.cursor()
    }

    /// What is damaged, as far as it was read, in the order of the file.
    #[must_use]
    pub fn damage(&self) -> &[Span] {
        self.source.damage()
    }
}
