//! Finds the records of a file, whatever has happened to it.

mod ahead;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::format::{
    COLUMN_WORDS, END_WORDS, HEADER_BYTES, Head, Kind, ROW_WORDS, WORD, WORD_BYTES, word_at,
    words_for,
};
use super::header::halves;
use super::names::MAX_SCHEMAS;
use crate::os;
use ahead::Ahead;

const SMALLEST_READ: usize = 16 << 10;
/// What was read is checked while it is still in the cache.
const LARGEST_READ: usize = 256 << 10;

/// A range of bytes of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it starts.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl Span {
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// What a word that is not committed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The end, for now: a writer may be at work.
    Live,
    /// The end, or a hole that a power failure left: look behind it.
    Settled,
}

/// A whole record; or several of one kind and length, one behind the other, whose payloads begin
/// with the same word: rows of one schema.
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) offset: u64,
    /// Of the first one.
    pub(super) payload: &'a [u8],
    /// All of them, with their commit words.
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record at the start of whole ones, with those behind it that are like it.
    fn first_of(bytes: &'a [u8], offset: u64) -> Option<Self> {
        let (head, first) = (Head::of(word_at(bytes, 0))?, word_at(bytes, 1));
        let length = (head.payload_words + 1) * WORD;
        let mut count = 1;
        if head.kind == Kind::Row {
            let is_alike = |record: &&[u8]| {
                word_at(record, 1) == first && Head::of(word_at(record, 0)) == Some(head)
            };
            count = bytes.chunks_exact(length).take_while(is_alike).count();
        }
        let bytes = bytes.get(..count * length)?;
        Some(Self {
            kind: head.kind,
            offset,
            payload: bytes.get(WORD..length)?,
            bytes,
        })
    }

    pub(super) fn span(&self) -> Span {
        Span {
            offset: self.offset,
            length: self.bytes.len() as u64,
        }
    }

    /// The payload of each one.
    #[inline]
    pub(super) fn payloads(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let each = self.bytes.chunks_exact(self.payload.len() + WORD);
        each.map(|record| &record[WORD..])
    }
}

/// Steps through the records of a file from a cursor.
pub(super) struct Scanner {
    file: File,
    cursor: u64,
    /// Bytes of the file from `start`, as they were when they were read.
    window: Vec<u8>,
    start: u64,
    read_bytes: usize,
    /// What continues the window, if another thread reads the file.
    ahead: Option<Ahead>,
    damage: Vec<Span>,
    torn: Option<Span>,
}

impl Scanner {
    pub(super) fn new(file: File, cursor: u64) -> Self {
        Self {
            file,
            cursor,
            window: Vec::new(),
            start: 0,
            read_bytes: SMALLEST_READ,
            ahead: None,
            damage: Vec::new(),
            torn: None,
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The offset of the next record.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Forget what was read of the file, and continue at `cursor`.
    pub(super) fn restart(&mut self, cursor: u64) {
        self.cursor = cursor.max(HEADER_BYTES);
        self.read_bytes = SMALLEST_READ;
        self.window.clear();
        self.torn = None;
    }

    /// Damage found since the last call.
    pub(super) fn take_damage(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.damage)
    }

    pub(super) fn report(&mut self, span: Span) {
        self.damage.push(span);
    }

    /// The bytes at the end that are no whole record: in progress, or cut, or damaged.
    pub(super) fn torn(&self) -> Option<Span> {
        self.torn
    }

    /// The next whole record, or `None` at the end.
    #[inline]
    pub(super) fn next(&mut self, mode: Mode) -> io::Result<Option<Record<'_>>> {
        match self.whole_in_window(self.cursor) {
            Some(head) => Ok(Some(self.take(self.cursor, head))),
            None => self.find(mode),
        }
    }

    /// The head of the record at `offset`, if the window happens to hold all of it: the usual case.
    #[inline]
    fn whole_in_window(&self, offset: u64) -> Option<Head> {
        let index = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        first_whole(self.window.get(index..)?, offset)
    }

