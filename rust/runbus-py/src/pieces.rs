//! The records in bytes that were read of a journal.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use runbus_core::journal;

#[pyfunction]
#[pyo3(signature = (data, *, at_start))]
pub(crate) fn whole_records(data: &[u8], at_start: bool) -> (usize, usize) {
    let whole = journal::whole_records(data, at_start);
    (whole.bytes, whole.wanted)
}

#[pyfunction]
#[pyo3(signature = (data, *, at_start))]
pub(crate) fn blobs<'py>(
    py: Python<'py>,
    data: &[u8],
    at_start: bool,
) -> Vec<(usize, Bound<'py, PyBytes>)> {
    journal::blobs(data, at_start)
        .map(|(offset, blob)| (offset, PyBytes::new(py, blob)))
        .collect()
}
