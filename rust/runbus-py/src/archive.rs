//! The files of a run, read as one.

use std::path::PathBuf;

use pyo3::prelude::*;
use runbus_core::archive::{self, Wanted};

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
