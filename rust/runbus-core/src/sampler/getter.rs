//! What a sampler reads in one go, and why it could not.

use std::io;

use super::row::Row;

/// How often something is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// What changes while one looks: utilization, memory, power.
    Fast,
    /// What is a mean over its time by itself, and says little of less than a second.
    Steady,
    /// What changes slowly, or costs more: temperatures, processes, disk usage.
    Slow,
}

/// When a getter reads.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Nanoseconds of a clock that nobody sets: what rates are computed with.
    pub monotonic_ns: u64,
}

/// Why a getter has no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// This machine does not have it: it is not asked again.
    NotSupported(String),
    /// The device is gone: nothing of it is asked again.
    Lost(String),
    /// It may work next time.
    Failed(String),
}

impl Trouble {
    /// What the system said of a file, or of what a file holds.
    pub(super) fn of(what: &str, error: &io::Error) -> Self {
        let text = format!("{what}: {error}");
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::Unsupported => Self::NotSupported(text),
            _ => Self::Failed(text),
        }
    }

    /// Why, as text.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::NotSupported(text) | Self::Lost(text) | Self::Failed(text) => text,
        }
    }
}

/// Reads what comes from one file, or from one call of a driver.
pub trait Getter: Send {
    /// What it reads, such as `cpu` or `gpu0/power`: costs are told by this name.
    fn name(&self) -> &str;

    /// How often it is read.
    fn tier(&self) -> Tier;

    /// The device that it reads from: all getters of a lost one end.
    fn device(&self) -> Option<&str> {
        None
    }

    /// Put the values of now.
    ///
    /// # Errors
    /// [`Trouble`]: what was put before it is left out, too.
    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble>;
}
