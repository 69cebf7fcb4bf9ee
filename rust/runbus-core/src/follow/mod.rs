//! Runs, followed while they are written: one thread of the process reads their journals, and wakes
//! the takers of what is new.
//!
//! Between the thread and the taker lies at most one look's worth of points for each run: a run whose
//! news is not taken is not read on, and its journals keep the rest.

mod folder;
mod outlet;
mod run;
mod sealed;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::outlet::Look;
use self::run::RunReader;
use crate::aggregate::WindowRows;
use crate::frame::Points;
use crate::mutex::lock;
use crate::os;
use crate::service::Service;

/// How long a run is left alone between two looks: this part of the time since anything was new.
const PATIENCE: u32 = 64;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

static READER: Service<Followed> = Service::new("runbus-reader", Followed::attend);

/// Points or windows of one writer.
#[derive(Debug)]
pub struct Batch {
    /// The writer's name, unique within the run.
    pub writer: Arc<str>,
    /// The names that the writer's batches before this one did not know.
    pub new_names: Vec<Box<str>>,
    /// What it holds; it counts in all names of the writer so far.
    pub content: Content,
    /// Where the writer's journal continues, also once it is sealed; 0 for what a segment of version 1
    /// holds, which is reported from its start each time.
    pub position: u64,
}

/// What a batch holds.
#[derive(Debug)]
pub enum Content {
    /// Points, in the order in which they were committed.
    Points(Points),
    /// Windows that are over.
    Windows {
        /// How wide they are.
        width_ns: i64,
        /// One row each.
        rows: Box<WindowRows>,
    },
}

/// What was new at one look.
#[derive(Debug, Default)]
pub struct News {
    /// Of every writer that has something, in the order of its journal.
    pub batches: Vec<Batch>,
    /// What cannot be read, and why: each reported once.
    pub failures: Vec<String>,
    /// Whether any process has begun to log.
    pub has_begun: bool,
    /// Whether everything that was committed before [`Tail::drain`] has been reported.
    pub is_drained: bool,
    points: usize,
    /// Whether there is more.
    is_full: bool,
}

/// Wakes one taker of news: its descriptor is readable while a run has any.
#[derive(Debug)]
pub struct Bell {
    counter: OwnedFd,
    ready: Mutex<Vec<u64>>,
    generation: u32,
}

impl Bell {
    /// A bell that nobody has rung.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn new() -> io::Result<Self> {
        os::watch_forks();
        Ok(Self {
            counter: os::event_counter()?,
            ready: Mutex::default(),
            generation: os::generation(),
        })
    }

    fn ring(&self, key: u64) {
        let mut ready = lock(&self.ready);
        ready.push(key);
        if ready.len() == 1 {
            os::count_event(&self.counter);
        }
    }

    /// The keys of the tails that have rung since the last call. A forked child hears nothing.
    #[must_use]
    pub fn heard(&self) -> Vec<u64> {
        if self.generation != os::generation() {
            return Vec::new();
        }
        let mut ready = lock(&self.ready);
        os::clear_events(&self.counter);
        std::mem::take(&mut *ready)
    }

    /// Follow a run from now on; what it has logged by then comes first. What the writers in
    /// `positions` have written is read from there, all else from its start; for windows see
    /// [`Tail::set_window_ns`], for the last attempt [`Tail::reach`].
    ///
    /// # Errors
    /// When the reader thread cannot be started.
    pub fn follow(
        self: &Arc<Self>,
        key: u64,
        folder: &Path,
        positions: HashMap<String, u64>,
        window_ns: i64,
        last_attempt: u64,
    ) -> io::Result<Tail> {
        let shared = Arc::new(Shared {
            key,
            bell: Arc::clone(self),
            width_ns: AtomicI64::new(window_ns),
            last_attempt: AtomicU64::new(last_attempt),
            is_closed: AtomicBool::new(false),
            slot: Mutex::default(),
        });
        let tail = Tail {
            shared: Arc::clone(&shared),
        };
        let now = Instant::now();
        READER.add(Followed {
            shared,
            run: RunReader::new(folder, positions),
            last_news: now,
            pause: SHORTEST,
            due: now,
            drained: 0,
        })?;
        Ok(tail)
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.counter.as_raw_fd()
    }
}

