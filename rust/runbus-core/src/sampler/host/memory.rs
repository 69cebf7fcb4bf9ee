//! Memory, swap and pressure.

use std::path::Path;

use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::{Held, number};
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float};

/// The memory of the machine, in bytes.
pub(super) struct Memory {
    info: Held,
    names: [NameId; 4],
}

impl Memory {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            info: Held::new(proc.join("meminfo")),
            names: ["mem/total", "mem/used", "mem/available", "swap/used"]
                .map(|name| row.name(name)),
        }
    }
}

impl Getter for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let info = Info::parse(self.info.get()?)
            .ok_or_else(|| Trouble::Failed("meminfo: no total".into()))?;
        let [total, used, available, swap] = self.names;
        row.put(total, float(info.total));
        row.put(used, float(info.total.saturating_sub(info.available)));
        row.put(available, float(info.available));
        row.put(swap, float(info.swap_total.saturating_sub(info.swap_free)));
        Ok(())
    }
}

/// What is read of `/proc/meminfo`, in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Info {
    total: u64,
    available: u64,
    swap_total: u64,
    swap_free: u64,
}

impl Info {
    /// By hand: a map of all fifty lines costs more than the kernel takes to write them.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut info = Self::default();
        let (mut total, mut available, mut free, mut cached) = (None, None, 0, 0);
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let value = || Some(number(&line[colon + 1..])?.saturating_mul(1024));
            match &line[..colon] {
                b"MemTotal" => total = value(),
                b"MemFree" => free = value()?,
                b"MemAvailable" => available = value(),
                b"Cached" => cached = value()?,
                b"SwapTotal" => info.swap_total = value()?,
                b"SwapFree" => {
                    info.swap_free = value()?;
                    break; // What follows is of no use here.
                }
                _ => {}
            }
        }
        info.total = total?;
        // Kernels before 3.14 do not tell what is available.
        info.available = available.unwrap_or(free.saturating_add(cached));
        Some(info)
    }
}

/// For how much of the time some task waited for a resource, in percent: pressure stall information.
pub(super) struct Pressure {
    resource: &'static str,
    file: Held,
    rate: Rate,
    name: NameId,
}

impl Pressure {
    pub(super) fn of_all(proc: &Path, row: &mut Row) -> [Self; 3] {
        ["cpu", "memory", "io"].map(|resource| Self {
            resource,
            file: Held::new(proc.join("pressure").join(resource)),
            rate: Rate::default(),
            name: row.name(&format!("pressure/{resource}")),
        })
    }
}

impl Getter for Pressure {
    fn name(&self) -> &str {
        match self.resource {
            "cpu" => "pressure of processors",
            "memory" => "pressure of memory",
            _ => "pressure of disks",
        }
    }

    fn tier(&self) -> Tier {
        Tier::Steady
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let bytes = self.file.read().map_err(|error| {
            // Some kernels have the files and refuse to read them.
            match error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => Trouble::NotSupported(error.to_string()),
                _ => Trouble::of("pressure", &error),
            }
        })?;
        let total = waited_us(bytes).ok_or_else(|| Trouble::Failed("no total".into()))?;
        let nanoseconds = total.saturating_mul(1_000);
        row.put_some(
            self.name,
            self.rate.percent_of_time(nanoseconds, now.monotonic_ns),
        );
        Ok(())
    }
}

/// The microseconds for which some task waited: `some avg10=0.00 avg60=0.00 avg300=0.00 total=391926`.
fn waited_us(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.split_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_any_order_and_an_old_kernel_does_not_tell_what_is_available() {
        let text = b"MemTotal:  8 kB\nMemFree: 2 kB\nMemAvailable: 5 kB\nCached: 1 kB\nSwapTotal: 4 kB\nSwapFree: 3 kB\nDirty: x\n";
        let wanted = Info {
            total: 8192,
            available: 5120,
            swap_total: 4096,
            swap_free: 3072,
        };
        assert_eq!(Info::parse(text), Some(wanted));
        let old = b"Cached: 1 kB\nMemFree: 2 kB\nMemTotal:  8 kB\n";
        assert_eq!(Info::parse(old).map(|info| info.available), Some(3072));
        for cut in [
            &b""[..],
            b"MemFree: 2 kB\n",
            b"MemTotal 8 kB",
            b"MemTotal: many\n",
        ] {
            assert_eq!(Info::parse(cut), None);
        }
    }
}
