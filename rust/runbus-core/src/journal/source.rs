//! A journal file opened for reading: its header, its scanner, its damage.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::format::{END_WORDS, HEADER_BYTES, Head, Kind, VERSION, WORD, WORD_BYTES, word_at};
use super::header::{self, Header, HeaderState, JournalKind, halves};
use super::scanner::{Scanner, Span};
use crate::error::Error;
use crate::files;
use crate::os::{self, Lock};

const HEADER_SPAN: Span = Span {
    offset: 0,
    length: HEADER_BYTES,
};

pub(super) struct Source {
    path: PathBuf,
    kind: JournalKind,
    header: Option<Header>,
    /// Records from a cursor on, as they are committed.
    pub(super) scanner: Scanner,
    damage: Vec<Span>,
}

impl Source {
    pub(super) fn open(path: &Path, kind: JournalKind) -> Result<Self, Error> {
        Self::of(path, files::open(path)?, kind)
    }

    /// Read from a file that is open already.
    pub(super) fn of(path: &Path, file: File, kind: JournalKind) -> Result<Self, Error> {
        let scanner = Scanner::new(file, HEADER_BYTES);
        let mut source = Self {
            path: path.to_owned(),
            kind,
            header: None,
            scanner,
            damage: Vec::new(),
        };
        source.refresh()?;
        Ok(source)
    }

    /// Read the header if it was not there before, and forget what was read of the file.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        self.scanner.restart(self.scanner.cursor());
        if self.header.is_some() || self.damage.contains(&HEADER_SPAN) {
            return Ok(());
        }
        let path = self.path.clone();
        match self.read_header()? {
            HeaderState::Missing => {}
            HeaderState::Damaged => self.add_damage([HEADER_SPAN]),
            HeaderState::Foreign => return Err(Error::NotAJournal(path)),
            HeaderState::Version(version) => {
                return Err(Error::Version {
                    path,
                    version,
                    newest: VERSION,
                });
            }
            HeaderState::Whole(header) if header.kind != self.kind as u32 => {
                return Err(Error::WrongKind {
                    path,
                    wanted: self.kind.described(),
                });
            }
            HeaderState::Whole(header) => self.header = Some(header),
        }
        Ok(())
    }

    fn read_header(&self) -> Result<HeaderState, Error> {
        let mut state = HeaderState::Missing;
        // A second look: a writer that continues the journal replaces the header while we read.
        for _ in 0..2 {
            let mut bytes = [0; header::BYTES];
            let mut filled = 0;
            while filled < bytes.len() {
                let count = self.read_at(&mut bytes[filled..], filled as u64)?;
                if count == 0 {
                    break;
                }
                filled += count;
            }
            state = Header::decode(&bytes[..filled]);
            if state != HeaderState::Damaged {
                break;
            }
        }
        Ok(state)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        self.scanner
            .file()
            .read_at(bytes, offset)
            .map_err(|error| self.io(error))
    }

    /// Whether anything but zeros stands at the cursor.
    pub(super) fn has_news(&self) -> Result<bool, Error> {
        let mut word = [0; WORD];
        let count = self.read_at(&mut word, self.scanner.cursor())?;
        Ok(word[..count].iter().any(|byte| *byte != 0))
    }

    pub(super) fn io(&self, error: std::io::Error) -> Error {
        Error::io(&self.path, error)
    }

    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// A scanner of the whole file, beside the one with the cursor.
    pub(super) fn rescan(&self) -> Result<Scanner, Error> {
        let file = self
            .scanner
            .file()
            .try_clone()
            .map_err(|error| self.io(error))?;
        Ok(Scanner::new(file, HEADER_BYTES))
    }

    pub(super) fn damage(&self) -> &[Span] {
        &self.damage
    }

    /// How many bytes of the damage are not zero: holes are not counted.
    pub(super) fn damaged_bytes(&self) -> Result<u64, Error> {
        let mut chunk = vec![0; 1 << 16];
        let mut found = 0;
        for span in &self.damage {
            let end = span.offset.saturating_add(span.length);
            let mut offset = span.offset;
            while offset < end {
                let wanted =
                    usize::try_from(end - offset).map_or(chunk.len(), |left| left.min(chunk.len()));
                let count = self.read_at(&mut chunk[..wanted], offset)?;
                if count == 0 {
                    break;
                }
                let bytes = chunk[..count].iter();
                found += bytes.filter(|byte| **byte != 0).count() as u64;
                // A sparse file claims terabytes of zeros, and nobody may read them.
                offset = os::next_data(self.scanner.file(), offset + count as u64);
            }
        }
        Ok(found)
    }

    /// Keep the spans in the order of the file, each once.
    pub(super) fn add_damage(&mut self, spans: impl IntoIterator<Item = Span>) {
        let before = self.damage.len();
        self.damage.extend(spans);
        if self.damage.len() != before {
            self.damage
                .sort_unstable_by_key(|span| (span.offset, span.length));
            self.damage.dedup();
        }
    }

    /// The state in the final record, when the journal was closed.
    pub(super) fn end_state(&self) -> Result<Option<u32>, Error> {
        const BYTES: usize = (END_WORDS + 1) * WORD;
        let file_bytes = self
            .scanner
            .file()
            .metadata()
            .map_err(|error| self.io(error))?
            .len();
        let Some(offset) = file_bytes
            .checked_sub(BYTES as u64)
            .filter(|at| *at >= HEADER_BYTES)
        else {
            return Ok(None);
        };
        let mut bytes = [0; BYTES];
        if self.read_at(&mut bytes, offset)? < BYTES || !offset.is_multiple_of(WORD_BYTES) {
            return Ok(None);
        }
        let head = Head {
            kind: Kind::End,
            payload_words: END_WORDS,
        };
        let is_end = head.commit_word(offset, &bytes[WORD..]) == word_at(&bytes, 0);
        Ok(is_end.then(|| halves(word_at(&bytes, 1)).0))
    }

    /// Whether a writer is at work; `true` when that cannot be told and no final record says no.
    pub(super) fn is_live(&self) -> Result<bool, Error> {
        let running = self.header.and_then(|header| header.writer.is_running());
        Ok(match os::lock_state(self.scanner.file()) {
            Lock::Free => false,
            // A forked child inherits the lock but writes nothing: the process decides.
            Lock::Held => running.unwrap_or(true),
            Lock::Unknown => self.end_state()?.is_none() && running.unwrap_or(true),
        })
    }
}
