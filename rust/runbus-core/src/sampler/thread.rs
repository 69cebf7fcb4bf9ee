//! The thread that samples, until it is told to stop.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::engine::Engine;
use super::row::Row;
use super::slot::Cost;
use crate::mutex::lock;
use crate::os;

/// Where rows go.
pub trait Sink: Send {
    /// Take the values of one tick; `false` when no reader is left.
    fn take(&mut self, wall_ns: i64, row: &Row) -> bool;
}

#[derive(Default)]
struct State {
    is_told: bool,
    has_ended: bool,
    rows: u64,
    costs: Vec<Cost>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// How a sampler waits: for its beginning, and for each tick.
pub trait Wait {
    /// Wait so long; whether it is time to stop.
    fn wait(&self, longest: Duration) -> bool;
}

impl Wait for Shared {
    fn wait(&self, longest: Duration) -> bool {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, longest, |state| !state.is_told)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_told
    }
}

impl Shared {
    fn tell(&self, rows: u64, costs: Option<Vec<Cost>>) {
        let mut state = lock(&self.state);
        state.rows = rows;
        if let Some(costs) = costs {
            state.costs = costs;
        }
        self.changed.notify_all();
    }
}

/// A thread that samples.
///
/// Dropped, it is told to stop, and nobody waits for it.
pub struct Sampler {
    shared: Arc<Shared>,
    generation: u32,
}

impl Sampler {
    /// Start sampling. The engine is made in the new thread: drivers take their time. Without one the
    /// thread ends.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        make: impl FnOnce(&dyn Wait) -> Option<(Engine, Box<dyn Sink>)> + Send + 'static,
        clock: impl Clock + 'static,
    ) -> io::Result<Self> {
        os::watch_forks();
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let builder = thread::Builder::new().name("runbus-sampler".into());
        os::without_signals(|| {
            builder.spawn(move || {
                let _ended = Ended(theirs.clone());
                if let Some((mut engine, mut sink)) = make(&*theirs) {
                    run(
                        &mut engine,
                        &mut *sink,
                        &clock,
                        &*theirs,
                        &mut |rows, costs| {
                            theirs.tell(rows, costs);
                        },
                    );
                }
            })
        })?;
        Ok(Self {
            shared,
            generation: os::generation(),
        })
    }

    /// Whether this process was forked from the one that samples: there is no thread here.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.generation != os::generation()
    }

    /// Have it stop, and wait for that so long; whether it has.
    ///
    /// A getter that hangs in a driver keeps the thread; it ends when the driver answers, or with the
    /// process. In a forked child there is no thread to wait for.
    pub fn stop(&self, longest: Duration) -> bool {
        if self.is_inherited() {
            return true;
        }
        let mut state = lock(&self.shared.state);
        state.is_told = true;
        self.shared.changed.notify_all();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, longest, |state| !state.has_ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.has_ended
    }

    /// Wait until so many rows were taken, or so long; whether they were.
    pub fn wait_for_rows(&self, rows: u64, longest: Duration) -> bool {
        let state = lock(&self.shared.state);
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, longest, |state| {
                state.rows < rows && !state.has_ended
            })
            .unwrap_or_else(PoisonError::into_inner);
        state.rows >= rows
    }

    /// What each getter costs, as of the last slow tick or the last change of what is read; nothing before
    /// the first reading of all.
    #[must_use]
    pub fn costs(&self) -> Vec<Cost> {
        lock(&self.shared.state).costs.clone()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

/// However the thread ends, those who wait for that are told.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        lock(&self.0.state).has_ended = true;
        self.0.changed.notify_all();
    }
}

/// The least time that is worth a row of its own at the end.
const WORTH_A_ROW: Duration = Duration::from_millis(20);

/// Sample in this thread until it is time to stop, or nobody takes the rows any more.
///
/// After each tick `tell` hears how many rows there were, and what getters cost if that is news.
pub fn run(
    engine: &mut Engine,
    sink: &mut dyn Sink,
    clock: &dyn Clock,
    until: &dyn Wait,
    tell: &mut dyn FnMut(u64, Option<Vec<Cost>>),
) {
    engine.begin(clock);
    let begun = Instant::now();
    tell(0, Some(engine.costs()));
    let (mut rows, mut ticks) = (0, 0u64);
    let mut last = None;
    loop {
        let is_told = wait(engine.tick_ns(), clock, until);
        let wall_ns = clock.wall_ns();
        let at = if is_told {
            wall_ns
        } else {
            let Some(at) = next(wall_ns, engine.tick_ns(), &mut last) else {
                continue;
            };
            at
        };
        if !is_told || (ticks == 0 && begun.elapsed() >= WORTH_A_ROW) {
            let row = engine.tick(clock, at);
            if !row.is_empty() {
                if !sink.take(at, row) {
                    return;
                }
                rows += 1;
            }
            ticks += 1;
        }
        if is_told {
            let rest = engine.rest();
            if !rest.is_empty() {
                sink.take(at, rest);
                rows += 1;
            }
        }
        tell(rows, engine.news());
        if is_told {
            return;
        }
    }
}

/// Wait for the next tick, which is a multiple of the interval since 1970: those of all machines are the
/// same, and after the clock was set they are again. Whether it is time to stop.
fn wait(tick_ns: u64, clock: &dyn Clock, until: &dyn Wait) -> bool {
    let wall = u64::try_from(clock.wall_ns()).unwrap_or(0);
    until.wait(Duration::from_nanos(tick_ns - wall % tick_ns))
}

/// The tick that is next to have a row; none if it has one: the row before came so late that it has the
/// time of this tick, which was nearer.
fn next(wall_ns: i64, tick_ns: u64, last: &mut Option<i64>) -> Option<i64> {
    let at = nearest(wall_ns, tick_ns);
    (last.replace(at) != Some(at)).then_some(at)
}

/// The tick that is nearest: threads wake up late, and clocks are adjusted by little.
fn nearest(wall_ns: i64, tick_ns: u64) -> i64 {
    let tick = i64::try_from(tick_ns).unwrap_or(i64::MAX);
    wall_ns
        .saturating_add(tick / 2)
        .div_euclid(tick)
        .saturating_mul(tick)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_has_the_time_of_a_tick_at_most_half_an_interval_away(
            wall in 0..4_000_000_000_000_000_000i64, tick in 1_000_000..86_400_000_000_000u64,
        ) {
            let at = nearest(wall, tick);
            prop_assert_eq!(at.unsigned_abs() % tick, 0);
            prop_assert!(at.abs_diff(wall) <= tick.div_ceil(2));
        }

        #[test]
        fn no_two_rows_have_one_tick_however_late_the_thread_wakes(
            begin in 0..1_000_000_000_000i64, late in prop::collection::vec(0..3_000_000i64, 1..50),
        ) {
            let (tick, mut wall, mut last) = (1_000_000, begin, None);
            let mut told = Vec::new();
            for late in late {
                wall += tick - wall % tick + late;
                told.extend(next(wall, tick.unsigned_abs(), &mut last));
            }
            prop_assert!(told.is_sorted_by(|one, other| one < other), "{:?}", told);
        }
    }
}
