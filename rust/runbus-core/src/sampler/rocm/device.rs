//! What is read of one GPU.

use super::library::Rocm;
use crate::sampler::call::Call;
use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::host::Processes;
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float, percent};

const VRAM: u32 = 0;
const SYSTEM_CLOCK: i32 = 0;
const MEMORY_CLOCK: i32 = 4;
const EDGE: u32 = 0;
const JUNCTION: u32 = 1;
const MEMORY: u32 = 2;
/// The block of the memory controllers.
const MEMORY_BLOCK: u64 = 1;

/// Collects the getters of one GPU.
struct Getters<'a> {
    rocm: Rocm,
    index: u32,
    device: &'a str,
    row: &'a mut Row,
    all: Vec<Box<dyn Getter>>,
}

/// What is read of the GPU of this number, under the name of a device.
pub(super) fn getters(
    rocm: Rocm,
    index: u32,
    device: &str,
    processes: &Processes,
    row: &mut Row,
) -> Vec<Box<dyn Getter>> {
    let mut getters = Getters {
        rocm,
        index,
        device,
        row,
        all: Vec::new(),
    };
    getters.fast();
    getters.energy();
    getters.slow();
    getters.processes(processes);
    getters.all
}

impl Getters<'_> {
    fn name(&mut self, name: &str) -> NameId {
        self.row.name(&format!("{}/{name}", self.device))
    }

    fn call(
        &mut self,
        name: &str,
        tier: Tier,
        reading: impl FnMut(Moment, &mut Row) -> Result<(), Trouble> + Send + 'static,
    ) {
        self.all
            .push(Call::getter(self.device, name, tier, reading));
    }

    fn one(
        &mut self,
        name: &str,
        tier: Tier,
        value: impl Fn(Rocm, u32) -> Result<f64, Trouble> + Send + 'static,
    ) {
        let id = self.name(name);
        let (rocm, index) = (self.rocm, self.index);
        self.call(name, tier, move |_, row| {
            row.put(id, value(rocm, index)?);
            Ok(())
        });
    }

    fn fast(&mut self) {
        self.one("util", Tier::Fast, |rocm, index| {
            rocm.of::<u32>(c"rsmi_dev_busy_percent_get", index)
                .map(f64::from)
        });
        self.one("mem_util", Tier::Fast, |rocm, index| {
            rocm.of::<u32>(c"rsmi_dev_memory_busy_percent_get", index)
                .map(f64::from)
        });
        let names = ["mem/used", "mem/total"].map(|name| self.name(name));
        let (rocm, index) = (self.rocm, self.index);
        self.call("memory", Tier::Fast, move |_, row| {
            let total = rocm.nth(c"rsmi_dev_memory_total_get", index, VRAM)?;
            row.put(
                names[0],
                float(rocm.nth(c"rsmi_dev_memory_usage_get", index, VRAM)?),
            );
            row.put(names[1], float(total));
            Ok(())
        });
        self.one("power", Tier::Fast, |rocm, index| {
            // Newer cards have what they take now, older ones a mean: microwatts.
            let now = rocm.of::<u64>(c"rsmi_dev_current_socket_power_get", index);
            let power = match now {
                Err(Trouble::NotSupported(_)) => rocm.nth(c"rsmi_dev_power_ave_get", index, 0u32),
                power => power,
            };
            Ok(float(power?) / 1e6)
        });
        self.one("clock/sm", Tier::Fast, |rocm, index| {
            Ok(float(rocm.clock(index, SYSTEM_CLOCK)?) / 1e6)
        });
    }

    fn energy(&mut self) {
        let names = ["energy", "power/mean"].map(|name| self.name(name));
        let (mut first, mut rate) = (None, Rate::default());
        let (rocm, index) = (self.rocm, self.index);
        self.call("energy", Tier::Fast, move |now, row| {
            let (count, unit) = rocm.energy(index)?;
            let joules = f64::from(unit) / 1e6;
            // The driver begins anew when it is loaded again.
            let first = first.get_or_insert(count);
            *first = count.min(*first);
            row.put_exact(names[0], float(count - *first) * joules);
            let power = rate.per_second(count, now.monotonic_ns);
            row.put_some(names[1], power.map(|power| power * joules));
            Ok(())
        });
    }

    fn slow(&mut self) {
        self.one("temp", Tier::Slow, |rocm, index| {
            // Those of data centers have none at their edge.
            let temperature = match rocm.temperature(index, EDGE) {
                Err(Trouble::NotSupported(_)) => rocm.temperature(index, JUNCTION),
                temperature => temperature,
            };
            degrees(temperature?)
        });
        self.one("mem/temp", Tier::Slow, |rocm, index| {
            degrees(rocm.temperature(index, MEMORY)?)
        });
        self.one("clock/mem", Tier::Slow, |rocm, index| {
            Ok(float(rocm.clock(index, MEMORY_CLOCK)?) / 1e6)
        });
        self.one("fan", Tier::Slow, |rocm, index| {
            let speed: i64 = rocm.nth(c"rsmi_dev_fan_speed_get", index, 0u32)?;
            let most: u64 = rocm.nth(c"rsmi_dev_fan_speed_max_get", index, 0u32)?;
            let share = percent(u64::try_from(speed).unwrap_or(0), most);
            share.ok_or_else(|| Trouble::NotSupported("a fan without a speed".into()))
        });
        let names = ["ecc/corrected", "ecc/uncorrected"].map(|name| self.name(name));
        let (rocm, index) = (self.rocm, self.index);
        self.call("ecc", Tier::Slow, move |_, row| {
            let counts = rocm.errors(index, MEMORY_BLOCK)?;
            for (name, count) in names.into_iter().zip(counts) {
                row.put(name, float(count));
            }
            Ok(())
        });
        // PCIe throughput is not asked for: that call waits for a second.
    }

    /// What processes of the job use.
    fn processes(&mut self, processes: &Processes) {
        let id = self.name("job/mem");
        let own = processes.clone();
        let (rocm, index) = (self.rocm, self.index);
        self.call("processes", Tier::Slow, move |_, row| {
            let mut used = None;
            for process in own.known_to_drivers() {
                if let Some(bytes) = rocm.memory_of(index, process)? {
                    used = Some(used.unwrap_or(0) + bytes);
                }
            }
            row.put_some(id, used.map(float));
            Ok(())
        });
    }
}

#[allow(clippy::cast_precision_loss)] // Far below 2^53.
#[allow(clippy::unnecessary_wraps)] // As its callers return it.
fn degrees(thousandths: i64) -> Result<f64, Trouble> {
    Ok(thousandths as f64 / 1e3)
}
