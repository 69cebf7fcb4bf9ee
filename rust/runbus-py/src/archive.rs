//! The files of a run, read as one.

use std::path::PathBuf;

use pyo3::prelude::*;
use runbus_core::archive::{self, Wanted};
use runbus_core::segment;

use crate::columns::PySeriesData;
use crate::errors::to_python;

#[pyfunction]
#[pyo3(signature = (writers, patterns=None))]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn read_metrics(
    py: Python<'_>,
    writers: Vec<Vec<PathBuf>>,
    patterns: Option<Vec<String>>,
) -> PyResult<Vec<(String, PySeriesData)>> {
    let wanted = patterns.map_or(Wanted::All, Wanted::Matching);
    let series = py
        .detach(|| archive::read(&writers, &wanted))
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
pub(crate) fn seal_journal(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    let segments = py.detach(|| segment::seal(&path)).map_err(to_python)?;
    let texts = segments.iter().map(|path| path.to_string_lossy());
    Ok(texts.map(String::from).collect())
}

type Facts = (Option<u32>, u32, i64, Vec<(u64, u64)>, usize);

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
    let damage = about.damage.iter().map(|span| (span.offset, span.length));
    Ok((
        about.end_state,
        about.writer_pid,
        about.created_ns,
        damage.collect(),
        about.segments,
    ))
}
