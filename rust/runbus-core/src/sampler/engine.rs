//! What is read at which tick.

use std::time::Duration;

use super::clock::Clock;
use super::getter::{Getter, Trouble};
use super::row::{NameId, Row, float};
use super::slot::{Cost, Pace, Slot};
use super::window::Window;
use crate::os;

/// How often a sampler reads, and what that may cost.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// The time between two readings of the fast tier; at least a millisecond.
    pub every: Duration,
    /// The time between two readings of the slow tier: a multiple of the other, rounded up to one.
    pub slow_every: Duration,
    /// The time that one row tells of: a multiple of `every`, rounded up to one. Its values are the means
    /// of those that were read meanwhile.
    pub window: Duration,
    /// The part of the time that one getter may take: one that takes more is read more seldom.
    pub budget: f64,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            slow_every: Duration::from_secs(10),
            window: Duration::ZERO,
            budget: 0.001,
        }
    }
}

impl Rhythm {
    fn pace(self) -> Pace {
        Pace::new(
            self.tick_ns(),
            self.ticks(self.slow_every),
            self.budget.max(1e-9),
        )
    }

    fn tick_ns(self) -> u64 {
        nanoseconds(self.every).clamp(1_000_000, 86_400_000_000_000)
    }

    /// The ticks in a time: at least one.
    fn ticks(self, time: Duration) -> u64 {
        nanoseconds(time).div_ceil(self.tick_ns()).max(1)
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Something that finds devices as they come.
pub trait Finder: Send {
    /// The getters of what is new; called before the first tick and at each slow one.
    fn look(&mut self, row: &mut Row) -> Vec<Box<dyn Getter>>;
}

/// Reads what is due, tick after tick.
pub struct Engine {
    pace: Pace,
    slots: Vec<Slot>,
    /// The numbers of those that are read, of all tiers: what has ended is not even looked at.
    live: Vec<usize>,
    /// Of them, those that are not of the slow one.
    fast: Vec<usize>,
    finders: Vec<Box<dyn Finder>>,
    row: Row,
    window: Option<Window>,
    /// Processor time of this thread, and when that was read.
    own_time: Option<(u64, u64)>,
    own_name: NameId,
    /// Whether costs are to be told again.
    has_news: bool,
}

impl Engine {
    /// An engine whose values have names that begin with those of `row`.
    #[must_use]
    pub fn new(
        rhythm: Rhythm,
        mut row: Row,
        getters: Vec<Box<dyn Getter>>,
        finders: Vec<Box<dyn Finder>>,
    ) -> Self {
        Self {
            pace: rhythm.pace(),
            slots: getters.into_iter().map(Slot::new).collect(),
            live: Vec::new(),
            fast: Vec::new(),
            finders,
            window: Window::of(rhythm.ticks(rhythm.window)),
            own_time: None,
            own_name: row.name("self/cpu"),
            has_news: true,
            row,
        }
    }

    /// The time between two ticks, in nanoseconds.
    #[must_use]
    pub fn tick_ns(&self) -> u64 {
        self.pace.tick_ns
    }

    /// Read everything once: rates get their first counts, and each getter's cost is known.
    pub fn begin(&mut self, clock: &dyn Clock) {
        self.find(clock);
        let mut at = clock.monotonic_ns();
        for index in 0..self.slots.len() {
            at = self.read(index, at, clock);
        }
        self.measure(clock);
        self.row.truncate(0);
        self.list();
    }

    /// Read what is due at the tick of this wall time, and return it; at the last tick of a window its
    /// means, and nothing at the others.
    pub fn tick(&mut self, clock: &dyn Clock, wall_ns: i64) -> &Row {
        self.row.truncate(0);
        let tick = u64::try_from(wall_ns).unwrap_or(0) / self.pace.tick_ns;
        let is_slow = tick.is_multiple_of(self.pace.slow_ticks);
        if is_slow {
            self.find(clock);
        }
        let mut at = clock.monotonic_ns();
        let listed = if is_slow {
            self.live.len()
        } else {
            self.fast.len()
        };
        for place in 0..listed {
            let index = if is_slow {
                self.live[place]
            } else {
                self.fast[place]
            };
            if self.slots[index].is_due(tick, self.pace) {
                at = self.read(index, at, clock);
            }
        }
        if is_slow {
            self.measure(clock);
            self.has_news = true;
        }
        if self.has_news {
            self.list();
        }
        if let Some(window) = &mut self.window {
            window.take(tick, &mut self.row);
        }
        &self.row
    }

    /// What a window holds that is not over, at the end of all.
    pub fn rest(&mut self) -> &Row {
        self.row.truncate(0);
        if let Some(window) = &mut self.window {
            window.end(&mut self.row);
        }
        &self.row
    }

    /// What each getter costs.
    #[must_use]
    pub fn costs(&self) -> Vec<Cost> {
        self.slots.iter().map(|slot| slot.cost(self.pace)).collect()
    }

    /// The same, but only after a slow tick, or when something has come, gone or become slower.
    pub(super) fn news(&mut self) -> Option<Vec<Cost>> {
        std::mem::take(&mut self.has_news).then(|| self.costs())
    }

    /// List what is to be read.
    fn list(&mut self) {
        let live = |index: &usize| !self.slots[*index].has_ended();
        self.live = (0..self.slots.len()).filter(live).collect();
        let fast = |index: &usize| !self.slots[*index].is_slow();
        self.fast = self.live.iter().copied().filter(fast).collect();
    }

    fn find(&mut self, clock: &dyn Clock) {
        for finder in &mut self.finders {
            for getter in finder.look(&mut self.row) {
                let mut slot = Slot::new(getter);
                let length = self.row.len();
                // What it has is a first count, of no use in this row.
                let _ = slot.read(clock.monotonic_ns(), clock, &mut self.row, self.pace);
                self.row.truncate(length);
                self.slots.push(slot);
            }
        }
        // A device that comes and goes would make ever more.
        let ended = |slot: &Slot| slot.has_ended() && slot.device().is_some();
        while self.slots.len() > MOST_SLOTS
            && let Some(index) = self.slots.iter().position(ended)
        {
            self.slots.remove(index);
        }
        self.list();
    }

    /// Read one getter from a moment on; when that was done.
    fn read(&mut self, index: usize, start: u64, clock: &dyn Clock) -> u64 {
        let slot = &mut self.slots[index];
        let before = slot.place();
        let (end, result) = slot.read(start, clock, &mut self.row, self.pace);
        self.has_news |= slot.place() != before;
        if let Err(Trouble::Lost(reason)) = result {
            self.lose(index, &reason);
        }
        end
    }

    /// End all that is read of the device of a getter.
    fn lose(&mut self, index: usize, reason: &str) {
        let Some(device) = self.slots[index].device().map(str::to_owned) else {
            return;
        };
        for slot in &mut self.slots {
            if slot.device() == Some(&device) {
                slot.end(reason);
            }
        }
        let name = self.row.name(&format!("{device}/lost"));
        self.row.put(name, 1.0);
    }

    /// What this thread costs, in percent of one processor.
    fn measure(&mut self, clock: &dyn Clock) {
        let now = (os::thread_time_ns(), clock.monotonic_ns());
        let Some((used, at)) = self.own_time.replace(now) else {
            return;
        };
        let (used, elapsed) = (now.0.saturating_sub(used), now.1.saturating_sub(at));
        if elapsed > 0 {
            self.row
                .put(self.own_name, 100.0 * float(used) / float(elapsed));
        }
    }
}

/// More getters than this are only kept while they are read.
const MOST_SLOTS: usize = 1024;

impl std::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
