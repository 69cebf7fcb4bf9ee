//! What the kernel counts for the whole machine.

use std::path::Path;

use procfs_core::{FromRead, LoadAverage, Uptime};

use super::parsed;
use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::{Held, number, number_after};
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float};

/// The mean number of tasks that ran or waited, over a minute.
pub(super) struct Load {
    file: Held,
    name: NameId,
}

impl Load {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            file: Held::new(proc.join("loadavg")),
            name: row.name("load"),
        }
    }
}

impl Getter for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let load = parsed("loadavg", LoadAverage::from_read(self.file.get()?))?;
        row.put(self.name, f64::from(load.one));
        Ok(())
    }
}

/// How long the machine has been up, in seconds.
pub(super) struct Up {
    file: Held,
    name: NameId,
}

impl Up {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            file: Held::new(proc.join("uptime")),
            name: row.name("uptime"),
        }
    }
}

impl Getter for Up {
    fn name(&self) -> &'static str {
        "uptime"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let up = parsed("uptime", Uptime::from_read(self.file.get()?))?;
        row.put_exact(self.name, up.uptime.round());
        Ok(())
    }
}

/// The files that all processes have open.
pub(super) struct OpenFiles {
    file: Held,
    name: NameId,
}

impl OpenFiles {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            file: Held::new(proc.join("sys/fs/file-nr")),
            name: row.name("files/open"),
        }
    }
}

impl Getter for OpenFiles {
    fn name(&self) -> &'static str {
        "open files"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let count = number(self.file.get()?);
        row.put_some(self.name, count.map(float));
        Ok(())
    }
}

/// Page faults a second, and bytes a second that came from disks because of memory.
pub(super) struct Faults {
    file: Held,
    counters: [(&'static str, f64, NameId, Rate); 3],
}

impl Faults {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        let counters = [
            ("pgfault", 1.0, "faults/all"),
            ("pgmajfault", 1.0, "faults/major"),
            ("pgpgin", 1024.0, "pages/in"),
        ];
        Self {
            file: Held::new(proc.join("vmstat")),
            counters: counters
                .map(|(word, scale, name)| (word, scale, row.name(name), Rate::default())),
        }
    }
}

impl Getter for Faults {
    fn name(&self) -> &'static str {
        "page faults"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let bytes = self.file.get()?;
        for (word, scale, name, rate) in &mut self.counters {
            let count = number_after(bytes, word);
            let rate = count.and_then(|count| rate.per_second(count, now.monotonic_ns));
            row.put_some(*name, rate.map(|rate| rate * *scale));
        }
        Ok(())
    }
}
