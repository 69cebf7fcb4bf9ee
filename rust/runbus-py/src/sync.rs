//! `sync_paths` and `Syncing`.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::errors::to_python;
use crate::gil::GilCell;

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

/// A sync that a thread of its own is busy with.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Syncing {
    /// `None` once it was waited for.
    syncing: GilCell<Option<runbus_core::Syncing>>,
}

impl Syncing {
    pub(crate) fn new(syncing: runbus_core::Syncing) -> Self {
        Self {
            syncing: GilCell::new(Some(syncing)),
        }
    }
}

#[pymethods]
impl Syncing {
    fn fileno(&self, py: Python<'_>) -> i32 {
        self.syncing
            .borrow(py)
            .as_ref()
            .map_or(-1, AsRawFd::as_raw_fd)
    }

    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        let syncing = self.syncing.borrow(py).take();
        match syncing {
            Some(syncing) => py.detach(|| syncing.wait()).map_err(to_python),
            None => Ok(()),
        }
    }
}
