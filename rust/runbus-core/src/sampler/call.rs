//! A getter that is a call of a driver.

use super::getter::{Getter, Moment, Tier, Trouble};
use super::row::Row;

type Reading = Box<dyn FnMut(Moment, &mut Row) -> Result<(), Trouble> + Send>;

/// Reads of a device by what a closure calls.
pub(super) struct Call {
    name: String,
    device: String,
    tier: Tier,
    reading: Reading,
}

impl Call {
    /// What is read of a device, such as `power` of `gpu0`.
    pub(super) fn getter(
        device: &str,
        name: &str,
        tier: Tier,
        reading: impl FnMut(Moment, &mut Row) -> Result<(), Trouble> + Send + 'static,
    ) -> Box<dyn Getter> {
        Box::new(Self {
            name: format!("{device}/{name}"),
            device: device.to_owned(),
            tier,
            reading: Box::new(reading),
        })
    }
}

impl Getter for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn tier(&self) -> Tier {
        self.tier
    }

    fn device(&self) -> Option<&str> {
        Some(&self.device)
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        (self.reading)(now, row)
    }
}
