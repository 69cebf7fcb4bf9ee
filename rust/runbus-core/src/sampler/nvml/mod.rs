//! GPUs of NVIDIA, by the driver's library, which is loaded if there is one.

mod device;
mod library;

use std::collections::HashMap;
use std::path::PathBuf;

use super::engine::Finder;
use super::getter::Getter;
use super::host::Processes;
use super::late::Late;
use super::row::Row;
use super::wanted::Gpus;
use device::Instances;
use library::Driver;

/// No machine has more.
const MOST_GPUS: u32 = 128;

/// Finds GPUs as they come.
pub struct NvidiaGpus {
    driver: Late<&'static Driver>,
    wanted: Gpus,
    processes: Processes,
    /// By the ids of GPUs.
    known: HashMap<String, Instances>,
}

impl NvidiaGpus {
    /// A finder of the GPUs that are wanted; `library` is the file of a driver other than the machine's.
    #[must_use]
    pub fn new(library: Option<PathBuf>, wanted: Gpus, processes: Processes) -> Self {
        Self {
            driver: Late::new(library, |path| library::load(path).ok()),
            wanted,
            processes,
            known: HashMap::new(),
        }
    }
}

impl Finder for NvidiaGpus {
    fn look(&mut self, row: &mut Row) -> Vec<Box<dyn Getter>> {
        let Some(driver) = self.driver.look() else {
            return Vec::new();
        };
        let mut getters = Vec::new();
        for index in 0..driver.nvml.device_count().unwrap_or(0).min(MOST_GPUS) {
            // One that is lost, or on its way, has none.
            let Ok(uuid) = driver
                .nvml
                .device_by_index(index)
                .and_then(|gpu| gpu.uuid())
            else {
                continue;
            };
            if !self.wanted.wants(index, &uuid) {
                continue;
            }
            let instances = self.known.entry(uuid).or_insert_with(|| {
                getters.extend(device::Getters::of(driver, index, &self.processes, row));
                Instances::default()
            });
            getters.extend(device::Getters::of_new(instances, driver, index, row));
        }
        getters
    }
}
