//! What is read of one GPU.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nvml_wrapper::enum_wrappers::device::{
    Clock, EccCounter, MemoryError, PcieUtilCounter, Sampling, TemperatureSensor,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id;
use nvml_wrapper::{Device, Nvml};

use super::library::{Driver, trouble};
use crate::sampler::call::Call;
use crate::sampler::getter::{Getter, Moment, Tier};
use crate::sampler::host::Processes;
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float};

/// A GPU of a library that stays loaded.
pub(super) type Gpu = Device<'static>;

/// Collects the getters of one GPU.
pub(super) struct Getters<'a> {
    driver: &'static Driver,
    index: u32,
    device: String,
    row: &'a mut Row,
    all: Vec<Box<dyn Getter>>,
}

impl<'a> Getters<'a> {
    /// What is read of the GPU of this number.
    pub(super) fn of(
        driver: &'static Driver,
        index: u32,
        processes: &Processes,
        row: &'a mut Row,
    ) -> Vec<Box<dyn Getter>> {
        let mut getters = Self {
            driver,
            index,
            device: format!("gpu{index}"),
            row,
            all: Vec::new(),
        };
        getters.fast();
        getters.driver_samples();
        getters.slow();
        getters.links();
        getters.processes(processes);
        getters.activity();
        getters.all
    }

    /// What is read of instances that this GPU was divided into since the last look.
    pub(super) fn of_new(
        known: &mut Instances,
        driver: &'static Driver,
        index: u32,
        row: &'a mut Row,
    ) -> Vec<Box<dyn Getter>> {
        let mut getters = Self {
            driver,
            index,
            device: format!("gpu{index}"),
            row,
            all: Vec::new(),
        };
        getters.instances(known);
        getters.all
    }

    fn name(&mut self, name: &str) -> NameId {
        self.row.name(&format!("{}/{name}", self.device))
    }

    fn call(
        &mut self,
        name: &str,
        tier: Tier,
        mut reading: impl FnMut(&Gpu, Moment, &mut Row) -> Result<(), NvmlError> + Send + 'static,
    ) {
        // A handle of its own for each, since it cannot be copied; lost meanwhile, there is none.
        if let Ok(gpu) = self.driver.nvml.device_by_index(self.index) {
            let reading = move |now: Moment, row: &mut Row| {
                reading(&gpu, now, row).map_err(|error| trouble(&error))
            };
            self.all
                .push(Call::getter(&self.device, name, tier, reading));
        }
    }

    fn one(
        &mut self,
        name: &str,
        tier: Tier,
        value: impl Fn(&Gpu) -> Result<f64, NvmlError> + Send + 'static,
    ) {
        let id = self.name(name);
        self.call(name, tier, move |gpu, _, row| {
            row.put(id, value(gpu)?);
            Ok(())
        });
    }

    fn fast(&mut self) {
        let names = ["util", "mem_util"].map(|name| self.name(name));
        self.call("util", Tier::Fast, move |gpu, _, row| {
            let util = gpu.utilization_rates()?;
            row.put(names[0], f64::from(util.gpu));
            row.put(names[1], f64::from(util.memory));
            Ok(())
        });
        let names = ["mem/used", "mem/total"].map(|name| self.name(name));
        self.call("memory", Tier::Fast, move |gpu, _, row| {
            let memory = gpu.memory_info()?;
            row.put(names[0], float(memory.used));
            row.put(names[1], float(memory.total));
            Ok(())
        });
        self.one("power", Tier::Fast, |gpu| {
            Ok(f64::from(gpu.power_usage()?) / 1e3)
        });
        self.one("clock/sm", Tier::Fast, |gpu| {
            gpu.clock_info(Clock::SM).map(f64::from)
        });
        let names = ["energy", "power/mean"].map(|name| self.name(name));
        let (mut first, mut rate) = (None, Rate::default());
        self.call("energy", Tier::Fast, move |gpu, now, row| {
            let total = gpu.total_energy_consumption()?;
            // The driver begins anew when it is loaded again.
            let first = first.get_or_insert(total);
            *first = total.min(*first);
            row.put_exact(names[0], float(total - *first) / 1e3);
            let power = rate.per_second(total, now.monotonic_ns);
            row.put_some(names[1], power.map(|power| power / 1e3));
            Ok(())
        });
    }

    /// The driver's own ring: what it saw between two ticks, 6 to 50 times a second.
    fn driver_samples(&mut self) {
        let kinds = [
            ("util", Sampling::GpuUtilization, 1.0),
            ("power", Sampling::Power, 1e-3),
        ];
        for (what, kind, scale) in kinds {
            let names = ["ring_mean", "ring_max"].map(|name| self.name(&format!("{what}/{name}")));
            let mut seen = 0;
            self.call(
                &format!("{what} samples"),
                Tier::Fast,
                move |gpu, _, row| {
                    let samples = match gpu.samples(kind, seen) {
                        Err(NvmlError::NotFound | NvmlError::NoData) => return Ok(()),
                        samples => samples?,
                    };
                    // The ring holds places that were not used yet.
                    let new = samples.iter().filter(|sample| sample.timestamp > seen);
                    let (mut sum, mut most, mut count) = (0.0, f64::MIN, 0);
                    let mut last = seen;
                    for sample in new {
                        let value = number(&sample.value) * scale;
                        (sum, most, count) = (sum + value, value.max(most), count + 1);
                        last = last.max(sample.timestamp);
                    }
                    seen = last;
                    if count > 0 {
                        row.put(names[0], sum / f64::from(count));
                        row.put(names[1], most);
                    }
                    Ok(())
                },
            );
        }
    }

