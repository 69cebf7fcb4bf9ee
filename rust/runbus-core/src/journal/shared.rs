//! What a writer and the background thread have in common.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::durability::Durability;
use super::mapping::{LARGEST_PAGE, Mapping, reserve_some};
use crate::mutex::lock;

/// Pages are made at least this far ahead of the records: the rows of a slow loop for a while.
pub(super) const LEAST_AHEAD_BYTES: u64 = LARGEST_PAGE as u64;
/// Of a loop that needs so many ahead the next piece is cleared whole.
pub(super) const MANY_BYTES: u64 = 2 << 20;
const CLEARED_BYTES: usize = 256 << 10;
const FIRST_PIECE_BYTES: u64 = 2 * LARGEST_PAGE as u64;
const LARGEST_PIECE_BYTES: u64 = 8 << 20;

/// The size of the piece that follows one of `bytes`: a run of ten points must stay small, and a
/// fast one must not meet an end too often.
pub(super) fn next_piece_bytes(bytes: Option<u64>) -> u64 {
    bytes.map_or(FIRST_PIECE_BYTES, |bytes| {
        (bytes * 4).min(LARGEST_PIECE_BYTES)
    })
}

/// The mapped pieces of the file.
#[derive(Default)]
struct Pieces {
    /// The writer writes here.
    current: Option<Arc<Mapping>>,
    /// It will continue here.
    next: Option<Arc<Mapping>>,
    /// It has left these: to unmap them takes the writer too long.
    left: Vec<Arc<Mapping>>,
    /// It came to the end of its piece before there was a next one, and continues by itself.
    has_gone_on: bool,
}

/// One writer, as the background thread sees it.
pub(super) struct Shared {
    pub(super) durability: Durability,
    pub(super) sync_every: Option<Duration>,
    /// Up to here all is committed.
    position: AtomicU64,
    is_syncing: AtomicBool,
    is_closed: AtomicBool,
    /// Whether the file was found to be removed.
    is_gone: AtomicBool,
    dropped: AtomicU64,
    failure: Mutex<Option<String>>,
    pieces: Mutex<Pieces>,
    /// Held while the background thread changes the file.
    pub(super) tending: Mutex<()>,
}

/// The writer's side: nothing here waits for the disk.
impl Shared {
    pub(super) fn new(durability: Durability, sync_every: Option<Duration>, position: u64) -> Self {
        Self {
            durability,
            sync_every,
            position: AtomicU64::new(position),
            is_syncing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            failure: Mutex::default(),
            pieces: Mutex::default(),
            tending: Mutex::default(),
        }
    }

    /// Tell how far the records reach.
    #[inline]
    pub(super) fn publish(&self, position: u64) {
        self.position.store(position, Ordering::Release);
    }

    /// The piece from `offset` on, if it has been made and a record of `bytes` fits.
    pub(super) fn take_next(&self, offset: u64, bytes: u64) -> Option<Arc<Mapping>> {
        let mut pieces = lock(&self.pieces);
        let next = pieces.next.take();
        let next = next.filter(|next| next.offset() == offset && next.bytes() >= bytes);
        pieces.has_gone_on = next.is_none();
        next
    }

    /// Leave the current piece for this one.
    pub(super) fn enter(&self, mapping: &Arc<Mapping>) {
        let mut pieces = lock(&self.pieces);
        let left = pieces.current.replace(Arc::clone(mapping));
        pieces.left.extend(left);
    }

    /// Count what was lost, and keep why.
    pub(super) fn drop_values(&self, count: u64, reason: &str) {
        {
            let mut failure = lock(&self.failure);
            if failure.as_deref() != Some(reason) {
                *failure = Some(reason.to_owned());
            }
        }
        // Last, and ordered with the position: who sees it, sees the reason and what came before.
        self.dropped.fetch_add(count, Ordering::Release);
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Remember that the file was removed; whether this is the first to say so.
    pub(super) fn set_gone(&self) -> bool {
        !self.is_gone.swap(true, Ordering::Relaxed)
    }

    /// No more records come; the background thread leaves the file alone once `tending` was free.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        *lock(&self.pieces) = Pieces::default();
    }
}

/// The background thread's side.
impl Shared {
    pub(super) fn path(&self) -> &Path {
        self.durability.path()
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Whether it is just being written to the disk.
    pub(super) fn is_syncing(&self) -> bool {
        self.is_syncing.load(Ordering::Relaxed)
    }

    pub(super) fn set_syncing(&self, is_syncing: bool) {
        self.is_syncing.store(is_syncing, Ordering::Relaxed);
    }

    /// Whether there are pages to be made.
    pub(super) fn is_mapped(&self) -> bool {
        lock(&self.pieces).current.is_some()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }

    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    /// Have the pages of the next `ahead` bytes, and the piece they lie in; of those that exist, visit
    /// `again` bytes again.
    pub(super) fn prepare(&self, ahead: u64, again: u64) -> io::Result<()> {
        let (current, next, left) = {
            let mut pieces = lock(&self.pieces);
            let left = std::mem::take(&mut pieces.left);
            (pieces.current.clone(), pieces.next.clone(), left)
        };
        drop(left);
        let Some(current) = current else {
            return Ok(());
        };
        let position = self.position().max(current.offset());
        let end = position + ahead;
        current.populate(end)?;
        current.revisit(position, position + again)?;
        let is_half_full = position - current.offset() > current.bytes() / 2;
        match next {
            Some(next) if end > next.offset() => {
                next.populate(end)?;
                next.revisit(next.offset(), position + again)
            }
            None if is_half_full || end > current.end() => {
                self.make_next(&current, end, ahead >= MANY_BYTES)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn make_next(&self, current: &Arc<Mapping>, end: u64, is_fast: bool) -> io::Result<()> {
        let file: &File = self.durability.file();
        let wanted = next_piece_bytes(Some(current.bytes()));
        let bytes = reserve_some(file, current.end(), LARGEST_PAGE as u64, wanted)?;
        let next = Arc::new(Mapping::map(file, current.end(), bytes)?);
        if is_fast {
            self.clear(current, &next)?;
            next.populate(next.end())?;
        } else {
            next.populate(end.max(next.offset() + LEAST_AHEAD_BYTES))?;
        }
        let mut pieces = lock(&self.pieces);
        if is_same(pieces.current.as_ref(), current) {
            pieces.next = Some(next);
        }
        Ok(())
    }

    /// Write zeros where `next` lies, which holds zeros: so the system keeps it in large pages, and half
    /// of what faults in them cost is saved.
    fn clear(&self, current: &Arc<Mapping>, next: &Mapping) -> io::Result<()> {
        static ZEROS: [u8; CLEARED_BYTES] = [0; CLEARED_BYTES];
        for offset in (next.offset()..next.end()).step_by(CLEARED_BYTES) {
            let bytes = (next.end() - offset).min(CLEARED_BYTES as u64);
            let bytes = usize::try_from(bytes).unwrap_or(CLEARED_BYTES);
            // A writer that went on by itself may have records there: it cannot while this is locked.
            let pieces = lock(&self.pieces);
            let is_ours = !pieces.has_gone_on && is_same(pieces.current.as_ref(), current);
            if !is_ours || self.is_closed() {
                break;
            }
            let file: &File = self.durability.file();
            file.write_all_at(&ZEROS[..bytes], offset)?;
        }
        Ok(())
    }
}

fn is_same(one: Option<&Arc<Mapping>>, other: &Arc<Mapping>) -> bool {
    one.is_some_and(|one| Arc::ptr_eq(one, other))
}
