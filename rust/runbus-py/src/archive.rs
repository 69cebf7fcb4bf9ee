//! The files of a run, read as one.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use runbus_core::archive::{self, Wanted};
use runbus_core::segment;
use runbus_core::series::Steps;

use crate::columns::PySeriesData;
use crate::errors::to_python;
use crate::reader::pairs;
use crate::summary::Summary;

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

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn lost_points(py: Python<'_>, path: PathBuf) -> PyResult<Vec<(String, usize)>> {
    let found = py.detach(|| {
        let segment = segment::Segment::open(&path)?;
        let lost = segment.lost()?.into_iter();
        Ok(lost.map(|(name, count)| (name.to_owned(), count)).collect())
    });
    found.map_err(to_python)
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn is_outdated(
    py: Python<'_>,
    journal: PathBuf,
    segments: Vec<PathBuf>,
) -> PyResult<bool> {
    py.detach(|| segment::is_outdated(&journal, &segments))
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
        about.version < segment::VERSION,
    ))
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
