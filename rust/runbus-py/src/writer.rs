//! `MetricWriter`, its `Series`, and `Journal`.

use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};
use runbus_core::clock::unix_ns;
use runbus_core::journal::{self, Durability, Error, Options, SchemaId};

use crate::convert::{Flat, name_text, step_of, value_of};
use crate::errors::to_python;
use crate::gil::GilCell;
use crate::names::{NameCache, ShapeCache};

fn log_error(error: Error) -> PyErr {
    match error {
        Error::Closed => PyValueError::new_err("log() on a finished run: its journal is closed"),
        error => to_python(error),
    }
}

struct State {
    journal: journal::MetricWriter,
    names: NameCache,
    shapes: ShapeCache,
    values: Vec<f64>,
}

impl State {
    #[inline]
    fn write(&mut self, schema: SchemaId, step: Option<i64>, values: &[f64]) -> Result<(), Error> {
        self.journal.log(schema, step, unix_ns(), values).map(drop)
    }
}

/// Writes the metrics of one run into one journal.
#[pyclass(subclass, frozen, module = "runbus._core")]
pub(crate) struct MetricWriter {
    state: GilCell<State>,
    durability: Durability,
    path: PathBuf,
}

#[pymethods]
impl MetricWriter {
    #[new]
    #[classmethod]
    #[pyo3(signature = (path, /, *args, **kwargs))]
    fn new(
        cls: &Bound<'_, PyType>,
        path: PathBuf,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let has_more = !args.is_empty() || kwargs.is_some_and(|kwargs| !kwargs.is_empty());
        if has_more && cls.is(cls.py().get_type::<Self>()) {
            return Err(PyTypeError::new_err(
                "MetricWriter takes one argument, the path",
            ));
        }
        let journal =
            journal::MetricWriter::create(&path, Options::default()).map_err(to_python)?;
        let durability = journal.durability();
        let state = State {
            journal,
            names: NameCache::new(),
            shapes: ShapeCache::new(),
            values: Vec::new(),
        };
        Ok(Self {
            state: GilCell::new(state),
            durability,
            path,
        })
    }

    #[pyo3(signature = (name_or_values, /, value=None, step=None))]
    fn log(
        &self,
        name_or_values: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        step: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let step = step_of(step)?;
        if name_or_values.is_exact_instance_of::<PyString>() {
            // SAFETY: the type was checked in the line above.
            let name = unsafe { name_or_values.cast_unchecked::<PyString>() };
            return self.log_scalar(name, value, step);
        }
        if let Ok(name) = name_or_values.cast::<PyString>() {
            let name = PyString::new(name.py(), name_text(name)?);
            return self.log_scalar(&name, value, step);
        }
        self.log_values(name_or_values, value, step)
    }

    /// One metric of the run with its name looked up once.
    fn series(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<Series> {
        let text = name_text(name)?;
        let schema = slf
            .get()
            .state
            .borrow(slf.py())
            .journal
            .schema(&[text])
            .map_err(to_python)?;
        Ok(Series {
            writer: slf.clone().unbind(),
            schema,
            name: text.to_owned(),
        })
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.durability.sync()).map_err(to_python)
    }

    #[pyo3(signature = (state=0))]
    fn close(&self, py: Python<'_>, state: u32) -> PyResult<()> {
        let closing = self.state.borrow(py).journal.close(state);
        // The slow part, without the GIL: another thread's log() is told that the run is finished.
        match closing {
            Some(closing) => py.detach(|| closing.complete()).map_err(to_python),
            None => Ok(()),
        }
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }

    #[getter]
    fn accepted(&self, py: Python<'_>) -> u64 {
        self.state.borrow(py).journal.accepted()
    }

