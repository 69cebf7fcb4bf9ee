//! The clocks of a sampler; tests have others.

use crate::{clock, os};

/// Tells the time.
pub trait Clock: Send {
    /// Unix nanoseconds: somebody may set this clock.
    fn wall_ns(&self) -> i64;

    /// Nanoseconds of a clock that nobody sets.
    fn monotonic_ns(&self) -> u64;
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        clock::unix_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        os::monotonic_ns()
    }
}