/// What lies between the thread and the taker of one run's news.
#[derive(Default)]
struct Slot {
    news: Option<News>,
    has_begun: bool,
    /// How often a drain was asked for.
    drains: u64,
    /// The thread has come by and found the last news still there.
    is_awaited: bool,
}

struct Shared {
    key: u64,
    bell: Arc<Bell>,
    width_ns: AtomicI64,
    last_attempt: AtomicU64,
    is_closed: AtomicBool,
    slot: Mutex<Slot>,
}

/// A run that is followed until this is dropped.
pub struct Tail {
    shared: Arc<Shared>,
}

impl Tail {
    /// What is new, if anything; the thread reads on from then.
    #[must_use]
    pub fn take(&self) -> Option<News> {
        let shared = &self.shared;
        if shared.is_forked() {
            return None;
        }
        let mut slot = lock(&shared.slot);
        let news = slot.news.take()?;
        let goes_on = std::mem::take(&mut slot.is_awaited) || news.is_full;
        drop(slot);
        if goes_on {
            READER.nudge();
        }
        Some(news)
    }

    /// Have everything told that is committed by now, open windows too, and then `is_drained`.
    /// Behind what a power failure left in a journal without a writer, it is read on.
    pub fn drain(&self) {
        if self.shared.is_forked() {
            return;
        }
        lock(&self.shared.slot).drains += 1;
        READER.nudge();
    }

    /// Have the writers of this attempt of the run's job read, too, and of those before it.
    pub fn reach(&self, attempt: u64) {
        if self.shared.is_forked() {
            return;
        }
        let before = self
            .shared
            .last_attempt
            .fetch_max(attempt, Ordering::Relaxed);
        if before < attempt {
            READER.nudge();
        }
    }

    /// Have windows of this width told, too; 0 for none.
    pub fn set_window_ns(&self, width_ns: i64) {
        self.shared.width_ns.store(width_ns, Ordering::Relaxed);
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // The thread lets go of its files when it comes by.
        self.shared.is_closed.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// In a forked child there is no thread, and it may have held a lock.
    fn is_forked(&self) -> bool {
        self.bell.generation != os::generation()
    }
}

/// The thread's side of a run.
struct Followed {
    shared: Arc<Shared>,
    run: RunReader,
    last_news: Instant,
    pause: Duration,
    due: Instant,
    /// So many drains were answered.
    drained: u64,
}

impl Followed {
    /// Look at the run if that is due; when to come again, and `None` when nobody follows it.
    fn attend(&mut self) -> Option<Duration> {
        let shared = &self.shared;
        if shared.is_closed.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let drains = {
            let mut slot = lock(&shared.slot);
            if slot.news.is_some() {
                slot.is_awaited = true;
                return Some(LONGEST);
            }
            slot.drains
        };
        let to_the_end = drains > self.drained;
        // Those that are nearly due come along, so that many runs do not wake the thread one by one.
        if !to_the_end && now + self.pause / 4 < self.due {
            return Some(self.due - now);
        }
        let mut news = self.run.look(&Look {
            now,
            width_ns: shared.width_ns.load(Ordering::Relaxed),
            last_attempt: shared.last_attempt.load(Ordering::Relaxed),
            to_the_end,
            is_last: false,
        });
        let mut slot = lock(&shared.slot);
        if to_the_end && !news.is_full {
            self.drained = drains;
            news.is_drained = drains == slot.drains;
        }
        let begins = news.has_begun && !slot.has_begun;
        let is_news = begins || !news.batches.is_empty() || !news.failures.is_empty();
        if is_news {
            self.last_news = now;
        }
        self.pause = (now.duration_since(self.last_news) / PATIENCE).clamp(SHORTEST, LONGEST);
        // What is there already is read as soon as this was taken.
        self.due = if news.is_full { now } else { now + self.pause };
        if is_news || news.is_drained {
            slot.has_begun = news.has_begun;
            slot.news = Some(news);
            drop(slot);
            shared.bell.ring(shared.key);
        }
        Some(self.pause)
    }
}
