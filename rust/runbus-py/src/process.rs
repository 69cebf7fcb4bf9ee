//! `Starting`.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use runbus_core::process::{self, Program};

/// A program that a thread of its own starts.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Starting(process::Starting);

#[pymethods]
impl Starting {
    #[new]
    #[pyo3(signature = (words, variables, /, *, stdin=None, reaps=false))]
    fn new(
        words: Vec<PyBackedBytes>,
        variables: Vec<PyBackedBytes>,
        stdin: Option<i32>,
        reaps: bool,
    ) -> PyResult<Self> {
        let stdin = stdin.map(duplicate).transpose()?;
        let program = Program {
            words: texts(words)?,
            variables: texts(variables)?,
            stdin,
        };
        Ok(Self(process::Starting::begin(program, reaps)))
    }

    fn wait(&self, py: Python<'_>) -> PyResult<i32> {
        Ok(py.detach(|| self.0.wait())?)
    }
}

fn texts(bytes: Vec<PyBackedBytes>) -> PyResult<Vec<CString>> {
    let texts = bytes.into_iter().map(|text| CString::new(&*text));
    Ok(texts.collect::<Result<_, _>>()?)
}

/// Another descriptor of the same: the caller may close its own at once.
fn duplicate(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is not -1, and the caller has it open as long as this takes.
    unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned()
}
