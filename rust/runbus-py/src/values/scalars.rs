//! numpy's scalars without numpy: its types are known by name and remembered by identity.
//!
//! Asking one for `item()`, as any array is asked, takes ten times as long.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::integers::exact;
use crate::gil::GilCell;

#[derive(Clone, Copy)]
enum Scalar {
    /// Its slot for `float()` gives the value: exactly, but for a `longdouble`, rounded.
    Float,
    /// Its slot for `operator.index()` gives the value.
    Integer,
}

const FLOATS: [&str; 5] = ["float16", "float32", "longdouble", "bool", "bool_"];
const INTEGERS: [&str; 12] = [
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "intc",
    "uintc",
    "longlong",
    "ulonglong",
];
/// The narrow types of `ml_dtypes`, which JAX uses; no double is too small for them.
const NARROW: usize = 24;
/// As many types as there are names, so that there is always room.
const SLOTS: usize = FLOATS.len() + INTEGERS.len() + NARROW;

type Known = [Option<(Py<PyType>, Scalar)>; SLOTS];

static KNOWN: GilCell<Known> = GilCell::new([const { None }; SLOTS]);
/// The type last found to be none of them: arrays and tensors come many times in a row.
static OTHER: GilCell<Option<Py<PyType>>> = GilCell::new(None);

/// Remember the type if it is one of numpy's; whether it is.
pub(crate) fn learn(class: &Bound<'_, PyType>) -> bool {
    let py = class.py();
    if OTHER
        .borrow(py)
        .as_ref()
        .is_some_and(|other| other.is(class))
    {
        return false;
    }
    let scalar = match class.module() {
        Ok(module) if module == "numpy" => scalar_named(class),
        Ok(module) if module == "ml_dtypes" => Some(Scalar::Float),
        _ => None,
    };
    let Some(scalar) = scalar else {
        let before = OTHER.borrow(py).replace(class.clone().unbind());
        drop(before);
        return false;
    };
    let mut known = KNOWN.borrow(py);
    // Again, because of a value that only Python's own int can hold.
    if known.iter().flatten().any(|(known, _)| known.is(class)) {
        return true;
    }
    let Some(slot) = known.iter_mut().find(|slot| slot.is_none()) else {
        return false;
    };
    *slot = Some((class.clone().unbind(), scalar));
    true
}

fn scalar_named(class: &Bound<'_, PyType>) -> Option<Scalar> {
    let name = class.name().ok()?;
    let is_one_of = |names: &[&str]| names.iter().any(|known| name == *known);
    if is_one_of(&FLOATS) {
        Some(Scalar::Float)
    } else {
        is_one_of(&INTEGERS).then_some(Scalar::Integer)
    }
}

/// The value of one of numpy's numbers whose type is known, without running Python code and without
/// raising.
pub(crate) fn value(object: Borrowed<'_, '_, PyAny>) -> Option<f64> {
    let pointer = object.as_ptr();
    let scalar = {
        let known = KNOWN.borrow(object.py());
        // SAFETY: a live object.
        let class = unsafe { ffi::Py_TYPE(pointer) };
        let mut found = known.iter().map_while(Option::as_ref);
        found.find(|(known, _)| known.as_ptr() == class.cast())?.1
    };
    // SAFETY: a live object and the GIL. Errors do not happen to these types, and are cleared; the
    // index is a new reference, given back here.
    unsafe {
        match scalar {
            Scalar::Float => {
                let value = ffi::PyFloat_AsDouble(pointer);
                if value.to_bits() == (-1.0_f64).to_bits() && !ffi::PyErr_Occurred().is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                Some(value)
            }
            Scalar::Integer => {
                let index = ffi::PyNumber_Index(pointer);
                if index.is_null() {
                    ffi::PyErr_Clear();
                    return None;
                }
                let mut overflow = 0;
                let value = ffi::PyLong_AsLongLongAndOverflow(index, &raw mut overflow);
                ffi::Py_DecRef(index);
                (overflow == 0).then(|| exact(value)).flatten()
            }
        }
    }
}
