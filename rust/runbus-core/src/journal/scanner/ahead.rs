//! A large file is read and checked on one thread, while another works on what was read.

use std::io;
use std::mem;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::{Mode, Record, Scanner};
use crate::journal::format::{Head, WORD, word_at};

/// What takes less than this is read before a thread has begun.
const LARGE_BYTES: u64 = 2 << 20;
/// So many windows wait to be worked on.
const AHEAD: usize = 2;

/// Whole records, one behind the other.
struct Stretch {
    window: Vec<u8>,
    /// Where they begin in the window, and in the file.
    start: usize,
    offset: u64,
}

impl Stretch {
    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let (mut rest, mut offset) = (&self.window[self.start..], self.offset);
        std::iter::from_fn(move || {
            let head = Head::of(word_at(rest, 0))?;
            let (record, after) = rest.split_at_checked((head.payload_words + 1) * WORD)?;
            let record = Record {
                kind: head.kind,
                offset,
                payload: &record[WORD..],
            };
            (rest, offset) = (after, record.end());
            Some(record)
        })
    }
}

impl Scanner {
    /// Visit all records from the cursor on, on this thread.
    ///
    /// What takes the longest is to fetch the file from the page cache, to check it, and to make the
    /// pages of what becomes of it: of a large file, two cores do it at once.
    pub(in crate::journal) fn each(
        &mut self,
        mut visit: impl FnMut(&Record<'_>),
    ) -> io::Result<()> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        if cores < 2 || self.file_bytes()?.saturating_sub(self.cursor) < LARGE_BYTES {
            return self.each_here(visit);
        }
        let (sender, receiver) = sync_channel(AHEAD);
        let (finished, worked_through) = channel();
        let scanner = &mut *self;
        let result = thread::scope(|scope| {
            let thread = thread::Builder::new().name("runbus-scan".into());
            let reading = thread.spawn_scoped(scope, move || {
                let spare = || worked_through.try_recv().unwrap_or_default();
                while let Some(stretch) = scanner.stretch(spare())? {
                    if sender.send(stretch).is_err() {
                        break;
                    }
                }
                Ok(())
            });
            let reading = reading.ok()?;
            for stretch in receiver {
                stretch.records().for_each(|record| visit(&record));
                // At the end nobody takes it.
                let _ = finished.send(stretch.window);
            }
            let result = reading.join();
            Some(result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // Without another thread it takes longer.
        result.unwrap_or_else(|| self.each_here(visit))
    }

    fn each_here(&mut self, mut visit: impl FnMut(&Record<'_>)) -> io::Result<()> {
        while let Some(record) = self.next(Mode::Settled)? {
            visit(&record);
        }
        Ok(())
    }

    /// The next whole records, as many as the window holds; `spare` becomes the next window.
    fn stretch(&mut self, mut spare: Vec<u8>) -> io::Result<Option<Stretch>> {
        let Some(first) = self.next(Mode::Settled)? else {
            return Ok(None);
        };
        let offset = first.offset;
        while let Some(head) = self.whole_in_window(self.cursor) {
            self.take(self.cursor, head);
        }
        let (start, end) = (self.index(offset), self.index(self.cursor));
        spare.clear();
        spare.extend_from_slice(&self.window[end..]);
        let mut window = mem::replace(&mut self.window, spare);
        window.truncate(end);
        self.start = self.cursor;
        Ok(Some(Stretch {
            window,
            start,
            offset,
        }))
    }
}
