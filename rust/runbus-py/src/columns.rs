//! Columns that Python reads in place, and the series made of them.

use std::ffi::{CStr, c_int, c_void};

use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use runbus_core::aggregate::windows;
use runbus_core::downsample::Method;
use runbus_core::frame::Shared;
use runbus_core::series::SeriesData;

use crate::summary::Summary;

enum Numbers {
    Ints(Shared<i64>),
    Floats(Shared<f64>),
}

/// Numbers that nobody changes, readable through the buffer protocol.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Column {
    numbers: Numbers,
    shape: [ffi::Py_ssize_t; 1],
    strides: [ffi::Py_ssize_t; 1],
}

impl Column {
    fn new(numbers: Numbers) -> Self {
        let length = match &numbers {
            Numbers::Ints(ints) => ints.len(),
            Numbers::Floats(floats) => floats.len(),
        };
        Self {
            numbers,
            // A Vec holds at most isize::MAX bytes.
            shape: [ffi::Py_ssize_t::try_from(length).unwrap_or(ffi::Py_ssize_t::MAX)],
            strides: [8],
        }
    }

    fn parts(&self) -> (*const c_void, &'static CStr) {
        match &self.numbers {
            Numbers::Ints(ints) => (ints.as_ptr().cast(), c"q"),
            Numbers::Floats(floats) => (floats.as_ptr().cast(), c"d"),
        }
    }
}

#[pymethods]
impl Column {
    // SAFETY: pyo3 calls this as the slot of the buffer protocol: `view` is valid for writes.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("what was logged is read-only"));
        }
        let column = slf.get();
        let (start, format) = column.parts();
        let has = |flag: c_int| flags & flag == flag;
        let or_null = |is_asked: bool, pointer: *const ffi::Py_ssize_t| {
            if is_asked {
                pointer.cast_mut()
            } else {
                std::ptr::null_mut()
            }
        };
        let format = if has(ffi::PyBUF_FORMAT) {
            format.as_ptr().cast_mut()
        } else {
            std::ptr::null_mut()
        };
        // SAFETY: the pointers lead into the column, which the view keeps alive by `obj` and which
        // never changes; the view is read-only.
        unsafe {
            (*view).buf = start.cast_mut();
            (*view).len = column.shape[0] * 8;
            (*view).readonly = 1;
            (*view).itemsize = 8;
            (*view).format = format;
            (*view).ndim = 1;
            (*view).shape = or_null(has(ffi::PyBUF_ND), column.shape.as_ptr());
            (*view).strides = or_null(has(ffi::PyBUF_STRIDES), column.strides.as_ptr());
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = std::ptr::null_mut();
            (*view).obj = slf.clone().into_ptr();
        }
        Ok(())
    }
}

fn view(py: Python<'_>, numbers: Numbers) -> PyResult<Bound<'_, PyMemoryView>> {
    PyMemoryView::from(Bound::new(py, Column::new(numbers))?.as_any())
}

/// The points of one metric.
#[pyclass(frozen, name = "SeriesData", module = "runbus._core")]
pub(crate) struct PySeriesData {
    pub(crate) data: SeriesData,
}

impl From<SeriesData> for PySeriesData {
    fn from(data: SeriesData) -> Self {
        Self { data }
    }
}

#[pymethods]
impl PySeriesData {
    fn __len__(&self) -> usize {
        self.data.len()
    }

    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        view(py, Numbers::Ints(self.data.steps.clone()))
    }

    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        view(py, Numbers::Floats(self.data.values.clone()))
    }

    #[getter]
    fn times<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        view(py, Numbers::Ints(self.data.times.clone()))
    }

    fn downsample(&self, py: Python<'_>, count: usize, method: &str) -> PyResult<Self> {
        let Some(method) = Method::of(method) else {
            return Err(PyValueError::new_err(format!(
                "method must be 'm4', 'minmax' or 'lttb', not '{method}'"
            )));
        };
        let fewest = method.fewest();
        if count < fewest {
            return Err(PyValueError::new_err(format!(
                "count must be at least {fewest}, not {count}"
            )));
        }
        Ok(py.detach(|| self.data.downsample(count, method)).into())
    }

    fn smooth(&self, py: Python<'_>, alpha: f64) -> PyResult<Self> {
        if !(alpha > 0.0 && alpha <= 1.0) {
            return Err(PyValueError::new_err(format!(
                "alpha must be above 0 and at most 1, not {alpha}"
            )));
        }
        Ok(py.detach(|| self.data.smooth(alpha)).into())
    }

    fn over<'py>(&self, py: Python<'py>, axis: &Self) -> PyResult<Bound<'py, PyMemoryView>> {
        let positions = py.detach(|| self.data.over(&axis.data));
        view(py, Numbers::Floats(positions))
    }

    fn windows(&self, py: Python<'_>, width_ns: i64) -> PyResult<Vec<(i64, Summary)>> {
        if width_ns < 1 {
            return Err(PyValueError::new_err("width_ns must be at least 1"));
        }
        Ok(py.detach(|| {
            let windows = windows(&self.data, width_ns).into_iter();
            windows
                .map(|window| (window.start, Summary::from(&window.aggregate)))
                .collect()
        }))
    }
}
