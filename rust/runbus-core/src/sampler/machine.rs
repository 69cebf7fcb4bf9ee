//! All that is read of a machine: its host, and the GPUs of both vendors.

use std::path::PathBuf;

use super::engine::{Engine, Finder, Rhythm};
use super::host::{Host, Processes};
use super::nvml::NvidiaGpus;
use super::rocm::AmdGpus;
use super::row::Row;
use super::wanted::Gpus;

/// What is read of a machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What all names begin with.
    pub prefix: String,
    /// The host.
    pub host: Host,
    /// The file of NVIDIA's library, where the linker does not find it, and which of its GPUs.
    pub nvidia: (Option<PathBuf>, Gpus),
    /// The same of AMD's.
    pub amd: (Option<PathBuf>, Gpus),
}

impl Machine {
    /// What reads it, and what it knows of processes.
    #[must_use]
    pub fn engine(self, rhythm: Rhythm) -> (Engine, Processes) {
        let mut row = Row::new(&self.prefix);
        let (getters, processes) = self.host.getters(&mut row);
        let nvidia = NvidiaGpus::new(self.nvidia.0, self.nvidia.1, processes.clone());
        let amd = AmdGpus::new(self.amd.0, self.amd.1, processes.clone());
        let finders: Vec<Box<dyn Finder>> = vec![Box::new(nvidia), Box::new(amd)];
        (Engine::new(rhythm, row, getters, finders), processes)
    }
}