    fn slow(&mut self) {
        self.one("temp", Tier::Slow, |gpu| {
            gpu.temperature(TemperatureSensor::Gpu).map(f64::from)
        });
        let id = self.name("mem/temp");
        self.call("memory temperature", Tier::Slow, move |gpu, _, row| {
            let fields = [FieldId(field_id::NVML_FI_DEV_MEMORY_TEMP)];
            for sample in gpu.field_values_for(&fields)? {
                row.put(id, number(&sample?.value?));
            }
            Ok(())
        });
        self.one("fan", Tier::Slow, |gpu| gpu.fan_speed(0).map(f64::from));
        self.one("clock/mem", Tier::Slow, |gpu| {
            gpu.clock_info(Clock::Memory).map(f64::from)
        });
        self.one("throttle", Tier::Slow, |gpu| {
            Ok(float(gpu.current_throttle_reasons()?.bits()))
        });
        self.one("ecc/corrected", Tier::Slow, |gpu| {
            gpu.total_ecc_errors(MemoryError::Corrected, EccCounter::Volatile)
                .map(float)
        });
        self.one("ecc/uncorrected", Tier::Slow, |gpu| {
            gpu.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile)
                .map(float)
        });
    }

    fn links(&mut self) {
        // Each call waits in the driver for 20 ms.
        self.one("pcie/recv", Tier::Slow, |gpu| {
            Ok(f64::from(gpu.pcie_throughput(PcieUtilCounter::Receive)?) * 1024.0)
        });
        self.one("pcie/sent", Tier::Slow, |gpu| {
            Ok(f64::from(gpu.pcie_throughput(PcieUtilCounter::Send)?) * 1024.0)
        });
        let names = ["nvlink/recv", "nvlink/sent"].map(|name| self.name(name));
        let mut rates = [Rate::default(); 2];
        self.call("nvlink", Tier::Slow, move |gpu, now, row| {
            let fields = [
                FieldId(field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX),
                FieldId(field_id::NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX),
            ];
            let samples = gpu.field_values_for(&fields)?;
            for ((sample, rate), name) in samples.into_iter().zip(&mut rates).zip(names) {
                let counted = match sample?.value? {
                    SampleValue::U64(count) => count,
                    SampleValue::U32(count) => count.into(),
                    _ => continue,
                };
                let rate = rate.per_second(counted, now.monotonic_ns);
                row.put_some(name, rate.map(|rate| rate * 1024.0));
            }
            Ok(())
        });
    }

    /// What processes of the job use.
    fn processes(&mut self, processes: &Processes) {
        let names = ["processes", "job/mem"].map(|name| self.name(name));
        let own = processes.clone();
        self.call("processes", Tier::Slow, move |gpu, _, row| {
            let all = gpu.running_compute_processes()?;
            row.put(names[0], float(all.len() as u64));
            let own = own.known_to_drivers();
            let used = all.iter().filter(|process| own.contains(&process.pid));
            let used: Vec<u64> = used
                .filter_map(|process| match process.used_gpu_memory {
                    UsedGpuMemory::Used(bytes) => Some(bytes),
                    UsedGpuMemory::Unavailable => None,
                })
                .collect();
            if !used.is_empty() {
                row.put(names[1], float(used.iter().sum()));
            }
            Ok(())
        });
        let id = self.name("job/util");
        let own = processes.clone();
        let mut seen = 0;
        self.call("utilization by process", Tier::Slow, move |gpu, _, row| {
            let samples = match gpu.process_utilization_stats(seen) {
                Err(NvmlError::NotFound | NvmlError::NoData) => return Ok(()),
                samples => samples?,
            };
            let new = samples.iter().filter(|sample| sample.timestamp > seen);
            let own = own.known_to_drivers();
            let own: Vec<u32> = new
                .filter(|sample| own.contains(&sample.pid))
                .map(|sample| sample.sm_util)
                .collect();
            seen = samples
                .iter()
                .map(|sample| sample.timestamp)
                .fold(seen, u64::max);
            if !own.is_empty() {
                row.put(id, own.into_iter().map(f64::from).sum());
            }
            Ok(())
        });
    }

    /// What the parts of the chip did between two ticks: Hopper and later.
    fn activity(&mut self) {
        let mut activity = Activity::new(self, "active");
        self.call("activity", Tier::Fast, move |gpu, now, row| {
            activity.read(gpu, None, now, row)
        });
    }

    /// The parts that a GPU was divided into. What they do is told by none but the counters of Hopper and
    /// later, and power belongs to the whole.
    fn instances(&mut self, known: &mut Instances) {
        let Ok(gpu) = self.driver.nvml.device_by_index(self.index) else {
            return;
        };
        if !gpu.mig_mode().is_ok_and(|mode| mode.current == 1) {
            return;
        }
        known.retain(|_, is_gone| !is_gone.load(Ordering::Relaxed));
        for number in 0..gpu.mig_device_count().unwrap_or(0).min(MOST_INSTANCES) {
            if !known.contains_key(&number) && gpu.mig_device_by_index(number).is_ok() {
                let is_gone = Arc::new(AtomicBool::new(false));
                self.instance(number, &is_gone);
                known.insert(number, is_gone);
            }
        }
    }

    fn instance(&mut self, number: u32, is_gone: &Arc<AtomicBool>) {
        let names = ["used", "total"].map(|name| self.name(&format!("mig{number}/mem/{name}")));
        let gone = is_gone.clone();
        self.call(
            &format!("mig{number}/memory"),
            Tier::Fast,
            move |gpu, _, row| {
                let memory = found(gpu, number, &gone)?.memory_info()?;
                row.put(names[0], float(memory.used));
                row.put(names[1], float(memory.total));
                Ok(())
            },
        );
        let (driver, gone) = (self.driver, is_gone.clone());
        let mut activity = Activity::new(self, &format!("mig{number}/active"));
        self.call(
            &format!("mig{number}/activity"),
            Tier::Fast,
            move |gpu, now, row| {
                let instance = driver.instance_of(&found(gpu, number, &gone)?)?;
                activity.read(gpu, Some(instance), now, row)
            },
        );
    }
}

