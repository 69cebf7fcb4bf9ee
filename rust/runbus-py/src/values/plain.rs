//! The usual numbers of Python, without running Python code: the writer may be borrowed meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyFloat;

use super::integers::exact;
use super::scalars;

/// Whether a float holds its value directly behind its head, as it does in every `CPython` with a GIL.
///
/// The stable ABI does not promise it, so [`look_at_floats`] looks. It spares a call for each value: a
/// sixth of the time of a dict of twenty.
static IS_FLOAT_PLAIN: AtomicBool = AtomicBool::new(false);

/// Find out how a float lies in memory.
pub(crate) fn look_at_floats(py: Python<'_>) {
    // Bits that are neither a pointer nor a length.
    let is_plain = [0.1, -2.5e-300, 1.5e300].into_iter().all(|value: f64| {
        let float = PyFloat::new(py, value);
        // SAFETY: a float has its value somewhere behind its head, so this word is its own.
        let found = unsafe { *float.as_ptr().add(1).cast::<u64>() };
        found == value.to_bits()
    });
    IS_FLOAT_PLAIN.store(is_plain, Ordering::Relaxed);
}

/// The value of an object that is a float or derived from it.
///
/// # Safety
/// It is one, it is alive, and the GIL is held.
#[inline]
unsafe fn float_value(pointer: *mut ffi::PyObject) -> f64 {
    if IS_FLOAT_PLAIN.load(Ordering::Relaxed) {
        // SAFETY: as seen by `look_at_floats`; a derived class has its own fields behind it.
        unsafe { *pointer.add(1).cast::<f64>() }
    } else {
        // SAFETY: by the contract of this function.
        unsafe { ffi::PyFloat_AsDouble(pointer) }
    }
}

/// The value of a float (also a derived one), an exact int or a bool, or of one of numpy's numbers
/// seen before, without running Python code and without raising; `None` when only [`value_of`] can
/// tell.
#[inline]
pub(crate) fn plain_value(object: Borrowed<'_, '_, PyAny>) -> Option<f64> {
    let pointer = object.as_ptr();
    // SAFETY: the pointer is a live object, the GIL is held, and each function gets the type that
    // it asks for. None of them runs Python code for these types.
    unsafe {
        if ffi::PyFloat_CheckExact(pointer) != 0 {
            return Some(float_value(pointer));
        }
        if ffi::PyLong_CheckExact(pointer) != 0 || ffi::PyBool_Check(pointer) != 0 {
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(pointer, &raw mut overflow);
            return (overflow == 0).then(|| exact(value)).flatten();
        }
        if ffi::PyFloat_Check(pointer) != 0 {
            return Some(float_value(pointer));
        }
    }
    scalars::value(object)
}

/// The bits of the same value, as they are written.
#[inline]
pub(crate) fn plain_bits(object: Borrowed<'_, '_, PyAny>) -> Option<u64> {
    plain_value(object).map(|value| value.to_bits().to_le())
}

/// The step that an exact int is, without running Python code; `None` when only [`step_of`] can
/// tell.
#[inline]
pub(crate) fn plain_step(step: Borrowed<'_, '_, PyAny>) -> Option<i64> {
    // SAFETY: a live object and the GIL; an exact int is converted without running Python code, and
    // one that is too large is told by `overflow` without an exception.
    unsafe {
        if ffi::PyLong_CheckExact(step.as_ptr()) == 0 {
            return None;
        }
        let mut overflow = 0;
        let number = ffi::PyLong_AsLongLongAndOverflow(step.as_ptr(), &raw mut overflow);
        (overflow == 0).then_some(number)
    }
}
