//! The only place that makes Python exceptions out of the core's errors.

use std::io;
use std::path::Path;

use pyo3::exceptions::{
    PyBlockingIOError, PyOSError, PyOverflowError, PyRuntimeError, PyValueError,
};
use pyo3::prelude::*;
use runbus_core::Error;

/// Python picks the subclass of `OSError` by the error number: `FileNotFoundError` and so on.
fn os_error(path: &Path, source: &io::Error) -> PyErr {
    let code = source.raw_os_error().unwrap_or(libc::EIO);
    // "No space left on device (os error 28)": Python prints the number itself.
    let text = source.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned();
    // Text, because a PathBuf would become a pathlib.Path and load pathlib.
    PyOSError::new_err((code, text, path.as_os_str().to_owned()))
}

/// The Python exception for an error of the core.
pub(crate) fn to_python(error: Error) -> PyErr {
    match error {
        Error::Io { path, source } => os_error(&path, &source),
        Error::Locked(path) => {
            let text = "another writer has this journal open";
            PyBlockingIOError::new_err((libc::EAGAIN, text, path.into_os_string()))
        }
        Error::StepOverflow => PyOverflowError::new_err(error.to_string()),
        Error::Forked => PyRuntimeError::new_err(error.to_string()),
        error => PyValueError::new_err(error.to_string()),
    }
}