    /// What [`Scanner::next`] does where more must be read, or nothing whole stands.
    fn find(&mut self, mode: Mode) -> io::Result<Option<Record<'_>>> {
        loop {
            let offset = self.cursor;
            let available = self.fill(offset, WORD)?;
            let commit_word = word_at(self.window_from(offset), 0);
            if let Some(head) = self.validate(offset)? {
                return Ok(Some(self.take(offset, head)));
            }
            if available == 0 || (commit_word == 0 && available >= WORD && mode == Mode::Live) {
                return Ok(None);
            }
            let Some(found) = self.resync(offset + WORD_BYTES)? else {
                if commit_word != 0 || available < WORD {
                    self.torn = Some(Span {
                        offset,
                        length: self.file_bytes()? - offset,
                    });
                }
                return Ok(None);
            };
            // A later record was committed after this one: what a live writer had not finished when
            // we first looked is finished now. Only what stays invalid is damage.
            self.window.clear();
            if self.validate(offset)?.is_none() {
                self.report(Span {
                    offset,
                    length: found - offset,
                });
                self.cursor = found;
            }
        }
    }

    /// Step over the record at `offset`, which the window holds.
    #[inline]
    fn take(&mut self, offset: u64, head: Head) -> Record<'_> {
        self.cursor = offset + head.record_bytes();
        let bytes = &self.window_from(offset)[..(head.payload_words + 1) * WORD];
        Record {
            kind: head.kind,
            offset,
            payload: &bytes[WORD..],
            bytes,
        }
    }

    /// The offset of the first whole record from `offset` on.
    fn resync(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        let end = self.file_bytes()?;
        while self.fill(offset, WORD)? >= WORD {
            let zeros = self.zeros_from(offset);
            if zeros > 0 {
                offset += zeros;
                if self.window_from(offset).len() < WORD {
                    // A sparse file claims terabytes of zeros, and nobody may read them.
                    offset = os::next_data(&self.file, offset) / WORD_BYTES * WORD_BYTES;
                }
            } else {
                self.fill(offset, 2 * WORD)?;
                if self.is_plausible(offset, end) && self.validate(offset)?.is_some() {
                    return Ok(Some(offset));
                }
                offset += WORD_BYTES;
            }
        }
        Ok(None)
    }

    /// Bytes of zero words from `offset` on, as far as the window goes.
    fn zeros_from(&self, offset: u64) -> u64 {
        let (words, _) = self.window_from(offset).as_chunks::<WORD>();
        let zeros = words
            .iter()
            .take_while(|word| u64::from_ne_bytes(**word) == 0)
            .count();
        zeros as u64 * WORD_BYTES
    }

    /// Cheap tests before the whole payload is read and hashed: random words hardly pass them.
    fn is_plausible(&self, offset: u64, end: u64) -> bool {
        let bytes = self.window_from(offset);
        let Some(head) = Head::of(word_at(bytes, 0)) else {
            return false;
        };
        if head.record_bytes() > end.saturating_sub(offset) {
            return false;
        }
        let first = word_at(bytes, 1);
        let (low, high) = halves(first);
        match head.kind {
            Kind::Row => head.payload_words > ROW_WORDS && (low as usize) < MAX_SCHEMAS,
            Kind::Column => head.payload_words > COLUMN_WORDS && (low as usize) < MAX_SCHEMAS,
            Kind::Schema => (low as usize) < MAX_SCHEMAS && high as usize <= head.payload_words * 2,
            Kind::Blob => usize::try_from(first).is_ok_and(|bytes| {
                bytes <= head.payload_words * WORD && words_for(bytes) + 1 == head.payload_words
            }),
            Kind::Pad => head.payload_words == 0 || first == 0,
            Kind::End => head.payload_words == END_WORDS,
        }
    }

    /// The head of the record at `offset`, if all of it is there and its check holds.
    fn validate(&mut self, offset: u64) -> io::Result<Option<Head>> {
        if self.fill(offset, WORD)? < WORD {
            return Ok(None);
        }
        let commit_word = word_at(self.window_from(offset), 0);
        let Some(head) = Head::of(commit_word) else {
            return Ok(None);
        };
        let bytes = (head.payload_words + 1) * WORD;
        // A length is a claim: no room is made for more than the file holds.
        if self.window_from(offset).len() < bytes
            && (self.file_bytes()?.saturating_sub(offset) < head.record_bytes()
                || self.fill(offset, bytes)? < bytes)
        {
            return Ok(None);
        }
        let payload = &self.window_from(offset)[WORD..bytes];
        let is_whole = head.is_committed(commit_word, offset, payload);
        Ok(is_whole.then_some(head))
    }

    fn file_bytes(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset - self.start)
            .unwrap_or(usize::MAX)
            .min(self.window.len())
    }

    fn window_from(&self, offset: u64) -> &[u8] {
        &self.window[self.index(offset)..]
    }

    /// Have at least `needed` bytes from `offset` in the window; returns how many there are.
    #[inline]
    fn fill(&mut self, offset: u64, needed: usize) -> io::Result<usize> {
        let end = self.start + self.window.len() as u64;
        if offset >= self.start && offset <= end {
            let available = self.window.len() - self.index(offset);
            if available >= needed {
                return Ok(available);
            }
        }
        self.read_on(offset, needed)
    }

    /// Read a chunk from `offset`, keeping what the window holds of it.
    fn read_on(&mut self, offset: u64, needed: usize) -> io::Result<usize> {
        let end = self.start + self.window.len() as u64;
        if offset >= self.start && offset < end {
            let index = self.index(offset);
            self.window.drain(..index);
        } else {
            self.window.clear();
        }
        self.start = offset;
        while self.window_from(offset).len() < needed && self.go_on_ahead() {}
        let held = self.window_from(offset).len();
        if held >= needed {
            return Ok(held);
        }
        let wanted = needed.max(held + self.read_bytes) - held;
        let mut left = wanted;
        while self.window_from(offset).len() < needed {
            let end = self.start + self.window.len() as u64;
            match read_on_to(&mut self.window, &self.file, end, left)? {
                0 => break,
                count => left -= count,
            }
        }
        // A follower at the end of a short file keeps to short reads.
        if left == 0 {
            self.read_bytes = (self.read_bytes * 4).min(LARGEST_READ);
        }
        Ok(self.window_from(offset).len())
    }
}

