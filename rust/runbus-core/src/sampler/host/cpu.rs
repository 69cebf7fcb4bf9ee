//! Processors: how busy they are, and how fast they run.

use std::path::Path;

use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::{Held, number};
use crate::sampler::row::{NameId, Row, float, percent};

/// The cores that have series of their own.
pub(super) const MOST_CORES: usize = 256;

/// What a processor did, in clock ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
    waiting: u64,
    stolen: u64,
}

impl Ticks {
    /// The columns of a line after its first word: user nice system idle iowait irq softirq steal. Guest
    /// time is part of user time.
    fn parse(columns: &str) -> Option<Self> {
        let mut ticks = Self::default();
        let mut count = 0;
        for (index, column) in columns.split_ascii_whitespace().take(8).enumerate() {
            let number: u64 = column.parse().ok()?;
            ticks.all = ticks.all.checked_add(number)?;
            match index {
                3 => ticks.idle = number,
                4 => ticks.waiting = number,
                7 => ticks.stolen = number,
                _ => {}
            }
            count += 1;
        }
        (count >= 4).then_some(ticks)
    }

    /// What was done since; nothing if a counter went back, as those of a core that was off do.
    fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            all: self.all.checked_sub(before.all)?,
            idle: self.idle.checked_sub(before.idle)?,
            // The kernel lets this one go back by itself.
            waiting: self.waiting.saturating_sub(before.waiting),
            stolen: self.stolen.checked_sub(before.stolen)?,
        })
    }

    /// What was done since the reading before, which this one takes the place of.
    ///
    /// Nothing the first time, and as long as the kernel has counted no tick (10 ms): then the reading
    /// before stays, so that readings that lie closer lose nothing.
    fn done(self, before: &mut Option<Self>) -> Option<Self> {
        if before.is_some_and(|before| before.all == self.all) {
            return None;
        }
        self.since(before.replace(self)?)
    }

    fn busy(self) -> Option<f64> {
        percent(
            self.all.checked_sub(self.idle)?.checked_sub(self.waiting)?,
            self.all,
        )
    }
}

/// The lines of processors: the number of the core, None for all together, and its ticks.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (Option<usize>, Ticks)> {
    bytes
        .split(|byte| *byte == b'\n')
        .map_while(|line| line.strip_prefix(b"cpu"))
        .filter_map(|line| {
            let (number, columns) = std::str::from_utf8(line).ok()?.split_once(' ')?;
            let core = match number {
                "" => None,
                number => Some(number.parse().ok()?),
            };
            Some((core, Ticks::parse(columns)?))
        })
}

/// All processors together.
pub(super) struct Cpu {
    stat: Held,
    last: Option<Ticks>,
    names: [NameId; 3],
}

impl Cpu {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            stat: Held::new(proc.join("stat")),
            last: None,
            names: ["cpu/util", "cpu/iowait", "cpu/steal"].map(|name| row.name(name)),
        }
    }
}

impl Getter for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let total = lines(self.stat.get()?).find(|(core, _)| core.is_none());
        let (_, ticks) =
            total.ok_or_else(|| Trouble::NotSupported("/proc/stat has no line cpu".into()))?;
        let Some(done) = ticks.done(&mut self.last) else {
            return Ok(());
        };
        let [util, waiting, stolen] = self.names;
        row.put_some(util, done.busy());
        row.put_some(waiting, percent(done.waiting, done.all));
        row.put_some(stolen, percent(done.stolen, done.all));
        Ok(())
    }
}

/// Each processor.
pub(super) struct Cores {
    stat: Held,
    last: Vec<Option<Ticks>>,
    names: Vec<NameId>,
}

impl Cores {
    pub(super) fn new(proc: &Path) -> Self {
        Self {
            stat: Held::new(proc.join("stat")),
            last: Vec::new(),
            names: Vec::new(),
        }
    }
}

impl Getter for Cores {
    fn name(&self) -> &'static str {
        "cores"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let cores = lines(self.stat.get()?).filter_map(|(core, ticks)| Some((core?, ticks)));
        for (core, ticks) in cores.filter(|(core, _)| *core < MOST_CORES) {
            while self.last.len() <= core {
                self.names
                    .push(row.name(&format!("cpu{}/util", self.last.len())));
                self.last.push(None);
            }
            let done = ticks.done(&mut self.last[core]);
            row.put_some(self.names[core], done.and_then(Ticks::busy));
        }
        Ok(())
    }
}

/// The mean clock of the processors, in MHz.
pub(super) struct Frequency {
    cores: Vec<Held>,
    info: Held,
    name: NameId,
}

impl Frequency {
    pub(super) fn new(proc: &Path, sys: &Path, row: &mut Row) -> Self {
        let cores = (0..MOST_CORES)
            .map(|core| {
                sys.join(format!(
                    "devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq"
                ))
            })
            .take_while(|path| path.exists())
            .map(Held::new);
        Self {
            cores: cores.collect(),
            info: Held::new(proc.join("cpuinfo")),
            name: row.name("cpu/freq"),
        }
    }
}

impl Getter for Frequency {
    fn name(&self) -> &'static str {
        "frequency"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let clocks: Vec<f64> = if self.cores.is_empty() {
            // Virtual machines have no cpufreq.
            String::from_utf8_lossy(self.info.get()?)
                .lines()
                .filter(|line| line.starts_with("cpu MHz"))
                .filter_map(|line| line.split_once(':')?.1.trim().parse().ok())
                .collect()
        } else {
            self.cores
                .iter_mut()
                .filter_map(|core| Some(float(number(core.read().ok()?)?) / 1e3))
                .collect()
        };
        if clocks.is_empty() {
            return Err(Trouble::NotSupported("the clock is not told".into()));
        }
        row.put(
            self.name,
            clocks.iter().sum::<f64>() / float(clocks.len() as u64),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iowait_that_goes_back_does_not_lose_the_sample_and_a_core_that_was_off_begins_anew() {
        let before = Ticks::parse(" 10 0 10 100 50 0 0 0 0 0").unwrap();
        let after = Ticks::parse(" 20 0 20 180 49 0 0 1 0 0").unwrap();
        let done = after.since(before).unwrap();
        assert_eq!(
            (done.all, done.idle, done.waiting, done.stolen),
            (100, 80, 0, 1)
        );
        assert_eq!(done.busy(), Some(20.0));
        assert_eq!(before.since(after), None);
    }

    #[test]
    fn readings_closer_than_a_tick_lose_nothing() {
        let reading = |busy| Ticks::parse(&format!(" {busy} 0 0 100")).unwrap();
        let mut last = None;
        assert_eq!(reading(10).done(&mut last), None);
        assert_eq!(reading(10).done(&mut last), None);
        assert_eq!(
            reading(15).done(&mut last).and_then(Ticks::busy),
            Some(100.0)
        );
        assert_eq!(reading(15).done(&mut last), None);
        assert_eq!(reading(5).done(&mut last), None);
        assert!(reading(6).done(&mut last).is_some());
    }

    #[test]
    fn lines_of_processors_may_have_gaps_and_older_columns() {
        let text = b"cpu  1 2 3 4\ncpu0 1 2 3 4 5 6 7 8\ncpu3 1 1 1 1\nintr 5\ncpu9 1 1 1 1\n";
        let cores: Vec<Option<usize>> = lines(text).map(|(core, _)| core).collect();
        assert_eq!(cores, [None, Some(0), Some(3)]);
    }
}