    #[getter]
    fn dropped(&self, py: Python<'_>) -> u64 {
        self.state.borrow(py).journal.dropped()
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

impl MetricWriter {
    #[inline]
    fn log_scalar(
        &self,
        name: &Bound<'_, PyString>,
        value: Option<&Bound<'_, PyAny>>,
        step: Option<i64>,
    ) -> PyResult<()> {
        let number = value.and_then(|value| crate::convert::plain_value(value.as_borrowed()));
        let number = match number {
            Some(number) => number,
            None => scalar(name, value)?,
        };
        let mut state = self.state.borrow(name.py());
        if let Some(schema) = state.names.get(name.as_any().as_borrowed()) {
            return state.write(schema, step, &[number]).map_err(log_error);
        }
        drop(state);
        self.log_new_name(name, number, step)
    }

    /// A str object that is not in the cache.
    #[cold]
    fn log_new_name(
        &self,
        name: &Bound<'_, PyString>,
        value: f64,
        step: Option<i64>,
    ) -> PyResult<()> {
        let text = name_text(name)?;
        let mut state = self.state.borrow(name.py());
        let schema = state.journal.schema(&[text]).map_err(to_python)?;
        let evicted = state.names.put(name, schema);
        let result = state.write(schema, step, &[value]).map_err(log_error);
        drop(state);
        drop(evicted);
        result
    }

    fn log_values(
        &self,
        values: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        step: Option<i64>,
    ) -> PyResult<()> {
        if value.is_some_and(|value| !value.is_none()) {
            return Err(PyTypeError::new_err(
                "log() takes no value beside a mapping; pass the step as step=",
            ));
        }
        if let Ok(dict) = values.cast_exact::<PyDict>() {
            let mut guard = self.state.borrow(values.py());
            let state = &mut *guard;
            if let Some(schema) = state.shapes.read(dict, &mut state.values) {
                return state
                    .journal
                    .log(schema, step, unix_ns(), &state.values)
                    .map(drop)
                    .map_err(log_error);
            }
        }
        self.log_new_shape(values, step)
    }

    /// A mapping whose keys are not in the cache, or whose values are not plain numbers.
    #[cold]
    fn log_new_shape(&self, values: &Bound<'_, PyAny>, step: Option<i64>) -> PyResult<()> {
        let flat = Flat::of(values)?;
        if flat.names.is_empty() {
            let is_closed = self.state.borrow(values.py()).journal.is_closed();
            return if is_closed {
                Err(log_error(Error::Closed))
            } else {
                Ok(())
            };
        }
        let names: Vec<&str> = flat.names.iter().map(String::as_str).collect();
        let mut state = self.state.borrow(values.py());
        let schema = state.journal.schema(&names).map_err(to_python)?;
        let keys = flat
            .keys
            .filter(|_| values.is_exact_instance_of::<PyDict>());
        let evicted = keys.and_then(|keys| state.shapes.put(keys, schema));
        let result = state.write(schema, step, &flat.values).map_err(log_error);
        drop(state);
        drop(evicted);
        result
    }
}

/// A value that is no plain number, or `None`, which is also what a missing one is.
#[cold]
fn scalar(name: &Bound<'_, PyString>, value: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
    let name = name_text(name)?;
    match value {
        Some(value) => value_of(name, value),
        None => Err(PyTypeError::new_err(format!(
            "the value of metric '{name}' must be a number, not NoneType"
        ))),
    }
}

/// One metric of a run with its name looked up once.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Series {
    writer: Py<MetricWriter>,
    schema: SchemaId,
    name: String,
}

#[pymethods]
impl Series {
    /// A run may keep its series: the collector must see through the circle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.writer)
    }

    #[pyo3(signature = (value, step=None))]
    fn append(&self, value: &Bound<'_, PyAny>, step: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let step = step_of(step)?;
        let number = value_of(&self.name, value)?;
        self.writer
            .get()
            .state
            .borrow(value.py())
            .write(self.schema, step, &[number])
            .map_err(log_error)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
}

/// Writes opaque records into one journal: the events.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Journal {
    writer: GilCell<journal::BlobWriter>,
    durability: Durability,
    path: PathBuf,
}

#[pymethods]
impl Journal {
    #[new]
    #[pyo3(signature = (path, *, append=true))]
    fn new(py: Python<'_>, path: PathBuf, append: bool) -> PyResult<Self> {
        // Reads the whole file to find its end, so not under the GIL.
        let writer = py.detach(|| {
            if append {
                journal::BlobWriter::open(&path, Options::default())
            } else {
                journal::BlobWriter::create(&path, Options::default())
            }
        });
        let writer = writer.map_err(to_python)?;
        let durability = writer.durability();
        Ok(Self {
            writer: GilCell::new(writer),
            durability,
            path,
        })
    }

    fn append(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>) -> PyResult<u64> {
        let result = self.writer.borrow(py).append(payload.as_bytes());
        result.map_err(to_python)
    }

    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.durability.sync()).map_err(to_python)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let closing = self.writer.borrow(py).close();
        match closing {
            Some(closing) => py.detach(|| closing.complete()).map_err(to_python),
            None => Ok(()),
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _exc_type: &Bound<'_, PyAny>,
        _exc_value: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close(py)
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }

    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.writer.borrow(py).is_closed()
    }
}
