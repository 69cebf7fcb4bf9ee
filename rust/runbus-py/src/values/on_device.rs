//! Numbers in the memory of a device.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

/// The CPU, and memory of the CPU that a GPU can reach, too.
pub(crate) const CPU_DEVICES: [i32; 4] = [1, 3, 11, 13];

/// A copy of the one real number that the object holds on a device; `None` if it is not on one.
pub(crate) fn copy_on_device<'py>(
    object: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    if !is_on_device(object) {
        return Ok(None);
    }
    let shape: Vec<usize> = object.getattr(intern!(py, "shape"))?.extract()?;
    let elements: usize = shape.iter().product();
    let dtype = object.getattr(intern!(py, "dtype"))?.str()?.to_string();
    if elements != 1 || dtype.contains("complex") {
        return Err(PyTypeError::new_err(format!(
            "{elements} elements of {dtype}, not one real number"
        )));
    }
    // Later changes in place are not what was logged, and no graph of gradients is kept alive.
    let plain = match object.getattr_opt(intern!(py, "detach"))? {
        Some(detach) => detach.call0()?.call_method0(intern!(py, "clone"))?,
        None => match object.getattr_opt(intern!(py, "copy"))? {
            Some(copy) => copy.call0()?,
            None => object.clone(),
        },
    };
    Ok(Some(plain))
}

/// Whether an array or tensor lies where only a device reads it.
fn is_on_device(object: &Bound<'_, PyAny>) -> bool {
    let py = object.py();
    // SAFETY: a live object and the GIL; only slots of the type are looked at.
    if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } != 0 {
        return false;
    }
    let says = |name| {
        let found = object.getattr_opt(name).ok().flatten()?;
        found.extract::<bool>().ok()
    };
    // Torch's tensors answer this at once; "meta" ones have no values at all.
    if let Some(is_cpu) = says(intern!(py, "is_cpu")) {
        return !is_cpu && says(intern!(py, "is_meta")) != Some(true);
    }
    let Ok(Some(ask)) = object.getattr_opt(intern!(py, "__dlpack_device__")) else {
        return false;
    };
    let device = ask.call0().and_then(|device| device.extract());
    device.is_ok_and(|(kind, _): (i32, i32)| !CPU_DEVICES.contains(&kind))
}