/// The instances of a GPU that are read, by their numbers, each with whether it was seen to be gone.
pub(super) type Instances = HashMap<u32, Arc<AtomicBool>>;

/// No GPU is divided into more.
const MOST_INSTANCES: u32 = 64;

/// An instance by its number, each time anew: they are made anew at any time, and a handle that is kept
/// may be another's. One that is gone is read no more; the next of that number is found as it comes.
fn found(gpu: &Gpu, number: u32, is_gone: &AtomicBool) -> Result<Gpu, NvmlError> {
    gpu.mig_device_by_index(number)
        .map_err(|error| match error {
            NvmlError::NotFound => {
                is_gone.store(true, Ordering::Relaxed);
                NvmlError::NotSupported
            }
            other => other,
        })
}

const ACTIVITIES: [(&str, GpmMetricId); 4] = [
    ("sm", GpmMetricId::SmUtil),
    ("occupancy", GpmMetricId::SmOccupancy),
    ("tensor", GpmMetricId::AnyTensorUtil),
    ("dram", GpmMetricId::DramBwUtil),
];

/// What the parts of a chip, or of an instance of it, did between two samples.
struct Activity {
    nvml: &'static Nvml,
    names: [NameId; ACTIVITIES.len()],
    last: Option<Sample>,
}

struct Sample {
    at_ns: u64,
    instance: Option<u32>,
    counts: GpmSample<'static>,
}

impl Activity {
    fn new(getters: &mut Getters<'_>, folder: &str) -> Self {
        Self {
            nvml: &getters.driver.nvml,
            names: ACTIVITIES.map(|(name, _)| getters.name(&format!("{folder}/{name}"))),
            last: None,
        }
    }

    fn read(
        &mut self,
        gpu: &Gpu,
        instance: Option<u32>,
        now: Moment,
        row: &mut Row,
    ) -> Result<(), NvmlError> {
        if self.last.is_none() && !gpu.gpm_support()? {
            return Err(NvmlError::NotSupported);
        }
        // One that was made anew has counts of its own.
        self.last.take_if(|last| last.instance != instance);
        if let Some(last) = &self.last
            && now.monotonic_ns.saturating_sub(last.at_ns) < LEAST_GPM_NS
        {
            return Ok(());
        }
        let counts = match instance {
            Some(instance) => gpu.gpm_mig_sample(instance)?,
            None => gpu.gpm_sample()?,
        };
        if let Some(last) = &self.last {
            let ids = ACTIVITIES.map(|(_, id)| id);
            let found = gpm_metrics_get(self.nvml, &last.counts, &counts, &ids)?;
            for (metric, name) in found.into_iter().zip(self.names) {
                row.put_some(name, metric.ok().map(|metric| metric.value));
            }
        }
        self.last = Some(Sample {
            at_ns: now.monotonic_ns,
            instance,
            counts,
        });
        Ok(())
    }
}

/// The least time between two samples of activity.
const LEAST_GPM_NS: u64 = 100_000_000;

#[allow(clippy::cast_precision_loss)] // Nothing is counted beyond 2^53.
fn number(value: &SampleValue) -> f64 {
    match value {
        SampleValue::F64(value) => *value,
        SampleValue::U32(value) => f64::from(*value),
        SampleValue::U64(value) => *value as f64,
        SampleValue::I64(value) => *value as f64,
    }
}
