//! The files of a run, read as one.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use runbus_core::aggregate::{Aggregate, Point};
use runbus_core::archive::{self, Wanted};
use runbus_core::segment;
use runbus_core::series::Steps;

use crate::columns::PySeriesData;
use crate::errors::to_python;
use crate::reader::pairs;

/// The first step, the one behind the last, and their distance.
type StepRange = (i64, Option<i64>, u64);

#[pyfunction]
#[pyo3(signature = (writers, patterns=None, steps=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn read_metrics(
    py: Python<'_>,
    writers: Vec<Vec<PathBuf>>,
    patterns: Option<Vec<String>>,
    steps: Option<StepRange>,
) -> PyResult<Vec<(String, PySeriesData)>> {
    let wanted = patterns.map_or(Wanted::All, Wanted::Matching);
    let steps = match steps {
        Some((_, _, 0)) => return Err(PyValueError::new_err("the stride must be at least 1")),
        Some((first, end, stride)) => Some(Steps { first, end, stride }),
        None => None,
    };
    let series = py
        .detach(|| archive::read(&writers, &wanted, steps.as_ref()))
        .map_err(to_python)?;
    Ok(series
        .into_iter()
        .map(|(name, data)| (name.into(), data.into()))
        .collect())
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn metric_names(py: Python<'_>, writers: Vec<Vec<PathBuf>>) -> PyResult<Vec<String>> {
    let names = py.detach(|| archive::names(&writers)).map_err(to_python)?;
    Ok(names.into_iter().map(String::from).collect())
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn seal_journal(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    let segment = py.detach(|| segment::seal(&path)).map_err(to_python)?;
    Ok(segment.to_string_lossy().into_owned())
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn check_segment(py: Python<'_>, path: PathBuf) -> PyResult<Vec<(u64, u64)>> {
    py.detach(|| segment::Segment::open(&path)?.damage())
        .map(|spans| pairs(&spans))
        .map_err(to_python)
}

type Facts = (Option<u32>, u32, i64, Vec<(u64, u64)>, usize, bool);

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn about_segment(py: Python<'_>, path: PathBuf) -> PyResult<Facts> {
    let segment = py
        .detach(|| segment::Segment::open(&path))
        .map_err(to_python)?;
    let about = segment.about();
    Ok((
        about.end_state,
        about.writer_pid,
        about.created_ns,
        pairs(&about.damage),
        about.segments,
        about.is_older,
    ))
}

/// Points, last step, last, min, max, first, mean, std, p50, p95, p99, step of min, step of max.
pub(crate) struct Summary {
    points: u64,
    last_step: i64,
    numbers: [f64; 9],
    extreme_steps: [i64; 2],
}

impl From<&Aggregate> for Summary {
    fn from(aggregate: &Aggregate) -> Self {
        let value = |point: Option<Point>| point.map_or(f64::NAN, |point| point.value);
        let step = |point: Option<Point>| point.map_or(0, |point| point.step);
        Self {
            points: aggregate.count,
            last_step: step(aggregate.last),
            numbers: [
                value(aggregate.last),
                value(aggregate.min),
                value(aggregate.max),
                value(aggregate.first),
                aggregate.moments.mean(),
                aggregate.moments.variance().sqrt(),
                aggregate.quantile(0.5),
                aggregate.quantile(0.95),
                aggregate.quantile(0.99),
            ],
            extreme_steps: [step(aggregate.min), step(aggregate.max)],
        }
    }
}

impl<'py> IntoPyObject<'py> for Summary {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let mut fields = vec![
            self.points.into_pyobject(py)?.into_any(),
            self.last_step.into_pyobject(py)?.into_any(),
        ];
        for number in self.numbers {
            fields.push(number.into_pyobject(py)?.into_any());
        }
        for step in self.extreme_steps {
            fields.push(step.into_pyobject(py)?.into_any());
        }
        PyTuple::new(py, fields)
    }
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn summarize(
    py: Python<'_>,
    writers: Vec<Vec<PathBuf>>,
) -> PyResult<Vec<(String, Summary)>> {
    let summaries = py.detach(|| {
        let found = archive::aggregates(&writers)?.into_iter();
        Ok(found
            .map(|(name, aggregate)| (name.into(), Summary::from(&aggregate)))
            .collect())
    });
    summaries.map_err(to_python)
}
