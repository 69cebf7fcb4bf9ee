//! `MetricWriter`.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

mod caches;
mod flat;
mod group;
mod log;
mod series;
mod waiting;

pub(crate) use group::{Group, LogGroup};
pub(crate) use log::Log;
pub(crate) use series::{Append, Series};

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use runbus_core::Error;
use runbus_core::clock::unix_ns;
use runbus_core::journal::{self, Layout, Options, SchemaId};

use self::caches::{KeywordCache, NameCache, ShapeCache};
use self::waiting::{Waiting, fetch};
use crate::errors::to_python;
use crate::fastcall;
use crate::gil::GilCell;
use crate::reports::{gone, warn};
use crate::text::{name_text, type_name};

pub(crate) fn log_error(error: Error) -> PyErr {
    match error {
        Error::Closed => PyValueError::new_err("log() on a finished run: its journal is closed"),
        error => to_python(error),
    }
}

pub(crate) struct State {
    pub(crate) journal: journal::MetricWriter,
    names: NameCache,
    shapes: ShapeCache,
    keywords: KeywordCache,
    /// Made once, for the names and values of a row.
    row: Vec<(SchemaId, u64)>,
    /// The values on devices.
    pub(crate) waiting: Waiting,
}

impl State {
    #[inline(always)]
    pub(crate) fn write(
        &mut self,
        layout: &Layout,
        step: Option<i64>,
        values: &[f64],
    ) -> Result<(), Error> {
        self.journal.log(layout, step, unix_ns(), values).map(drop)
    }

    /// Write one value; without a schema there is no memory for its name, and it is dropped.
    pub(crate) fn write_one(
        &mut self,
        schema: Option<SchemaId>,
        step: Option<i64>,
        value: f64,
    ) -> Result<(), Error> {
        let layout = match schema {
            Some(schema) => Layout::Row {
                schema,
                order: None,
            },
            None => Layout::Each(Box::new([None])),
        };
        self.write(&layout, step, &[value])
    }
}

/// Writes the metrics of one run into one journal.
#[pyclass(subclass, frozen, module = "runbus._core")]
pub(crate) struct MetricWriter {
    pub(crate) state: GilCell<State>,
    /// Held while values are fetched from devices. A forked child that opens a journal has another one:
    /// this may be held for ever there.
    pub(crate) fetching: GilCell<Arc<Mutex<()>>>,
    /// Whether it was told that this is a forked child's copy.
    is_told: AtomicBool,
    /// Whether it was told that integers beyond 64 bits are rounded.
    is_rounding_told: AtomicBool,
    options: Options,
}

#[pymethods]
impl MetricWriter {
    #[new]
    #[classmethod]
    #[pyo3(signature = (path, /, *args, sync_ms=Some(100), sync_once=Vec::new(), **kwargs))]
    fn new(
        cls: &Bound<'_, PyType>,
        path: Option<PathBuf>,
        args: &Bound<'_, PyTuple>,
        sync_ms: Option<u64>,
        sync_once: Vec<PathBuf>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let more = kwargs.and_then(|kwargs| kwargs.keys().iter().next());
        if cls.is(cls.py().get_type::<Self>()) && (more.is_some() || !args.is_empty()) {
            return Err(PyTypeError::new_err(match more {
                Some(name) => format!("MetricWriter got an unexpected keyword argument '{name}'"),
                None => "MetricWriter takes one positional argument, the path".into(),
            }));
        }
        if sync_ms == Some(0) {
            return Err(PyValueError::new_err("sync_ms must be at least 1, or None"));
        }
        let options = Options {
            sync_every: sync_ms.map(Duration::from_millis),
            ends_with_process: true,
            ..Options::default()
        };
        let journal = match path {
            Some(path) => journal::MetricWriter::create(&path, options),
            None => journal::MetricWriter::nowhere(Path::new("")),
        };
        let journal = journal.map_err(to_python)?;
        journal.sync_once(sync_once);
        let state = State {
            journal,
            names: NameCache::new(),
            shapes: ShapeCache::new(),
            keywords: KeywordCache::new(),
            row: Vec::new(),
            waiting: Waiting::default(),
        };
        Ok(Self {
            state: GilCell::new(state),
            fetching: GilCell::default(),
            is_told: AtomicBool::new(false),
            is_rounding_told: AtomicBool::new(false),
            options,
        })
    }

    #[classmethod]
    fn __init_subclass__(cls: &Bound<'_, PyType>) -> PyResult<()> {
        fastcall::inherit::<Log>(cls)
    }

