//! `Sampler` and `Machine`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runbus_core::sampler::{
    self, Clock, Cost, Engine, Gpus, Host, Place, Processes, Rhythm, RunJournal, SharedJournal,
    Standing, SystemClock, Tier,
};

use crate::errors::to_python;

/// What is sampled, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct What {
    prefix: String,
    proc: PathBuf,
    sys: PathBuf,
    folder: Option<PathBuf>,
    /// None for the first of this process's session.
    root: Option<u32>,
    heaviest: usize,
    nvml: Option<PathBuf>,
    rocm: Option<PathBuf>,
    /// "own", "all", or numbers.
    gpus: Wanted,
    visible: Option<String>,
    visible_amd: Option<String>,
}

#[derive(FromPyObject)]
enum Wanted {
    Named(String),
    These(Vec<u32>),
}

impl From<What> for sampler::Machine {
    fn from(what: What) -> Self {
        let gpus = |visible| match &what.gpus {
            Wanted::These(numbers) => Gpus::These(numbers.clone()),
            Wanted::Named(name) if name == "all" => Gpus::All,
            Wanted::Named(_) => Gpus::Own(visible),
        };
        Self {
            nvidia: (what.nvml, gpus(what.visible)),
            amd: (what.rocm, gpus(what.visible_amd)),
            prefix: what.prefix,
            host: Host {
                proc: what.proc,
                sys: what.sys,
                folder: what.folder,
                root: what.root,
                is_beside: false,
                heaviest: what.heaviest,
            },
        }
    }
}

fn seconds(given: f64, what: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given)
        .ok()
        .filter(|time| *time >= Duration::from_millis(1) && *time <= Duration::from_secs(86_400))
        .ok_or_else(|| PyValueError::new_err(format!("{what} must be 0.001 to 86400 seconds")))
}

fn rhythm(every: f64, slow_every: f64, budget: f64) -> PyResult<Rhythm> {
    if !(budget > 0.0 && budget <= 1.0) {
        return Err(PyValueError::new_err(
            "budget must be above 0 and at most 1",
        ));
    }
    Ok(Rhythm {
        every: seconds(every, "every")?,
        slow_every: seconds(slow_every, "slow_every")?,
        budget,
        ..Rhythm::default()
    })
}

/// A time that may be none at all.
fn longer(given: f64, what: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(given)
        .ok()
        .filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(|| PyValueError::new_err(format!("{what} must be 0 to 86400 seconds")))
}

type CostTuple = (String, bool, u64, u64, u64, u64, bool, bool, String);

fn told(costs: Vec<Cost>) -> Vec<CostTuple> {
    let one = |cost: Cost| {
        let (is_read, reason) = match cost.standing {
            Standing::Read => (true, String::new()),
            Standing::Failing(reason) => (true, reason),
            Standing::Ended(reason) => (false, reason),
        };
        let is_fast = cost.tier == Tier::Fast;
        let (first, usual, most) = (cost.first_ns, cost.usual_ns, cost.most_ns);
        (
            cost.name,
            is_fast,
            first,
            usual,
            most,
            cost.every_ns,
            cost.is_slowed,
            is_read,
            reason,
        )
    };
    costs.into_iter().map(one).collect()
}

/// Samples a machine into a journal of its own, in a thread without the GIL.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Sampler {
    sampler: sampler::Sampler,
    journal: SharedJournal,
}

#[pymethods]
impl Sampler {
    #[new]
    #[pyo3(signature = (path, run, what, /, *, every=1.0, slow_every=10.0, window=0.0, after=0.0, budget=0.001, sync_ms=Some(100), host=None, instead_of=None))]
    #[allow(clippy::too_many_arguments)] // By name, in Python.
    fn new(
        path: PathBuf,
        run: PathBuf,
        what: What,
        every: f64,
        slow_every: f64,
        window: f64,
        after: f64,
        budget: f64,
        sync_ms: Option<u64>,
        host: Option<String>,
        instead_of: Option<u32>,
    ) -> PyResult<Self> {
        let rhythm = Rhythm {
            window: longer(window, "window")?,
            ..rhythm(every, slow_every, budget)?
        };
        let after = longer(after, "after")?;
        let journal = SharedJournal::waiting();
        let host = host.unwrap_or_else(sampler::host_name);
        if let Some(attempt) = instead_of {
            // Without room for the file the other one continues.
            let _ = Place::ask(&run, &host, attempt);
        }
        let into = RunJournal {
            run,
            path,
            journal: journal.clone(),
            sync_every: sync_ms.map(|time| Duration::from_millis(time.max(1))),
            gives_way_to: Vec::new(),
            host,
        };
        let machine = what.into();
        let make = move |until: &dyn sampler::Wait| into.begin(machine, rhythm, after, until);
        let sampler = sampler::Sampler::start(make, SystemClock)?;
        Ok(Self { sampler, journal })
    }

    #[pyo3(signature = (state=0, *, longest=1.0))]
    fn close(&self, py: Python<'_>, state: u32, longest: f64) -> PyResult<bool> {
        let longest = Duration::try_from_secs_f64(longest).unwrap_or_default();
        py.detach(|| {
            if self.sampler.is_inherited() {
                return Ok(true);
            }
            let has_ended = self.sampler.stop(longest);
            match self.journal.close(state) {
                Some(closing) => closing.complete().map(|()| has_ended).map_err(to_python),
                None => Ok(has_ended),
            }
        })
    }

    fn wait_for_rows(&self, py: Python<'_>, rows: u64, longest: f64) -> bool {
        let longest = Duration::try_from_secs_f64(longest).unwrap_or_default();
        py.detach(|| self.sampler.wait_for_rows(rows, longest))
    }

    fn costs(&self) -> Vec<CostTuple> {
        told(self.sampler.costs())
    }
}

/// A machine that is read when asked.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Machine {
    engine: Mutex<Engine>,
    processes: Processes,
}

#[pymethods]
impl Machine {
    #[new]
    fn new(py: Python<'_>, what: What) -> Self {
        py.detach(|| {
            let once = Rhythm {
                slow_every: Rhythm::default().every,
                // A caller wants an answer, whatever it costs.
                budget: 1.0,
                ..Rhythm::default()
            };
            let (mut engine, processes) = sampler::Machine::from(what).engine(once);
            engine.begin(&SystemClock);
            Self {
                engine: Mutex::new(engine),
                processes,
            }
        })
    }

    fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values: Vec<(String, f64)> = py.detach(|| {
            let mut engine = self
                .engine
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let row = engine.tick(&SystemClock, SystemClock.wall_ns());
            row.iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        });
        let found = PyDict::new(py);
        for (name, value) in values {
            found.set_item(name, value)?;
        }
        Ok(found)
    }

    fn heaviest(&self) -> Vec<(u32, String, f64, u64, bool)> {
        let heavy = self.processes.heaviest().into_iter();
        heavy
            .map(|process| {
                let (pid, name) = (process.pid, process.name);
                (pid, name, process.cpu, process.resident, process.is_own)
            })
            .collect()
    }

    fn costs(&self, py: Python<'_>) -> Vec<CostTuple> {
        py.detach(|| {
            let engine = self
                .engine
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            told(engine.costs())
        })
    }
}
