//! The background threads: what a writer must not wait for.
//!
//! Two threads a process tend all metric writers. One makes the pages that the records will need next,
//! and tells once what was lost; the other writes what was committed to the disk every `sync_every`.
//! They are two because a slow disk would leave a fast writer without pages. They start with the first
//! writer and end after the last. In a forked child they do not exist, and the child's own first
//! writer starts others. Everything works without them, only slower.

use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::shared::{LEAST_AHEAD_BYTES, MANY_BYTES, Shared};
use crate::mutex::lock;
use crate::service::Service;

const BUSY_PAUSE: Duration = Duration::from_millis(1);
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// Where there are no pages to be made: there is only something to tell now and then.
const UNMAPPED_PAUSE: Duration = Duration::from_secs(1);
/// While pages are taken away, and perhaps nobody comes for them.
const SYNC_PAUSE: Duration = Duration::from_millis(4);
/// So many bytes between two looks are a fast loop.
const BUSY_BYTES: u64 = 64 << 10;
/// How far ahead pages are made, in looks like the one that found most.
const LOOKS_AHEAD: u64 = 2;
const MOST_AHEAD_BYTES: u64 = 8 << 20;
/// What a look found counts half after so many more.
const LOOKS_REMEMBERED: u64 = 8;

static PAGES: Service<Tended> = Service::new("runbus-pages", Tended::make_pages);
static SYNC: Service<Tended> = Service::new("runbus-sync", Tended::sync);
static REPORTER: OnceLock<fn(&Report)> = OnceLock::new();

/// What the background thread has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Values are being lost.
    Dropping {
        /// Why, with the journal's path.
        reason: String,
    },
    /// Values are kept again.
    Recovered {
        /// The journal.
        path: String,
        /// How many were lost.
        dropped: u64,
    },
    /// The file was removed: everything in it is lost.
    Gone {
        /// The journal.
        path: String,
    },
    /// What is written survives the process, but perhaps not the machine.
    NotDurable {
        /// Why, with the journal's path.
        reason: String,
    },
}

/// Have a function called, on the background thread, with each report: at most one of a sort for
/// each journal. Only the first call sets it.
pub fn set_reporter(reporter: fn(&Report)) {
    // A second module in one process reports to the first one's log.
    let _ = REPORTER.set(reporter);
}

fn report(report: &Report) {
    if let Some(reporter) = REPORTER.get() {
        reporter(report);
    }
}

/// Have the background threads look after the writer until it is closed or dropped.
pub(super) fn tend(writer: &Arc<Shared>) {
    // Without threads, pages are made by the writer and the disk is synced by the kernel.
    let _ = PAGES.add(Tended::new(Arc::downgrade(writer)));
    if writer.sync_every.is_some() {
        let _ = SYNC.add(Tended::new(Arc::downgrade(writer)));
    }
}

/// Have pages made at once.
pub(super) fn nudge() {
    PAGES.nudge();
}

/// Have threads notice that a writer is closed.
pub(super) fn release() {
    PAGES.nudge();
    SYNC.nudge();
}

/// A writer and what a thread remembers of it.
struct Tended {
    writer: Weak<Shared>,
    /// How far its records reached at the last look.
    seen: u64,
    /// How far they moved between two looks, at the most.
    most: u64,
    was_syncing: bool,
    last_sync: Instant,
    has_warned: bool,
    has_recovered: bool,
    dropped: u64,
    /// How far its records reached once what was lost last had been noticed.
    lost_at: u64,
    /// When it was last asked whether the file is still there.
    last_look: Instant,
}

impl Tended {
    fn new(writer: Weak<Shared>) -> Self {
        Self {
            writer,
            seen: 0,
            most: 0,
            was_syncing: false,
            last_sync: Instant::now(),
            has_warned: false,
            has_recovered: false,
            dropped: 0,
            lost_at: 0,
            last_look: Instant::now(),
        }
    }