    /// One metric of the run with its name looked up once.
    fn series(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<Series> {
        let text = name_text(name)?;
        let schema = slf
            .get()
            .state
            .borrow(slf.py())
            .journal
            .name(text)
            .map_err(to_python)?;
        Ok(Series::new(slf, schema, text))
    }

    /// Some metrics of the run with their names looked up once.
    #[pyo3(signature = (*names))]
    fn group(slf: &Bound<'_, Self>, names: &Bound<'_, PyTuple>) -> PyResult<Group> {
        let names = names
            .iter()
            .map(|name| {
                name.cast_into::<PyString>().map_err(|error| {
                    let found = type_name(&error.into_inner());
                    PyTypeError::new_err(format!("metric names must be str, not {found}"))
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let texts = names.iter().map(name_text).collect::<PyResult<Vec<_>>>()?;
        let layout = slf
            .get()
            .state
            .borrow(slf.py())
            .journal
            .layout(&texts)
            .map_err(to_python)?;
        Ok(Group::new(slf, layout, &texts))
    }

    fn fetch(&self, py: Python<'_>) {
        fetch(self, py);
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        fetch(self, py);
        self.look_for_file(py)?;
        let durability = {
            let state = self.state.borrow(py);
            if state.journal.is_inherited() {
                return Ok(());
            }
            state.journal.durability()
        };
        py.detach(|| durability.sync()).map_err(to_python)
    }

    #[pyo3(signature = (path, /))]
    #[allow(clippy::needless_pass_by_value)] // As it is handed over.
    fn open_journal(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let mut state = self.state.borrow(py);
        if !state.journal.is_inherited() || state.journal.is_closed() {
            return Ok(());
        }
        if state.journal.is_forked() {
            // They are the parent's, and so are the devices.
            std::mem::forget(state.waiting.take());
            *self.fetching.borrow(py) = Arc::default();
        }
        state.journal.open(&path, self.options).map_err(to_python)
    }

    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        fetch(self, py);
        let mut state = self.state.borrow(py);
        if state.journal.is_inherited() {
            return Ok(());
        }
        let closing = state.journal.let_go(0).map_err(to_python)?;
        drop(state);
        closing.map_or(Ok(()), |closing| {
            py.detach(|| closing.complete()).map_err(to_python)
        })
    }

    fn leave(&self, py: Python<'_>, fallback: u32) {
        self.state.borrow(py).journal.leave(fallback);
    }

    #[pyo3(signature = (state=0))]
    fn close(&self, py: Python<'_>, state: u32) -> PyResult<()> {
        fetch(self, py);
        self.look_for_file(py)?;
        let closing = self.state.borrow(py).journal.close(state);
        // The slow part, without the GIL: another thread's log() is told that the run is finished.
        match closing {
            Some(closing) => py.detach(|| closing.complete()).map_err(to_python),
            None => Ok(()),
        }
    }

    #[getter]
    fn path(&self, py: Python<'_>) -> OsString {
        self.state.borrow(py).journal.path().into()
    }

    #[getter]
    fn accepted(&self, py: Python<'_>) -> PyResult<u64> {
        self.look_for_file(py)?;
        Ok(self.state.borrow(py).journal.accepted())
    }

    #[getter]
    fn dropped(&self, py: Python<'_>) -> PyResult<u64> {
        self.look_for_file(py)?;
        let state = self.state.borrow(py);
        Ok(state.journal.dropped() + state.waiting.dropped)
    }

    #[getter]
    fn last_step(&self, py: Python<'_>) -> Option<i64> {
        self.state.borrow(py).journal.last_step()
    }

    fn continue_after(&self, py: Python<'_>, step: i64) {
        self.state.borrow(py).journal.continue_after(step);
    }

    #[getter]
    fn is_open(&self, py: Python<'_>) -> bool {
        let state = self.state.borrow(py);
        !state.journal.is_closed() && !state.journal.is_inherited()
    }

    #[getter]
    fn waiting(&self, py: Python<'_>) -> usize {
        self.state.borrow(py).waiting.len()
    }

    #[getter]
    fn stalls(&self, py: Python<'_>) -> u64 {
        self.state.borrow(py).waiting.stalls
    }

    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.state.borrow(py).journal.is_closed()
    }

    #[getter]
    fn last_error(&self, py: Python<'_>) -> Option<String> {
        self.state
            .borrow(py)
            .journal
            .last_error()
            .map(str::to_owned)
    }
}

/// Have a journal of this process, if the class knows where: a forked child's copy has none, nor has a
/// run that another process handed over. It is the first call of those that log.
pub(crate) fn arrive(this: &Bound<'_, MetricWriter>) -> PyResult<()> {
    {
        let state = this.get().state.borrow(this.py());
        if !state.journal.is_inherited() || state.journal.is_closed() {
            return Ok(());
        }
    }
    match this.getattr_opt(intern!(this.py(), "_arrive"))? {
        Some(arrive) => arrive.call0().map(drop),
        None => Ok(()),
    }
}

/// Say once that what is logged here is lost, where the class does not.
pub(crate) fn tell_if_forked(this: &Bound<'_, MetricWriter>) -> PyResult<()> {
    let (writer, py) = (this.get(), this.py());
    if !writer.state.borrow(py).journal.is_forked()
        || this.hasattr(intern!(py, "_arrive"))?
        || writer.is_told.swap(true, Relaxed)
    {
        return Ok(());
    }
    let text = format!(
        "{}: process {} was forked from the one that opened the journal, and what it logs is lost",
        writer.state.borrow(py).journal.path().display(),
        std::process::id()
    );
    warn(py, &text)
}

/// Say once that an integer was rounded.
pub(crate) fn tell_rounded(this: &Bound<'_, MetricWriter>, name: &str) -> PyResult<()> {
    if this.get().is_rounding_told.swap(true, Relaxed) {
        return Ok(());
    }
    let text = format!(
        "metric '{name}': an integer beyond 64 bits is stored as the nearest double, and so are those \
         that follow"
    );
    warn(this.py(), &text)
}

impl MetricWriter {
    /// Notice that somebody has removed the journal, and say so once.
    fn look_for_file(&self, py: Python<'_>) -> PyResult<()> {
        let path = {
            let mut state = self.state.borrow(py);
            if !state.journal.look_for_file() {
                return Ok(());
            }
            state.journal.path().display().to_string()
        };
        warn(py, &gone(&path))
    }
}
