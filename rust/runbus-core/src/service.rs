//! Work that one background thread a process does for all who need it.
//!
//! The thread starts with the first thing to tend and ends after the last. In a forked child it does
//! not exist, and the child's own first starts another.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::mutex::lock;
use crate::os;

/// The longest time between two looks, whatever the work says.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

struct State<T> {
    /// What the thread does not know yet.
    new: Vec<T>,
    is_running: bool,
    is_nudged: bool,
}

/// What one thread a process does.
pub(crate) struct Service<T: 'static> {
    name: &'static str,
    /// What is due for one of those it tends, and when to come again; `None` when that is gone.
    work: fn(&mut T) -> Option<Duration>,
    keeper: AtomicPtr<Keeper<T>>,
}

/// The thread of this process, and what it is given.
struct Keeper<T> {
    generation: u32,
    work: fn(&mut T) -> Option<Duration>,
    state: Mutex<State<T>>,
    nudge: Condvar,
}

impl<T: Send> Service<T> {
    pub(crate) const fn new(name: &'static str, work: fn(&mut T) -> Option<Duration>) -> Self {
        Self {
            name,
            work,
            keeper: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn here(&self) -> &'static Keeper<T> {
        let generation = os::generation();
        let known = self.keeper.load(Ordering::Acquire);
        // SAFETY: null, or a keeper that was leaked below.
        if let Some(keeper) = unsafe { known.as_ref() }
            && keeper.generation == generation
        {
            return keeper;
        }
        // The parent's keeper may have been locked at the fork: it is left alone for ever.
        let new = Box::into_raw(Box::new(Keeper {
            generation,
            work: self.work,
            state: Mutex::new(State {
                new: Vec::new(),
                is_running: false,
                is_nudged: false,
            }),
            nudge: Condvar::new(),
        }));
        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
        if self
            .keeper
            .compare_exchange(known, new, order, failed)
            .is_ok()
        {
            // SAFETY: just made, and never freed.
            return unsafe { &*new };
        }
        // SAFETY: another thread was faster, and nobody has seen this one.
        drop(unsafe { Box::from_raw(new) });
        self.here()
    }

    /// Tend this one, too, until it is gone.
    ///
    /// # Errors
    /// When the thread cannot be started; the next call tries again.
    pub(crate) fn add(&self, tended: T) -> io::Result<()> {
        let keeper = self.here();
        let mut state = lock(&keeper.state);
        state.new.push(tended);
        if state.is_running {
            keeper.nudge.notify_one();
            return Ok(());
        }
        let builder = thread::Builder::new().name(self.name.into());
        os::without_signals(|| builder.spawn(|| keeper.run()))?;
        state.is_running = true;
        Ok(())
    }

    /// Have it look at once.
    pub(crate) fn nudge(&self) {
        let keeper = self.here();
        let mut state = lock(&keeper.state);
        if !state.is_nudged {
            state.is_nudged = true;
            keeper.nudge.notify_one();
        }
    }
}

impl<T> Keeper<T> {
    fn run(&self) {
        let mut tended: Vec<T> = Vec::new();
        loop {
            {
                let mut state = lock(&self.state);
                tended.append(&mut state.new);
                state.is_nudged = false;
                if tended.is_empty() {
                    state.is_running = false;
                    return;
                }
            }
            let mut pause = LONGEST_PAUSE;
            tended.retain_mut(|one| match (self.work)(one) {
                Some(wanted) => {
                    pause = pause.min(wanted);
                    true
                }
                None => false,
            });
            let state = lock(&self.state);
            let is_quiet = |state: &mut State<T>| !state.is_nudged && state.new.is_empty();
            drop(
                self.nudge
                    .wait_timeout_while(state, pause, is_quiet)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}
