//! `MetricWriter`.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyTuple, PyType};
use runbus_core::clock::unix_ns;
use runbus_core::journal::{self, Error, Layout, Options, SchemaId};

use crate::convert::{Flat, name_text, type_name};
use crate::devices::{self, Value, Waiting, all_known, write_partly};
use crate::errors::to_python;
use crate::fastcall::{self, Arguments, Method, Object};
use crate::gil::GilCell;
use crate::names::{Key, KeywordCache, NameCache, ShapeCache};
use crate::numbers::{plain_step, plain_value, step_of, value_or_device};
use crate::reports::{gone, warn};
use crate::series::{Group, Series};

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

/// The names of larger dicts are not remembered one by one: others would have to make room.
const MAX_NAMED_KEYS: usize = 64;

impl State {
    /// Remember the names of a row one by one, for rows that have others of them; returns what had to
    /// make room, to be dropped when the writer is free.
    fn remember_names(&mut self, py: Python<'_>, keys: &[Key]) -> Vec<Py<PyString>> {
        let mut evicted = Vec::new();
        for key in keys {
            let name = key.name.bind(py);
            let known = self.names.get(name.as_any().as_borrowed());
            // They were checked just now.
            let text = name.to_str().ok().filter(|_| known.is_none());
            if let Some(text) = text
                && let Ok(Some(schema)) = self.journal.name(text)
            {
                evicted.extend(self.names.put(name, schema));
            }
        }
        evicted
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
        let has_more = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if has_more && cls.is(cls.py().get_type::<Self>()) {
            return Err(PyTypeError::new_err(
                "MetricWriter takes one argument, the path, sync_ms= and sync_once=",
            ));
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
        devices::fetch(self, py);
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        devices::fetch(self, py);
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
        devices::fetch(self, py);
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
        devices::fetch(self, py);
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

/// `MetricWriter.log`.
pub(crate) struct Log;

impl Method for Log {
    type Class = MetricWriter;
    const NAME: &'static CStr = c"log";
    const DOC: &'static CStr = c"log($self, name_or_values=None, /, value=None, step=None, **values)\n--\n\nWrite one value, or several as one row.";

    #[inline]
    fn fast(this: &MetricWriter, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        if let [name, value, step] = arguments.positional
            && arguments.names.is_none()
        {
            return this.log_known(py, *name, plain_value(*value)?, Some(plain_step(*step)?));
        }
        let step = match arguments.names {
            None => None,
            Some(_) if arguments.positional.is_empty() => {
                return this.log_known_keywords(py, arguments);
            }
            Some(_) => Some(plain_step(arguments.only(intern!(py, "step"))?)?),
        };
        match arguments.positional {
            [name, value] => this.log_known(py, *name, plain_value(*value)?, step),
            [values] => this
                .log_known_dict(py, *values, step)
                .or_else(|| this.log_known_names(py, *values, step)),
            _ => None,
        }
    }

    fn full(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        arrive(this)?;
        log_any(this, arguments)?;
        tell_if_forked(this)
    }
}

fn log_any(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let has_first = match arguments.positional {
        [] => false,
        [only] => !only.is_none(),
        _ => true,
    };
    if !has_first && arguments.names.is_some() {
        return log_keywords(this, arguments);
    }
    let [first, value, step] = arguments.bind("log", ["", "value", "step"])?;
    let first = first.ok_or_else(nothing_to_log)?;
    let step = step_of(step)?;
    if let Ok(name) = first.cast::<PyString>() {
        return log_scalar(this, &name, value, step);
    }
    if value.is_some_and(|value| !value.is_none()) && first.cast::<PyMapping>().is_ok() {
        return Err(PyTypeError::new_err(
            "log() takes no value beside a mapping; pass the step as step=",
        ));
    }
    log_values(this, &first, step)
}

fn nothing_to_log() -> PyErr {
    PyTypeError::new_err("log() missing 1 required positional argument: 'name_or_values'")
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

/// The usual calls: no Python code runs, and whatever is unusual is left to the others.
impl MetricWriter {
    #[inline(always)]
    fn log_known(
        &self,
        py: Python<'_>,
        name: Object<'_, '_>,
        value: f64,
        step: Option<i64>,
    ) -> Option<()> {
        let mut state = self.state.borrow(py);
        let schema = state.names.get(name)?;
        state.journal.log_one(schema, step, unix_ns(), value)
    }

    #[inline]
    fn log_known_dict(
        &self,
        py: Python<'_>,
        values: Object<'_, '_>,
        step: Option<i64>,
    ) -> Option<()> {
        let dict = values.cast_exact::<PyDict>().ok()?;
        let mut guard = self.state.borrow(py);
        let State {
            journal, shapes, ..
        } = &mut *guard;
        let shape = shapes.get(dict)?;
        let read = |places: &mut [u64]| shape.read(dict, places);
        journal.log_in_place(shape.schema, step, unix_ns(), read)
    }

    /// A dict of names that were all logged before, but not these together, or in another order.
    fn log_known_names(
        &self,
        py: Python<'_>,
        values: Object<'_, '_>,
        step: Option<i64>,
    ) -> Option<()> {
        let dict = values.cast_exact::<PyDict>().ok()?;
        let mut guard = self.state.borrow(py);
        let State {
            journal,
            names,
            row,
            ..
        } = &mut *guard;
        names.read(dict, row)?;
        journal.log_named(step, unix_ns(), row)
    }

    fn log_known_keywords(&self, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        let mut guard = self.state.borrow(py);
        let State {
            journal, keywords, ..
        } = &mut *guard;
        let site = keywords.get(arguments)?;
        let step = match site.step {
            Some(index) => Some(plain_step(*arguments.keywords.get(index)?)?),
            None => None,
        };
        let read = |places: &mut [u64]| site.read(arguments, places);
        journal.log_in_place(site.schema, step, unix_ns(), read)
    }
}

fn log_scalar(
    this: &Bound<'_, MetricWriter>,
    name: &Bound<'_, PyString>,
    value: Option<Object<'_, '_>>,
    step: Option<i64>,
) -> PyResult<()> {
    let text = name_text(name)?;
    let Some(value) = value else {
        return Err(PyTypeError::new_err(format!(
            "the value of metric '{text}' must be a number, not NoneType"
        )));
    };
    let value = match value_or_device(text, &value)? {
        Value::Known(value) => value,
        on_device @ Value::OnDevice(_) => {
            return write_partly(this, &[text], vec![on_device], step);
        }
    };
    let mut state = this.get().state.borrow(this.py());
    let schema = match state.names.get(name.as_any().as_borrowed()) {
        Some(schema) => Some(schema),
        None => state.journal.name(text).map_err(to_python)?,
    };
    let evicted = schema.and_then(|schema| state.names.put(name, schema));
    let result = state.write_one(schema, step, value).map_err(log_error);
    drop(state);
    drop(evicted);
    result
}

fn log_values(
    this: &Bound<'_, MetricWriter>,
    values: &Bound<'_, PyAny>,
    step: Option<i64>,
) -> PyResult<()> {
    let mut flat = Flat::of(values)?;
    let dict = values.cast_exact::<PyDict>().ok();
    let keys = dict.and_then(|dict| Some((dict.len(), flat.keys.take()?)));
    let mut evicted = (None, Vec::new());
    log_flat(this, flat, step, |state, layout| {
        let Some((length, keys)) = keys else { return };
        let is_flat = keys.iter().all(|key| key.inner.is_none());
        if is_flat && keys.len() <= MAX_NAMED_KEYS {
            evicted.1 = state.remember_names(this.py(), &keys);
        }
        evicted.0 = state.shapes.put(length, keys, layout);
    })
}

/// `log(step=3, loss=0.5, acc=0.9)`.
fn log_keywords(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let values = PyDict::new(this.py());
    let mut step = None;
    for (name, value) in arguments.named() {
        if name.to_str()? == "step" {
            step = Some(value);
        } else {
            values.set_item(name, value)?;
        }
    }
    if values.is_empty() {
        return Err(nothing_to_log());
    }
    let step = step_of(step)?;
    let flat = Flat::of(&values)?;
    let keys = flat.keys.as_ref();
    let is_flat = keys.is_some_and(|keys| keys.iter().all(|key| key.inner.is_none()));
    let mut evicted = None;
    log_flat(this, flat, step, |state, layout| {
        if is_flat {
            evicted = state.keywords.put(arguments, layout);
        }
    })
}

fn log_flat(
    this: &Bound<'_, MetricWriter>,
    flat: Flat,
    step: Option<i64>,
    remember: impl FnOnce(&mut State, &Layout),
) -> PyResult<()> {
    if flat.names.is_empty() {
        let is_closed = this.get().state.borrow(this.py()).journal.is_closed();
        return if is_closed {
            Err(log_error(Error::Closed))
        } else {
            Ok(())
        };
    }
    let names: Vec<&str> = flat.names.iter().map(String::as_str).collect();
    let Some(values) = all_known(&flat.values) else {
        return write_partly(this, &names, flat.values, step);
    };
    let mut state = this.get().state.borrow(this.py());
    let layout = state.journal.layout(&names).map_err(to_python)?;
    remember(&mut state, &layout);
    state.write(&layout, step, &values).map_err(log_error)
}
