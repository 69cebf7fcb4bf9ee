//! What `/proc` and the control groups tell of this machine and of the job on it.

mod cgroup;
mod children;
mod cpu;
mod devices;
mod kernel;
mod memory;
mod namespace;
mod process;
mod tree;

pub use tree::{Heavy, Processes};

use std::path::PathBuf;

use procfs_core::ProcResult;

use super::getter::{Getter, Trouble};
use super::row::Row;

/// What is read of a host.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where `/proc` is.
    pub proc: PathBuf,
    /// Where `/sys` is.
    pub sys: PathBuf,
    /// The folder whose disk may become full.
    pub folder: Option<PathBuf>,
    /// The first process of the job; without one, the first of our session.
    pub root: Option<u32>,
    /// Whether this process, which may be below the first, is none of the job.
    pub is_beside: bool,
    /// How many of the heaviest processes are known: with none, the others of the machine are only counted.
    pub heaviest: usize,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            folder: None,
            root: Some(std::process::id()),
            is_beside: false,
            heaviest: 10,
        }
    }
}

impl Host {
    /// What reads it. What this machine does not have, the first reading tells.
    pub fn getters(&self, row: &mut Row) -> (Vec<Box<dyn Getter>>, Processes) {
        let (proc, sys) = (&*self.proc, &*self.sys);
        let own = std::process::id();
        let root = match self.root {
            Some(root) => namespace::shown(proc, root),
            None => namespace::first_of_session(proc).unwrap_or(own),
        };
        let processes = Processes::default();
        if self.is_beside {
            processes.leave_out(namespace::shown(proc, own));
        }
        let mut all: Vec<Box<dyn Getter>> = vec![
            // First: others read what it finds.
            Box::new(tree::Look::new(proc, root, self.heaviest, &processes, row)),
            Box::new(children::Children::new(proc, root, &processes)),
            Box::new(tree::Job::new(proc, &processes, row)),
            Box::new(cpu::Cpu::new(proc, row)),
            Box::new(memory::Memory::new(proc, row)),
            Box::new(devices::Disks::new(proc, sys, row)),
            Box::new(devices::Network::new(proc, row)),
            Box::new(cpu::Cores::new(proc)),
            Box::new(cpu::Frequency::new(proc, sys, row)),
            Box::new(kernel::Load::new(proc, row)),
            Box::new(kernel::Up::new(proc, row)),
            Box::new(kernel::OpenFiles::new(proc, row)),
            Box::new(kernel::Faults::new(proc, row)),
        ];
        for pressure in memory::Pressure::of_all(proc, row) {
            all.push(Box::new(pressure));
        }
        if let Some(groups) = cgroup::Groups::of(proc, sys, root) {
            let memory = cgroup::Memory::new(&groups, row).map(boxed);
            let cpu = cgroup::Cpu::new(&groups, row).map(boxed);
            let events = cgroup::Events::new(&groups, row).map(boxed);
            all.extend([memory, cpu, events].into_iter().flatten());
        }
        if let Some(folder) = &self.folder {
            all.push(Box::new(devices::Usage::new(folder.clone(), row)));
        }
        (all, processes)
    }
}

fn boxed(getter: impl Getter + 'static) -> Box<dyn Getter> {
    Box::new(getter)
}

/// What a file holds, or why that cannot be told.
fn parsed<T>(file: &str, result: ProcResult<T>) -> Result<T, Trouble> {
    result.map_err(|error| Trouble::Failed(format!("{file}: {error}")))
}
