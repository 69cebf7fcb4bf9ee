//! GPUs of AMD, by the library of `ROCm`, which is loaded if there is one.

mod clocks;
mod device;
mod library;

use std::collections::HashSet;
use std::path::PathBuf;

use super::engine::Finder;
use super::getter::Getter;
use super::host::Processes;
use super::late::Late;
use super::row::Row;
use super::wanted::Gpus;
use library::Rocm;

/// No machine has more.
const MOST_GPUS: u32 = 128;

/// Finds GPUs as they come.
///
/// They have the first numbers that no other GPU of the machine has: those of NVIDIA are looked for before.
pub struct AmdGpus {
    rocm: Late<Rocm>,
    wanted: Gpus,
    processes: Processes,
    known: HashSet<u64>,
}

impl AmdGpus {
    /// A finder of the GPUs that are wanted; `library` is the file of a library other than the machine's.
    #[must_use]
    pub fn new(library: Option<PathBuf>, wanted: Gpus, processes: Processes) -> Self {
        Self {
            rocm: Late::new(library, |path| Rocm::load(path).ok()),
            wanted,
            processes,
            known: HashSet::new(),
        }
    }
}

impl Finder for AmdGpus {
    fn look(&mut self, row: &mut Row) -> Vec<Box<dyn Getter>> {
        let Some(rocm) = self.rocm.look() else {
            return Vec::new();
        };
        let mut getters = Vec::new();
        for index in 0..rocm.count().unwrap_or(0).min(MOST_GPUS) {
            // Cards that have no id are told apart by their places.
            let id = rocm.of(c"rsmi_dev_unique_id_get", index);
            let id = id.unwrap_or_else(|_| index.into());
            let is_wanted = self.wanted.wants(index, &format!("GPU-{id:016x}"));
            if is_wanted && self.known.insert(id) {
                let device = free_name(row);
                getters.extend(device::getters(rocm, index, &device, &self.processes, row));
            }
        }
        getters
    }
}

/// The first name of a GPU that has no series.
fn free_name(row: &Row) -> String {
    let mut names = (0..).map(|number| format!("gpu{number}"));
    let free = names.find(|name| !row.has_name(&format!("{name}/util")));
    free.unwrap_or_default()
}
