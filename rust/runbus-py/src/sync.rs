//! `sync_paths`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::errors::to_python;

#[pyfunction]
#[pyo3(signature = (paths, /))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a sequence of Python's has no borrowed form"
)]
pub(crate) fn sync_paths(py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<()> {
    py.detach(|| runbus_core::sync_paths(&paths))
        .map_err(to_python)
}
