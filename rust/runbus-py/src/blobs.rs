//! `Journal`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use runbus_core::Error;
use runbus_core::journal::{self, Options};

use crate::errors::to_python;
use crate::gil::GilCell;
use crate::sync::Syncing;

/// Writes opaque records into one journal: the events.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Journal {
    /// `None` once it is closed: then the file is given back, too.
    writer: GilCell<Option<journal::BlobWriter>>,
    path: PathBuf,
}

#[pymethods]
impl Journal {
    #[new]
    #[pyo3(signature = (path, *, append=true, lock=true))]
    fn new(py: Python<'_>, path: PathBuf, append: bool, lock: bool) -> PyResult<Self> {
        let options = Options {
            is_locked: lock,
            ..Options::default()
        };
        // Reads the whole file to find its end, so not under the GIL.
        let writer = py.detach(|| {
            if append {
                journal::BlobWriter::open(&path, options)
            } else {
                journal::BlobWriter::create(&path, options)
            }
        });
        let writer = writer.map_err(to_python)?;
        Ok(Self {
            writer: GilCell::new(Some(writer)),
            path,
        })
    }

    fn append(&self, py: Python<'_>, payload: &Bound<'_, PyBytes>) -> PyResult<u64> {
        let mut writer = self.writer.borrow(py);
        let result = match writer.as_mut() {
            Some(writer) => writer.append(payload.as_bytes()),
            None => Err(Error::Closed),
        };
        drop(writer);
        result.map_err(to_python)
    }

    #[pyo3(signature = (others=Vec::new(), /))]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a sequence of Python's has no borrowed form"
    )]
    fn sync(&self, py: Python<'_>, others: Vec<PathBuf>) -> PyResult<()> {
        let durability = self
            .writer
            .borrow(py)
            .as_ref()
            .map(journal::BlobWriter::durability);
        py.detach(|| match durability {
            Some(durability) => durability.sync_with(&others),
            None => runbus_core::sync_paths(&others),
        })
        .map_err(to_python)
    }

    #[pyo3(signature = (others=Vec::new(), /))]
    fn begin_sync(&self, py: Python<'_>, others: Vec<PathBuf>) -> PyResult<Syncing> {
        let durability = self
            .writer
            .borrow(py)
            .as_ref()
            .map(journal::BlobWriter::durability);
        let durability = durability.ok_or_else(|| to_python(Error::Closed))?;
        Ok(Syncing::new(durability.begin_sync(others)?))
    }

    #[pyo3(signature = (*, sync=true))]
    fn close(&self, py: Python<'_>, sync: bool) -> PyResult<()> {
        let closing = self
            .writer
            .borrow(py)
            .take()
            .and_then(|mut one| one.close());
        let end = if sync {
            journal::Closing::complete
        } else {
            journal::Closing::complete_synced
        };
        match closing {
            Some(closing) => py.detach(|| end(closing)).map_err(to_python),
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
        self.close(py, true)
    }

    #[getter]
    fn path(&self) -> &std::ffi::OsStr {
        self.path.as_os_str()
    }

    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.writer.borrow(py).is_none()
    }
}
