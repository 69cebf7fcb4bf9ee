//! `are_same`.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};

struct Folder(PyBackedStr);

impl AsRef<[u8]> for Folder {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[pyfunction]
#[pyo3(signature = (root, noted, /))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a path of Python's has no borrowed form"
)]
pub(crate) fn are_same(
    py: Python<'_>,
    root: PathBuf,
    noted: Vec<(PyBackedStr, PyBackedBytes)>,
) -> Vec<bool> {
    let noted: Vec<_> = noted
        .into_iter()
        .map(|(folder, stamps)| (Folder(folder), stamps))
        .collect();
    py.detach(|| runbus_core::are_same(&root, &noted))
}
