//! `MetricBell` and `MetricTail`: runs followed by the reader thread.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use runbus_core::follow::{Batch, Bell, Content, News, Tail};

use crate::gil::GilCell;

/// Wakes an event loop when runs have news.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct MetricBell {
    bell: Arc<Bell>,
}

#[pymethods]
impl MetricBell {
    #[new]
    fn new() -> PyResult<Self> {
        let bell = Arc::new(Bell::new()?);
        Ok(Self { bell })
    }

    fn fileno(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    fn heard(&self) -> Vec<u64> {
        self.bell.heard()
    }

    #[pyo3(signature = (key, folder, positions, window_ns, last_attempt))]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "pyo3 hands over what it made"
    )]
    fn follow(
        &self,
        key: u64,
        folder: PathBuf,
        positions: HashMap<String, u64>,
        window_ns: u64,
        last_attempt: Option<u64>,
    ) -> PyResult<MetricTail> {
        let last_attempt = last_attempt.unwrap_or(u64::MAX);
        let tail = self
            .bell
            .follow(key, &folder, positions, to_i64(window_ns), last_attempt)?;
        Ok(MetricTail {
            tail: GilCell::new(Some(tail)),
            names: GilCell::default(),
        })
    }
}

fn to_i64(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// The names of one writer so far, as Python has them.
#[derive(Default)]
struct Names {
    strings: Vec<Py<PyString>>,
    tuple: Option<Py<PyTuple>>,
}

impl Names {
    fn with<'py>(&mut self, py: Python<'py>, new: &[Box<str>]) -> PyResult<&Bound<'py, PyTuple>> {
        if !new.is_empty() {
            let new = new.iter().map(|name| PyString::new(py, name).unbind());
            self.strings.extend(new);
            self.tuple = None;
        }
        let tuple = match &mut self.tuple {
            Some(tuple) => tuple,
            place => place.insert(PyTuple::new(py, &self.strings)?.unbind()),
        };
        Ok(tuple.bind(py))
    }
}

/// Follows a run.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct MetricTail {
    tail: GilCell<Option<Tail>>,
    names: GilCell<HashMap<Arc<str>, Names>>,
}

#[pymethods]
impl MetricTail {
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some(news) = self.tail.borrow(py).as_ref().and_then(Tail::take) else {
            return Ok(None);
        };
        let News {
            batches,
            failures,
            has_begun,
            is_drained,
            ..
        } = news;
        let batches: Vec<_> = batches
            .into_iter()
            .map(|batch| self.converted(py, &batch))
            .collect::<PyResult<_>>()?;
        (batches, failures, has_begun, is_drained)
            .into_pyobject(py)
            .map(Some)
    }

    fn drain(&self, py: Python<'_>) {
        if let Some(tail) = &*self.tail.borrow(py) {
            tail.drain();
        }
    }

    fn reach(&self, py: Python<'_>, attempt: u64) {
        if let Some(tail) = &*self.tail.borrow(py) {
            tail.reach(attempt);
        }
    }

    fn set_window_ns(&self, py: Python<'_>, width_ns: u64) {
        if let Some(tail) = &*self.tail.borrow(py) {
            tail.set_window_ns(to_i64(width_ns));
        }
    }

    fn close(&self, py: Python<'_>) {
        self.tail.borrow(py).take();
    }
}

impl MetricTail {
    /// Writer, names, position, width of the windows or 0, series, the other columns, and the integers
    /// that are not in these.
    fn converted<'py>(&self, py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyTuple>> {
        // Not while it is borrowed: a tuple may start the garbage collector and so Python code.
        let known = self.names.borrow(py).remove(&batch.writer);
        let mut known = known.unwrap_or_default();
        let names = known.with(py, &batch.new_names)?.clone();
        let writer = Arc::clone(&batch.writer);
        self.names.borrow(py).insert(writer, known);
        let (width_ns, series, columns): (i64, &[u8], Vec<&[u8]>) = match &batch.content {
            Content::Points(points) => (
                0,
                &points.series,
                vec![&points.steps, &points.times, &points.values],
            ),
            Content::Windows { width_ns, rows } => {
                let columns = rows.integers.iter().chain(&rows.numbers);
                (
                    *width_ns,
                    &rows.series,
                    columns.map(Vec::as_slice).collect(),
                )
            }
        };
        let columns = columns.into_iter().map(|column| PyBytes::new(py, column));
        let integers = match &batch.content {
            Content::Points(points) => points.integers.clone(),
            Content::Windows { .. } => Vec::new(),
        };
        let writer = PyString::new(py, &batch.writer);
        (
            writer,
            names,
            batch.position,
            width_ns,
            PyBytes::new(py, series),
            columns.collect::<Vec<_>>(),
            integers,
        )
            .into_pyobject(py)
    }
}