/// Add to `bytes` what one read gives from `offset`, at most `count`; returns how many there were.
///
/// `FileExt::read_at` wants room full of zeros, which takes as long as the reading itself.
fn read_on_to(bytes: &mut Vec<u8>, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    let filled = bytes.len();
    let position =
        libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    bytes.reserve(count);
    loop {
        let spare = bytes.spare_capacity_mut();
        // SAFETY: the descriptor is open, and the kernel writes at most `count` bytes, for which there
        // is room.
        let found =
            unsafe { libc::pread(file.as_raw_fd(), spare.as_mut_ptr().cast(), count, position) };
        if let Ok(found) = usize::try_from(found) {
            // SAFETY: so many bytes more were written by the kernel.
            unsafe { bytes.set_len(filled + found) };
            return Ok(found);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The head of the record that these bytes at `offset` begin with, if all of it is there and its
/// check holds.
#[inline]
fn first_whole(bytes: &[u8], offset: u64) -> Option<Head> {
    let (word, rest) = bytes.split_first_chunk::<WORD>()?;
    let commit_word = u64::from_le_bytes(*word);
    let head = Head::of(commit_word)?;
    let payload = rest.get(..head.payload_words * WORD)?;
    head.is_committed(commit_word, offset, payload)
        .then_some(head)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::journal::words::bytes_of;

    fn pad(file: &File, offset: u64, payload_words: usize) -> u64 {
        let head = Head {
            kind: Kind::Pad,
            payload_words,
        };
        let mut words = vec![0; payload_words + 1];
        words[0] = head.commit_word(offset, bytes_of(&words[1..])).to_le();
        file.write_all_at(bytes_of(&words), offset).unwrap();
        offset + head.record_bytes()
    }

    #[test]
    fn what_a_writer_finished_behind_our_back_is_no_damage() {
        let file = tempfile::tempfile().unwrap();
        let first = pad(&file, HEADER_BYTES, 1);
        file.set_len(1 << 20).unwrap();
        let mut scanner = Scanner::new(file.try_clone().unwrap(), HEADER_BYTES);
        assert!(scanner.next(Mode::Settled).unwrap().is_some());
        // The window now says that nothing follows; beyond it, the scanner will look for itself.
        let second = pad(&file, first, 4 * SMALLEST_READ / WORD);
        pad(&file, second, 1);

        let offsets: Vec<u64> = std::iter::from_fn(|| {
            scanner
                .next(Mode::Settled)
                .unwrap()
                .map(|record| record.offset)
        })
        .collect();
        assert_eq!(offsets, [first, second]);
        assert_eq!((scanner.take_damage(), scanner.torn()), (vec![], None));
    }

    #[test]
    fn a_claim_of_a_huge_record_makes_no_room_for_it() {
        let file = tempfile::tempfile().unwrap();
        let claim = [u64::from_le_bytes([2, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]).to_le(); 100];
        file.write_all_at(bytes_of(&claim), HEADER_BYTES).unwrap();
        let mut scanner = Scanner::new(file, HEADER_BYTES);
        for mode in [Mode::Live, Mode::Settled] {
            assert!(scanner.next(mode).unwrap().is_none());
        }
        assert!(scanner.window.capacity() <= 2 * LARGEST_READ);
        assert_eq!(
            scanner.torn(),
            Some(Span {
                offset: HEADER_BYTES,
                length: 800
            })
        );
    }
}
