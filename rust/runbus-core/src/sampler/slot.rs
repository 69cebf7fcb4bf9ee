//! One getter, what it costs, and when it is due.

use std::any::Any;
use std::mem::{Discriminant, discriminant};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::clock::Clock;
use super::getter::{Getter, Moment, Tier, Trouble};
use super::row::Row;

/// The last costs, of which the middle one counts: one that was interrupted says nothing.
const COSTS: usize = 5;
/// A getter that fails so often, and has not worked since, is asked as seldom as it may be.
const MOST_FAILURES: u32 = 8;
/// The most that the time between two readings is stretched by.
const MOST_STRETCH: u64 = 1 << 12;
/// And after the first one.
const FIRST_STRETCH: u64 = 4;

/// Where a getter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is read.
    Read,
    /// It did not work the last time, and is asked again.
    Failing(String),
    /// It is not read any more, and why.
    Ended(String),
}

/// What a getter costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// What it reads.
    pub name: String,
    /// How often it is meant to be read.
    pub tier: Tier,
    /// How long the first reading took, in nanoseconds.
    pub first_ns: u64,
    /// How long a reading takes, in nanoseconds: the middle one of the last five.
    pub usual_ns: u64,
    /// The longest, in nanoseconds.
    pub most_ns: u64,
    /// The time between two readings, in nanoseconds.
    pub every_ns: u64,
    /// Whether it is read more seldom than its tier, because of what it costs.
    pub is_slowed: bool,
    /// Where it is.
    pub standing: Standing,
}

pub(super) struct Slot {
    getter: Box<dyn Getter>,
    tier: Tier,
    costs: [u64; COSTS],
    readings: usize,
    first_ns: u64,
    most_ns: u64,
    failures: u32,
    /// Times the interval of its tier.
    stretch: u64,
    standing: Standing,
}

/// How often getters of a tier are due, in ticks, and what they may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) tick_ns: u64,
    pub(super) slow_ticks: u64,
    /// Those of a second, unless slow ones are fewer.
    steady_ticks: u64,
    /// The part of the time that a getter may take.
    budget: f64,
}

impl Pace {
    /// `budget` is the part of the time that one getter may take.
    pub(super) fn new(tick_ns: u64, slow_ticks: u64, budget: f64) -> Self {
        Self {
            tick_ns,
            slow_ticks,
            steady_ticks: STEADY_NS.div_ceil(tick_ns).min(slow_ticks),
            budget,
        }
    }

    fn ticks(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Fast => 1,
            Tier::Steady => self.steady_ticks,
            Tier::Slow => self.slow_ticks,
        }
    }

    /// What a reading of a tier may cost.
    fn allowed_ns(&self, tier: Tier) -> u64 {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "of times far below 2^53; what is too much is the most"
        )]
        let allowed = (self.tick_ns.saturating_mul(self.ticks(tier)) as f64 * self.budget) as u64;
        allowed.max(1)
    }
}

/// The least time between two readings of the steady tier.
const STEADY_NS: u64 = 1_000_000_000;

impl Slot {
    pub(super) fn new(getter: Box<dyn Getter>) -> Self {
        Self {
            tier: getter.tier(),
            getter,
            costs: [0; COSTS],
            readings: 0,
            first_ns: 0,
            most_ns: 0,
            failures: 0,
            stretch: 1,
            standing: Standing::Read,
        }
    }

    pub(super) fn device(&self) -> Option<&str> {
        self.getter.device()
    }

    /// What changes seldom: how much it is slowed down, and whether it works.
    pub(super) fn place(&self) -> (u64, Discriminant<Standing>) {
        (self.stretch, discriminant(&self.standing))
    }

    pub(super) fn is_due(&self, tick: u64, pace: Pace) -> bool {
        !self.has_ended() && tick.is_multiple_of(pace.ticks(self.tier) * self.stretch)
    }

    pub(super) fn is_slow(&self) -> bool {
        self.tier == Tier::Slow
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.standing, Standing::Ended(_))
    }

    pub(super) fn end(&mut self, reason: &str) {
        if !self.has_ended() {
            self.standing = Standing::Ended(reason.to_owned());
        }
    }

    /// Read it, beginning now; what it put before it failed is forgotten. When it was done comes with it:
    /// the next one begins then.
    pub(super) fn read(
        &mut self,
        start: u64,
        clock: &dyn Clock,
        row: &mut Row,
        pace: Pace,
    ) -> (u64, Result<(), Trouble>) {
        let length = row.len();
        let now = Moment {
            monotonic_ns: start,
        };
        let read = AssertUnwindSafe(|| self.getter.read(now, row));
        let result = catch_unwind(read).unwrap_or_else(|panic| {
            // It has no place in a thread that everything else depends on.
            Err(Trouble::NotSupported(format!(
                "it panicked: {}",
                text_of(&*panic)
            )))
        });
        let end = clock.monotonic_ns();
        self.count(end.saturating_sub(start), pace);
        match &result {
            Ok(()) if self.failures == 0 => {}
            Ok(()) => {
                self.failures = 0;
                self.standing = Standing::Read;
            }
            Err(trouble) => {
                row.truncate(length);
                self.failures += 1;
                self.standing = match trouble {
                    Trouble::Failed(reason) => Standing::Failing(reason.clone()),
                    Trouble::NotSupported(reason) | Trouble::Lost(reason) => {
                        Standing::Ended(reason.clone())
                    }
                };
            }
        }
        (end, result)
    }

    fn count(&mut self, cost: u64, pace: Pace) {
        if self.readings == 0 {
            self.first_ns = cost;
        }
        self.costs[self.readings % COSTS] = cost;
        self.readings += 1;
        self.most_ns = self.most_ns.max(cost);
        // Most are cheap, and were before: then nothing needs to be weighed.
        if self.stretch > 1 || self.failures > 0 || cost > self.allowed_ns(pace) {
            self.stretch = self.wanted_stretch(pace);
        }
    }

    /// What a reading may cost at each tick of its tier.
    fn allowed_ns(&self, pace: Pace) -> u64 {
        pace.allowed_ns(self.tier)
    }

    /// The least power of two at which it costs no more than its budget.
    fn wanted_stretch(&self, pace: Pace) -> u64 {
        if self.failures >= MOST_FAILURES {
            return MOST_STRETCH;
        }
        // The first reading opens files and wakes devices: alone it does not say much.
        let most = if self.readings > 1 {
            MOST_STRETCH
        } else {
            FIRST_STRETCH
        };
        let (usual, allowed) = (self.usual_ns(), self.allowed_ns(pace));
        let mut stretch = 1;
        while stretch < most && usual > allowed.saturating_mul(stretch) {
            stretch *= 2;
        }
        // It becomes quicker only when it is clearly cheaper: no getter goes to and fro.
        if stretch * 2 == self.stretch {
            return self.stretch;
        }
        stretch
    }

    fn usual_ns(&self) -> u64 {
        let known = self.readings.min(COSTS);
        let mut costs = self.costs;
        costs[..known].sort_unstable();
        costs[known.saturating_sub(1) / 2]
    }

    pub(super) fn cost(&self, pace: Pace) -> Cost {
        Cost {
            name: self.getter.name().to_owned(),
            tier: self.tier,
            first_ns: self.first_ns,
            usual_ns: self.usual_ns(),
            most_ns: self.most_ns,
            every_ns: pace.ticks(self.tier) * self.stretch * pace.tick_ns,
            is_slowed: self.stretch > 1,
            standing: self.standing.clone(),
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a word")
}
