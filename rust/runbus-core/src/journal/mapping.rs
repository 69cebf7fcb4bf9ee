//! One piece of the file, mapped for writing. The only place that touches mapped memory.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{Head, WORD_BYTES};
use super::words::WORD;
use crate::os;

/// Pages are no larger than this on the machines we know; pieces and what is faulted in of them are
/// multiples of it.
pub(super) const LARGEST_PAGE: usize = 64 << 10;
pub(super) const GRAIN_BYTES: u64 = LARGEST_PAGE as u64;
const _: () = assert!(GRAIN_BYTES.is_multiple_of(WORD_BYTES));

/// Words of a line of the cache.
const LINE_WORDS: usize = 8;

/// A mapped range of the file whose space is reserved: storing into it cannot fail.
pub(super) struct Mapping {
    start: NonNull<u64>,
    words: usize,
    /// Where it starts in the file.
    offset: u64,
    /// Up to here in the file it has had its pages.
    present_end: AtomicU64,
}

// SAFETY: the mapping belongs to this value alone and has no thread affinity.
unsafe impl Send for Mapping {}
// SAFETY: what is shared only asks the kernel for pages; stores go through the one `Piece`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Map `bytes` of `file` from `offset`, both multiples of the page size.
    pub(super) fn map(file: &File, offset: u64, bytes: u64) -> io::Result<Self> {
        let too_large = |_| io::Error::from_raw_os_error(libc::EFBIG);
        let file_offset =
            libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        let length = usize::try_from(bytes).map_err(too_large)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; nothing else is affected.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                file_offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            start,
            words: length / WORD,
            offset,
            present_end: AtomicU64::new(offset),
        })
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn bytes(&self) -> u64 {
        self.words as u64 * WORD_BYTES
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes()
    }

    /// Up to where records can be staged without a page fault.
    pub(super) fn present_end(&self) -> u64 {
        self.present_end.load(Ordering::Acquire)
    }

    /// Take the page faults up to `to` now, and with them the error that a store would get as a SIGBUS.
    /// Contents do not change; any thread may do it, and twice.
    pub(super) fn populate(&self, to: u64) -> io::Result<()> {
        let to = to.next_multiple_of(LARGEST_PAGE as u64).min(self.end());
        self.fault(self.present_end(), to)?;
        self.present_end.fetch_max(to, Ordering::AcqRel);
        Ok(())
    }

    /// Take the page faults of this part again: the first store into a page is one after each time it
    /// was written to the disk. No more than will be stored into soon, because it is written again.
    pub(super) fn revisit(&self, from: u64, to: u64) -> io::Result<()> {
        let page = os::page_bytes();
        let to = to.next_multiple_of(page).min(self.present_end());
        self.fault((from / page * page).max(self.offset), to)
    }

    fn fault(&self, from: u64, to: u64) -> io::Result<()> {
        let index = |bytes: u64| usize::try_from(bytes / WORD_BYTES).unwrap_or(self.words);
        let Some(words) = to.checked_sub(from).map(index).filter(|words| *words > 0) else {
            return Ok(());
        };
        let first = index(from - self.offset);
        assert!(
            first <= self.words && words <= self.words - first,
            "within the mapping"
        );
        // SAFETY: the range lies inside our mapping by the assertion, from a page on; the advice does
        // not change its contents.
        let result = unsafe {
            let start = self.start.as_ptr().add(first);
            libc::madvise(start.cast(), words * WORD, libc::MADV_POPULATE_WRITE)
        };
        Self::judge(result)
    }

    fn judge(result: i32) -> io::Result<()> {
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Linux before 5.14 does not know the advice: the stores fault by themselves.
            Some(libc::EINVAL) => Ok(()),
            // What a store would have answered with SIGBUS: no space, or a lost device.
            Some(libc::EFAULT) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            _ => Err(error),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping, and every borrow of it holds an `Arc` of `self`.
        // In a forked child this unmaps the child's copy only.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * WORD) };
    }
}

/// The right to store into a mapping; there is one.
pub(super) struct Piece {
    /// As in `mapping`, one step nearer.
    start: NonNull<u64>,
    words: usize,
    offset: u64,
    mapping: Arc<Mapping>,
}

// SAFETY: as for the mapping, which it keeps alive.
unsafe impl Send for Piece {}

impl Piece {
    pub(super) fn of(mapping: Arc<Mapping>) -> Self {
        Self {
            start: mapping.start,
            words: mapping.words,
            offset: mapping.offset,
            mapping,
        }
    }

    pub(super) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Take the page faults up to `position` and `ahead` bytes further now, unless that was done.
    pub(super) fn fault_in(&self, position: u64, ahead: u64) -> io::Result<()> {
        self.mapping.populate(position + ahead)
    }

    pub(super) fn present_end(&self) -> u64 {
        self.mapping.present_end()
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.words as u64 * WORD_BYTES
    }

    /// The words of the record at `position`: the commit word, then the payload.
    #[inline(always)]
    pub(super) fn stage(&mut self, position: u64, words: usize) -> &mut [u64] {
        let first = self.index(position);
        assert!(
            first <= self.words && words <= self.words - first,
            "a record left its piece"
        );
        // SAFETY: the range lies inside the mapping by the assertion, is aligned (the mapping to a
        // page, records to words), initialised (reserved space reads as zeros), and borrowed from
        // `self`; nobody else writes this file (one writer, by the lock).
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(first), words) }
    }

    /// Make the staged record visible: its commit word is stored last, with release order.
    #[inline(always)]
    pub(super) fn commit(&mut self, position: u64, head: Head) {
        let record = self.stage(position, head.payload_words + 1);
        let word = head.commit_word_of_stored(position, &record[1..]);
        show(record, word);
        // The place of the next record would be cold in a loop that does other things meanwhile: it
        // took one call in fifty 100 ns longer. Long records are better left to the processor.
        if head.payload_words < LINE_WORDS {
            prefetch(record.as_ptr_range().end.wrapping_add(LINE_WORDS));
        }
    }

    /// As [`Piece::commit`], but the payload lacks its last words, which are these.
    pub(super) fn commit_with(&mut self, position: u64, head: Head, words: &[[u8; WORD]]) {
        let record = self.stage(position, head.payload_words + 1);
        let ready = head.payload_words - words.len();
        let word = head.commit_word_of_copied(position, &mut record[1..], ready, words);
        show(record, word);
    }

    #[inline]
    fn index(&self, position: u64) -> usize {
        debug_assert!(position >= self.offset && position.is_multiple_of(WORD_BYTES));
        // A position below the piece wraps to a huge index, which the caller's assertion refuses.
        usize::try_from(position.wrapping_sub(self.offset) / WORD_BYTES).unwrap_or(usize::MAX)
    }
}

/// Store the commit word of a record, after all else of it.
#[inline(always)]
fn show(record: &mut [u64], word: u64) {
    // SAFETY: the word is aligned, inside the mapping, and valid for writes through `record`.
    let commit = unsafe { AtomicU64::from_ptr(record.as_mut_ptr()) };
    commit.store(word.to_le(), Ordering::Release);
}

/// Have the processor fetch the place, for writing.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn prefetch(place: *const u64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_ET0>(place.cast());
    };
}

/// Reserve what is wanted, or on a nearly full disk less, but never less than needed.
pub(super) fn reserve_some(file: &File, offset: u64, needed: u64, wanted: u64) -> io::Result<u64> {
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