    fn make_pages(&mut self) -> Option<Duration> {
        let writer = self.writer.upgrade()?;
        let guard = lock(&writer.tending);
        if writer.is_closed() {
            return None;
        }
        let position = writer.position();
        let moved = position - self.seen.min(position);
        self.seen = position;
        let is_busy = moved > BUSY_BYTES;
        // A loop that pauses, or logs an array now and then, continues as it did.
        self.most = moved.max(self.most - self.most.div_ceil(LOOKS_REMEMBERED));
        let least = if is_busy {
            MANY_BYTES
        } else {
            LEAST_AHEAD_BYTES
        };
        let soon = (self.most * LOOKS_AHEAD).min(MOST_AHEAD_BYTES);
        // While a sync is under way it takes pages the right to be stored into, at any moment.
        let is_syncing = writer.is_syncing();
        let was_syncing = std::mem::replace(&mut self.was_syncing, is_syncing);
        let again = if is_syncing || was_syncing { soon } else { 0 };
        // Its failure is the writer's own when it comes there.
        let _ = writer.prepare(soon.max(least), again);
        drop(guard);
        self.look_at_file(&writer);
        if let Some(news) = self.news(&writer) {
            report(&news);
        }
        if !writer.is_mapped() {
            return Some(UNMAPPED_PAUSE);
        }
        Some(match (is_busy || (is_syncing && moved > 0), is_syncing) {
            (true, _) => BUSY_PAUSE,
            (false, true) => SYNC_PAUSE,
            (false, false) => IDLE_PAUSE,
        })
    }

    fn sync(&mut self) -> Option<Duration> {
        let writer = self.writer.upgrade()?;
        if writer.is_closed() {
            return None;
        }
        let every = writer.sync_every.unwrap_or(IDLE_PAUSE);
        let waited = self.last_sync.elapsed();
        if waited < every {
            return Some(every.saturating_sub(waited));
        }
        self.last_sync = Instant::now();
        let position = writer.position();
        if position == self.seen {
            return Some(every);
        }
        writer.set_syncing(true);
        PAGES.nudge();
        let result = writer.durability.sync();
        self.seen = position;
        writer.set_syncing(false);
        // The pages that were written want to be visited again.
        PAGES.nudge();
        if let Err(error) = result
            && !writer.durability.is_gone()
            && !std::mem::replace(&mut self.has_warned, true)
        {
            report(&Report::NotDurable {
                reason: error.to_string(),
            });
        }
        Some(every.saturating_sub(self.last_sync.elapsed()))
    }

    fn look_at_file(&mut self, writer: &Shared) {
        if self.last_look.elapsed() >= IDLE_PAUSE {
            self.last_look = Instant::now();
            if writer.durability.is_gone() && writer.set_gone() {
                report(&Report::Gone {
                    path: writer.path().display().to_string(),
                });
            }
        }
    }

    /// What there is to tell of values that are lost, or kept again.
    fn news(&mut self, writer: &Shared) -> Option<Report> {
        // In this order: what was lost before the records came to reach so far is counted.
        let position = writer.position();
        let dropped = writer.dropped();
        if dropped != self.dropped {
            self.dropped = dropped;
            // What was written since the position was looked at may have come before the loss.
            self.lost_at = writer.position();
            let is_first = !std::mem::replace(&mut self.has_warned, true);
            return is_first.then(|| Report::Dropping {
                reason: writer.failure().unwrap_or_default(),
            });
        }
        let is_kept = self.has_warned && position > self.lost_at;
        let is_first = is_kept && !std::mem::replace(&mut self.has_recovered, true);
        is_first.then(|| Report::Recovered {
            path: writer.path().display().to_string(),
            dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::durability::Durability;
    use super::super::shared::Shared;
    use super::{Report, Tended};

    fn tended() -> (Arc<Shared>, Tended) {
        let file = tempfile::tempfile().expect("a file");
        let durability = Durability::new("a.journal".as_ref(), file);
        let writer = Arc::new(Shared::new(durability, None, 0));
        let tended = Tended::new(Arc::downgrade(&writer));
        (writer, tended)
    }

    #[test]
    fn what_was_written_before_the_loss_is_not_taken_for_the_end_of_it() {
        let (writer, mut tended) = tended();
        writer.publish(100);
        assert_eq!(tended.news(&writer), None);

        // A fast loop fills the disk between two looks.
        writer.publish(200);
        writer.drop_values(1, "full");
        let reason = "full".to_owned();
        assert_eq!(tended.news(&writer), Some(Report::Dropping { reason }));
        assert_eq!(tended.news(&writer), None);
        writer.drop_values(1, "full");
        assert_eq!(tended.news(&writer), None);
        assert_eq!(tended.news(&writer), None);

        writer.publish(300);
        let path = "a.journal".to_owned();
        let kept = Report::Recovered { path, dropped: 2 };
        assert_eq!(tended.news(&writer), Some(kept));
        writer.publish(400);
        assert_eq!(tended.news(&writer), None);
    }
}
