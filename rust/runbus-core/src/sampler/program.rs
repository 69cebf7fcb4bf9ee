//! What a program beside a job does: it samples the machine until it is told to end.
//!
//! All it knows is in the environment that the job has, too: the run, the attempt, how to sample, and
//! which GPUs are the job's.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

use super::asked::Asked;
use super::clock::{Clock, SystemClock};
use super::host::Host;
use super::journal::SharedJournal;
use super::machine::Machine;
use super::place::Place;
use super::run::RunJournal;
use super::thread::{self, Wait};
use super::wanted::Gpus;
use crate::os;

/// A job has lasted so long when anything is done for it.
const LASTED: Duration = Duration::from_secs(1);
/// What a power failure may take, as of any sampler.
const SYNC_EVERY: Duration = Duration::from_secs(5);
const VISIBLE_AMD: [&str; 3] = [
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
];
/// Of srun, of torchrun.
const NODES: [&str; 2] = ["SLURM_NODEID", "GROUP_RANK"];

/// Which job is sampled.
#[derive(Clone, Copy, Debug)]
pub enum Beside {
    /// That of a first process, which has lasted a second.
    Job {
        /// The first process.
        root: u32,
        /// What has started this process.
        wrapper: u32,
    },
    /// What a launcher starts on this machine: this process, its child, begins with it and ends with it.
    Tasks(u32),
}

/// Sample the machine of a job until SIGTERM of the process that has started this one, or its end.
///
/// SIGTERM of others is not for the sampler: a scheduler sends it to all that runs on the machine, and the
/// job may go on for as long as it is given. Nothing is sampled where the environment names no run, or says so, or where a process of the run
/// samples by itself.
pub fn sample_job(job: Beside) {
    let (root, parent) = match job {
        Beside::Job { root, wrapper } => (Some(root), wrapper),
        Beside::Tasks(parent) => (None, parent),
    };
    let until = UntilTold { by: parent };
    os::hold_back_term();
    if !os::end_with(parent) || (root.is_none() && until.wait(LASTED)) {
        return;
    }
    let Some((asked, samples)) = asked() else {
        return;
    };
    let journal = samples.journal.clone();
    let (run, path) = (samples.run.clone(), samples.path.clone());
    let machine = machine(root, run.clone(), asked.gpus.as_ref());
    let after = asked.after.saturating_sub(LASTED);
    if let Some((mut engine, mut sink)) = samples.begin(machine, asked.rhythm, after, &until) {
        give_to_owner(&run, &path);
        thread::run(
            &mut engine,
            &mut *sink,
            &SystemClock,
            &until,
            &mut |_, _| {},
        );
        // Nobody waits for a disk: what was written survives this process.
        if let Some(closing) = journal.close(0) {
            let _ = closing.complete_synced();
        }
    }
}

/// How this run is to be sampled, and where to.
fn asked() -> Option<(Asked, RunJournal)> {
    let run = PathBuf::from(env::var_os("RUNBUS_RUN")?);
    let attempt = env::var_os("RUNBUS_ATTEMPT").map(PathBuf::from)?;
    let attempt: u32 = attempt.file_name()?.to_str()?.parse().ok()?;
    let asked = Asked::parse(&env::var("RUNBUS_SYSTEM").unwrap_or_default())?;
    let (now, pid) = (SystemClock.wall_ns(), std::process::id());
    let metrics = metrics_of(&run).ok()?;
    let host = env::var("SLURMD_NODENAME").unwrap_or_else(|_| os::host_name());
    let samples = RunJournal {
        path: metrics.join(format!("{now:016x}-{pid}-a{attempt}-s-h.journal")),
        journal: SharedJournal::waiting(),
        sync_every: Some(SYNC_EVERY),
        gives_way_to: Place::asked(&run, &host, attempt).into(),
        host,
        run,
    };
    Some((asked, samples))
}

/// The folder of a run's metrics, made for its first writer: for those whom the run's own is for.
fn metrics_of(run: &Path) -> io::Result<PathBuf> {
    let metrics = run.join("metrics");
    match fs::DirBuilder::new().mode(0o700).create(&metrics) {
        Ok(()) => {
            fs::set_permissions(&metrics, fs::metadata(run)?.permissions())?;
            give_to_owner(run, &metrics);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(metrics)
}

/// Have what root has made in a container be that of the run's owner, who reads it outside.
fn give_to_owner(run: &Path, path: &Path) {
    if let Ok(run) = fs::metadata(run) {
        // Nobody else may do so, and need not.
        let _ = lchown(path, Some(run.uid()), Some(run.gid()));
    }
}

fn machine(root: Option<u32>, run: PathBuf, gpus: Option<&Gpus>) -> Machine {
    let text = |name: &str| env::var(name).ok();
    let file = |name| env::var_os(name).filter(|path: &OsString| !path.is_empty());
    let own = |visible| gpus.cloned().unwrap_or(Gpus::Own(visible));
    let node = NODES.into_iter().find_map(|name| text(name)?.parse().ok());
    let node: u32 = node.unwrap_or(0);
    Machine {
        prefix: if node == 0 {
            "sys/".to_owned()
        } else {
            format!("sys/node{node}/")
        },
        host: Host {
            folder: Some(run),
            root,
            is_beside: true,
            heaviest: 0,
            ..Host::default()
        },
        nvidia: (
            file("RUNBUS_NVML").map(PathBuf::from),
            own(text("CUDA_VISIBLE_DEVICES")),
        ),
        amd: (
            file("RUNBUS_ROCM_SMI").map(PathBuf::from),
            own(VISIBLE_AMD.into_iter().find_map(text)),
        ),
    }
}

/// Waits for SIGTERM of a process.
struct UntilTold {
    by: u32,
}

impl Wait for UntilTold {
    fn wait(&self, longest: Duration) -> bool {
        os::wait_for_term(self.by, longest)
    }
}
