//! `MetricReader` with its `Columns`, and `JournalReader`.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};
use runbus_core::Error;
use runbus_core::frame::Points;
use runbus_core::journal::{self, HEADER_BYTES, Span};

use crate::errors::to_python;

/// One `poll` returns no more bytes than this and the last record.
const MAX_POLL_BYTES: usize = 64 << 20;

// Readers are locked only in code without the GIL or for the moment of a getter, and nothing that
// holds the lock asks for the GIL.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn pairs(spans: &[Span]) -> Vec<(u64, u64)> {
    spans
        .iter()
        .map(|span| (span.offset, span.length))
        .collect()
}

/// New points as columns.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Columns {
    #[pyo3(get)]
    names: Py<PyList>,
    #[pyo3(get)]
    series: Py<PyBytes>,
    #[pyo3(get)]
    steps: Py<PyBytes>,
    #[pyo3(get)]
    times: Py<PyBytes>,
    #[pyo3(get)]
    values: Py<PyBytes>,
    count: usize,
}

#[pymethods]
impl Columns {
    fn __len__(&self) -> usize {
        self.count
    }
}

/// Reads a metrics journal.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct MetricReader {
    reader: Mutex<journal::MetricReader>,
    /// The names as Python strings, made once.
    names: Mutex<Vec<Py<PyString>>>,
    path: PathBuf,
}

#[pymethods]
impl MetricReader {
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        let reader = journal::MetricReader::open(&path).map_err(to_python)?;
        Ok(Self {
            reader: Mutex::new(reader),
            names: Mutex::default(),
            path,
        })
    }

    #[pyo3(signature = (max_points=65_536))]
    fn poll(&self, py: Python<'_>, max_points: usize) -> PyResult<Option<Columns>> {
        self.columns(py, max_points, journal::MetricReader::poll)
    }

    #[pyo3(signature = (max_points=65_536))]
    fn poll_rest(&self, py: Python<'_>, max_points: usize) -> PyResult<Option<Columns>> {
        self.columns(py, max_points, journal::MetricReader::poll_rest)
    }

    fn check(&self, py: Python<'_>) -> PyResult<Vec<(u64, u64)>> {
        py.detach(|| lock(&self.reader).check().map(pairs))
            .map_err(to_python)
    }

    fn seek(&self, py: Python<'_>, position: u64) -> PyResult<()> {
        py.detach(|| lock(&self.reader).seek(position))
            .map_err(to_python)
    }

    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut known = lock(&self.names);
        let first = known.len();
        let new: Vec<String> = lock(&self.reader)
            .names()
            .skip(first)
            .map(str::to_owned)
            .collect();
        known.extend(new.iter().map(|name| PyString::new(py, name).unbind()));
        let names: Vec<_> = known.iter().map(|name| name.clone_ref(py)).collect();
        // A list may start the garbage collector and so Python code: not under the lock.
        drop(known);
        PyList::new(py, names)
    }

    #[getter]
    fn position(&self) -> u64 {
        lock(&self.reader).position()
    }

    #[getter]
    fn damage(&self) -> Vec<(u64, u64)> {
        pairs(lock(&self.reader).damage())
    }

    #[getter]
    fn end_state(&self) -> PyResult<Option<u32>> {
        lock(&self.reader).end_state().map_err(to_python)
    }

    #[getter]
    fn is_live(&self) -> PyResult<bool> {
        lock(&self.reader).is_live().map_err(to_python)
    }

    #[getter]
    fn writer_pid(&self) -> u32 {
        lock(&self.reader).writer_pid().unwrap_or(0)
    }

    #[getter]
    fn created_ns(&self) -> i64 {
        lock(&self.reader).created_ns().unwrap_or(0)
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }
}

impl MetricReader {
    fn columns(
        &self,
        py: Python<'_>,
        max_points: usize,
        poll: fn(&mut journal::MetricReader, usize) -> Result<Points, Error>,
    ) -> PyResult<Option<Columns>> {
        if max_points == 0 {
            return Err(PyValueError::new_err("max_points must be at least 1"));
        }
        let points = py
            .detach(|| poll(&mut lock(&self.reader), max_points))
            .map_err(to_python)?;
        if points.count == 0 {
            return Ok(None);
        }
        let Points {
            count,
            series,
            steps,
            times,
            values,
        } = points;
        Ok(Some(Columns {
            names: self.names(py)?.unbind(),
            series: PyBytes::new(py, &series).unbind(),
            steps: PyBytes::new(py, &steps).unbind(),
            times: PyBytes::new(py, &times).unbind(),
            values: PyBytes::new(py, &values).unbind(),
            count,
        }))
    }
}

/// Follows an event journal.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct JournalReader {
    reader: Mutex<journal::BlobReader>,
    path: PathBuf,
}

#[pymethods]
impl JournalReader {
    #[new]
    #[pyo3(signature = (path, *, offset=0))]
    fn new(path: PathBuf, offset: u64) -> PyResult<Self> {
        if offset != 0 && (offset < HEADER_BYTES || !offset.is_multiple_of(8)) {
            return Err(PyValueError::new_err(format!(
                "offset must be 0 or the start of a record, not {offset}"
            )));
        }
        let reader = journal::BlobReader::open(&path, offset).map_err(to_python)?;
        Ok(Self {
            reader: Mutex::new(reader),
            path,
        })
    }

    #[pyo3(signature = (max_records=65_536))]
    fn poll<'py>(
        &self,
        py: Python<'py>,
        max_records: usize,
    ) -> PyResult<Vec<(u64, Bound<'py, PyBytes>)>> {
        if max_records == 0 {
            return Err(PyValueError::new_err("max_records must be at least 1"));
        }
        let blobs = py.detach(|| lock(&self.reader).poll(max_records, MAX_POLL_BYTES));
        let blobs = blobs.map_err(to_python)?;
        Ok(blobs
            .into_iter()
            .map(|(offset, blob)| (offset, PyBytes::new(py, &blob)))
            .collect())
    }

    #[getter]
    fn position(&self) -> u64 {
        lock(&self.reader).position()
    }

    #[getter]
    fn damage(&self) -> Vec<(u64, u64)> {
        pairs(lock(&self.reader).damage())
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }
}
