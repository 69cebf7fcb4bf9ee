//! `Sampler` and `Machine`.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runbus_core::journal::Options;
use runbus_core::sampler::{
    self, AmdGpus, Clock, Cost, Engine, Finder, Gpus, Host, JournalSink, NvidiaGpus, Place,
    Processes, Rhythm, Row, SharedJournal, Sink, Standby, Standing, SystemClock, Tier,
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
    root: u32,
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

impl What {
    fn engine(self, rhythm: Rhythm) -> (Engine, Processes) {
        let mut row = Row::new(&self.prefix);
        let host = Host {
            proc: self.proc,
            sys: self.sys,
            folder: self.folder,
            root: self.root,
            heaviest: self.heaviest,
        };
        let (getters, processes) = host.getters(&mut row);
        let gpus = |visible| match &self.gpus {
            Wanted::These(numbers) => Gpus::These(numbers.clone()),
            Wanted::Named(name) if name == "all" => Gpus::All,
            Wanted::Named(_) => Gpus::Own(visible),
        };
        let nvidia = NvidiaGpus::new(self.nvml, gpus(self.visible), processes.clone());
        let amd = AmdGpus::new(self.rocm, gpus(self.visible_amd), processes.clone());
        let finders: Vec<Box<dyn Finder>> = vec![Box::new(nvidia), Box::new(amd)];
        (Engine::new(rhythm, row, getters, finders), processes)
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

/// How often a process looks whether the one that samples has ended.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(1);

/// A sink that has the host's place as long as the thread lasts.
struct Placed(JournalSink, #[expect(dead_code, reason = "held")] Place);

impl Sink for Placed {
    fn take(&mut self, wall_ns: i64, row: &Row) -> bool {
        self.0.take(wall_ns, row)
    }
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
    #[pyo3(signature = (path, place, what, /, *, every=1.0, slow_every=10.0, window=0.0, after=0.0, budget=0.001, sync_ms=Some(100)))]
    #[allow(clippy::too_many_arguments)] // By name, in Python.
    fn new(
        path: PathBuf,
        place: PathBuf,
        what: What,
        every: f64,
        slow_every: f64,
        window: f64,
        after: f64,
        budget: f64,
        sync_ms: Option<u64>,
    ) -> PyResult<Self> {
        let rhythm = Rhythm {
            window: longer(window, "window")?,
            ..rhythm(every, slow_every, budget)?
        };
        let after = longer(after, "after")?;
        let options = Options {
            // A call for each row costs nothing beside reading it, and no memory.
            is_mapped: false,
            sync_every: sync_ms.map(|time| Duration::from_millis(time.max(1))),
            ..Options::default()
        };
        let journal = SharedJournal::waiting();
        let theirs = journal.clone();
        let make = move |standby: &Standby<'_>| {
            // Most jobs that are over by then need no driver, no look at all processes and no file.
            if !after.is_zero() && standby.wait(after) {
                return None;
            }
            let place = loop {
                match Place::take(&place) {
                    Ok(Some(place)) => break place,
                    // The run is gone, or its disk: there is nothing to sample for.
                    Err(_) => return None,
                    Ok(None) if standby.wait(WAIT_FOR_PLACE) => return None,
                    Ok(None) => {}
                }
            };
            if !theirs.open(&path, options).ok()? {
                return None;
            }
            let (engine, _) = what.engine(rhythm);
            let sink: Box<dyn Sink> = Box::new(Placed(JournalSink::new(theirs), place));
            Some((engine, sink))
        };
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
            let (mut engine, processes) = what.engine(once);
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
