//! A large file is read on one thread, while another works on what was read.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::{LARGEST_READ, Mode, Record, Scanner, first_whole, read_on_to};
use crate::journal::format::WORD;

/// What takes less than this is read before a thread has begun.
const LARGE_BYTES: u64 = 2 << 20;
/// So many chunks wait to be worked on.
const AHEAD: usize = 2;
/// A record that begins in one chunk and ends in the next is put together in front of the next one:
/// any row has room there, and any column.
const FRONT: usize = 128 << 10;

/// Bytes of the file behind some that are not.
struct Chunk {
    bytes: Vec<u8>,
    front: usize,
    offset: u64,
}

/// What another thread reads of the file, chunk after chunk.
pub(super) struct Ahead {
    chunks: Receiver<Chunk>,
    /// Buffers to be filled again.
    spent: Sender<Vec<u8>>,
}

/// Read until the end, or until nobody wants more. An error is left to who needs those bytes.
fn read_chunks(
    file: &File,
    mut offset: u64,
    chunks: &SyncSender<Chunk>,
    spare: &Receiver<Vec<u8>>,
) {
    loop {
        let mut bytes = spare.try_recv().unwrap_or_default();
        let front = usize::try_from(offset).map_or(FRONT, |offset| offset.min(FRONT));
        bytes.reserve_exact((FRONT + LARGEST_READ).saturating_sub(bytes.len()));
        bytes.resize(front, 0);
        let count = match read_on_to(&mut bytes, file, offset, LARGEST_READ) {
            Ok(count) if count > 0 => count,
            _ => return,
        };
        let chunk = Chunk {
            bytes,
            front,
            offset,
        };
        if chunks.send(chunk).is_err() {
            return;
        }
        offset += count as u64;
    }
}

impl Scanner {
    /// Visit all records from the cursor on, on this thread; those that are alike together, as far as
    /// they lie one behind the other.
    ///
    /// What takes the longest is to fetch the file from the page cache: of a large file, another core
    /// does it meanwhile.
    pub(in crate::journal) fn each(&mut self, mut visit: impl FnMut(Record<'_>)) -> io::Result<()> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 || self.file_bytes()?.saturating_sub(self.cursor) < LARGE_BYTES {
            return self.each_here(visit);
        }
        let (file, offset) = (self.file.try_clone()?, self.cursor);
        thread::scope(|scope| {
            let (sender, chunks) = sync_channel(AHEAD);
            let (spent, spare) = channel();
            let thread = thread::Builder::new().name("runbus-read".into());
            let reading = move || read_chunks(&file, offset, &sender, &spare);
            // Without another thread it takes longer.
            if thread.spawn_scoped(scope, reading).is_ok() {
                self.ahead = Some(Ahead { chunks, spent });
            }
            let result = self.each_here(&mut visit);
            self.ahead = None;
            result
        })
    }

    fn each_here(&mut self, mut visit: impl FnMut(Record<'_>)) -> io::Result<()> {
        while let Some(first) = self.next(Mode::Settled)? {
            let mut offset = first.offset;
            let (start, mut end) = (self.index(offset), self.index(self.cursor));
            while let Some(head) = first_whole(&self.window[end..], self.cursor) {
                self.cursor += head.record_bytes();
                end += (head.payload_words + 1) * WORD;
            }
            let mut whole = &self.window[start..end];
            while let Some(record) = Record::first_of(whole, offset) {
                offset += record.bytes.len() as u64;
                whole = &whole[record.bytes.len()..];
                visit(record);
            }
        }
        Ok(())
    }

    /// Have the window go on with what was read ahead, as long as that continues it.
    ///
    /// What lies before the bytes that it held is none of the file afterwards: nobody looks back.
    pub(super) fn go_on_ahead(&mut self) -> bool {
        let end = self.start + self.window.len() as u64;
        let next = |ahead: &Ahead| ahead.chunks.recv().ok().filter(|next| next.offset == end);
        let Some(mut chunk) = self.ahead.as_ref().and_then(next) else {
            self.ahead = None;
            return false;
        };
        let held = self.window.len();
        let spent = if held <= chunk.front {
            chunk.bytes[chunk.front - held..chunk.front].copy_from_slice(&self.window);
            self.start = chunk.offset - chunk.front as u64;
            mem::replace(&mut self.window, chunk.bytes)
        } else {
            self.window.extend_from_slice(&chunk.bytes[chunk.front..]);
            chunk.bytes
        };
        if let Some(ahead) = &self.ahead {
            // At the end nobody takes it.
            let _ = ahead.spent.send(spent);
        }
        true
    }
}
