//! Python numbers to doubles and steps. Python code may run here, so the writer is not borrowed while
//! anything of this module is called.

use std::fmt::{self, Display, Formatter};

use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use super::integers::exact;
use super::on_device::copy_on_device;
use super::plain::{plain_step, plain_value};
use super::scalars;
use crate::text::type_name;

/// The value of a metric.
pub(crate) enum Value {
    Known(f64),
    /// One that no double represents.
    Integer(i64),
    /// The double nearest to an integer that 64 bits do not hold either.
    Rounded(f64),
    /// A copy of one element on a device.
    OnDevice(Py<PyAny>),
}

impl Value {
    /// The double that is the value.
    pub(crate) fn double(&self) -> Option<f64> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Integer(_) | Self::Rounded(_) | Self::OnDevice(_) => None,
        }
    }
}

/// The values, if doubles represent all of them.
pub(crate) fn all_known(values: &[Value]) -> Option<Vec<f64>> {
    values.iter().map(Value::double).collect()
}

/// What messages call a value.
#[derive(Clone, Copy)]
pub(crate) enum Called<'a> {
    /// That of the metric of this name.
    Metric(&'a str),
    /// That at this place of what is called so.
    Element(&'a str, usize),
}

impl Display for Called<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(name) => write!(to, "the value of metric '{name}'"),
            Self::Element(what, place) => write!(to, "number {place} of {what}"),
        }
    }
}

/// A value.
#[inline]
pub(crate) fn value_of(called: Called<'_>, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    match plain_value(object.as_borrowed()) {
        Some(value) => Ok(Value::Known(value)),
        None => value_of_any(called, object),
    }
}

/// The value of the metric `name`, but what is on a device is left there.
#[inline]
pub(crate) fn value_or_device(name: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Some(value) = plain_value(object.as_borrowed()) {
        return Ok(Value::Known(value));
    }
    let called = Called::Metric(name);
    let copy = copy_on_device(object);
    match copy.map_err(|cause| not_convertible(called, object, cause))? {
        Some(copy) => Ok(Value::OnDevice(copy.unbind())),
        None => value_of_any(called, object),
    }
}

#[cold]
fn value_of_any(called: Called<'_>, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_instance_of::<PyInt>() {
        return integer(object);
    }
    let py = object.py();
    let object = &masked_as_nan(object)
        .map_err(|cause| not_convertible(called, object, cause))?
        .unwrap_or_else(|| object.clone());
    if scalars::learn(&object.get_type())
        && let Some(value) = scalars::value(object.as_borrowed())
    {
        return Ok(Value::Known(value));
    }
    let number = if let Some(item) = object.getattr_opt(intern!(py, "item"))? {
        // Arrays and tensors of one element, and numpy's scalars.
        item.call0().and_then(|number| {
            let is_number = number.is_instance_of::<PyFloat>() || number.is_instance_of::<PyInt>();
            if is_number {
                return Ok(number);
            }
            // Of a kind that Python has none like.
            scalars::learn(&number.get_type());
            match scalars::value(number.as_borrowed()) {
                Some(value) => Ok(PyFloat::new(py, value).into_any()),
                None => Err(PyTypeError::new_err("not a real number")),
            }
        })
    } else if object.get_type().hasattr(intern!(py, "__index__"))? {
        // SAFETY: a live object and the GIL; the result is a new reference or NULL with an error.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(object.as_ptr())) }
    } else if object.get_type().hasattr(intern!(py, "__float__"))? {
        // SAFETY: as above. A str has no `__float__`, so none is parsed here.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Float(object.as_ptr())) }
    } else if object.hasattr(intern!(py, "__array__"))? {
        let numpy = py.import(intern!(py, "numpy"))?;
        let array = numpy.call_method1(intern!(py, "asarray"), (object,));
        return value_of_any(
            called,
            &array.map_err(|cause| not_convertible(called, object, cause))?,
        );
    } else {
        let type_name = type_name(object);
        return Err(PyTypeError::new_err(format!(
            "{called} must be a number, not {type_name}"
        )));
    };
    let number = number.map_err(|cause| not_convertible(called, object, cause))?;
    match number.cast::<PyFloat>() {
        Ok(float) => Ok(Value::Known(float.value())),
        Err(_) => integer(&number),
    }
}

/// An array of numpy's with a NaN for each masked value; `None` if nothing masks it.
pub(crate) fn masked_as_nan<'py>(
    object: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    // SAFETY: a live object and the GIL; only the slots of its type are looked at.
    if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 0 {
        return Ok(None);
    }
    if object.getattr_opt(intern!(py, "filled"))?.is_none() {
        return Ok(None);
    }
    let Some(mask) = object.getattr_opt(intern!(py, "mask"))? else {
        return Ok(None);
    };
    if mask.call_method0(intern!(py, "any"))?.is_truthy()? {
        // Integers know no NaN.
        let kind = object
            .getattr(intern!(py, "dtype"))?
            .getattr(intern!(py, "kind"))?;
        let is_whole = kind
            .extract::<&str>()
            .is_ok_and(|kind| "biu".contains(kind));
        let filled = intern!(py, "filled");
        let filled = if is_whole {
            let doubles = object.call_method1(intern!(py, "astype"), ("float64",))?;
            doubles.call_method1(filled, (f64::NAN,))
        } else {
            object.call_method1(filled, (f64::NAN,))
        };
        return filled.map(Some);
    }
    object.getattr(intern!(py, "data")).map(Some)
}

/// An int that may be beyond doubles, and beyond 64 bits.
pub(crate) fn integer(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if let Ok(integer) = object.extract::<i64>() {
        return Ok(exact(integer).map_or(Value::Integer(integer), Value::Known));
    }
    let Ok(nearest) = object.extract::<f64>() else {
        // Beyond the greatest double.
        let is_negative = object.lt(0)?;
        let infinity = f64::INFINITY;
        return Ok(Value::Rounded(if is_negative {
            -infinity
        } else {
            infinity
        }));
    };
    // Python compares an int with a float exactly.
    Ok(if object.eq(nearest)? {
        Value::Known(nearest)
    } else {
        Value::Rounded(nearest)
    })
}

/// The object's own error becomes the cause of one that names the value.
fn not_convertible(called: Called<'_>, object: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let py = object.py();
    if !cause.is_instance_of::<PyException>(py) {
        return cause;
    }
    let text = format!(
        "{called} ({}) cannot be converted to a float: {}",
        type_name(object),
        cause.value(py),
    );
    let error = if cause.is_instance_of::<PyOverflowError>(py) {
        PyOverflowError::new_err(text)
    } else {
        PyTypeError::new_err(text)
    };
    error.set_cause(py, Some(cause));
    error
}

/// The step; `None` is the automatic one.
pub(crate) fn step_of(step: Option<Borrowed<'_, '_, PyAny>>) -> PyResult<Option<i64>> {
    let Some(step) = step.filter(|step| !step.is_none()) else {
        return Ok(None);
    };
    if let Some(number) = plain_step(step) {
        return Ok(Some(number));
    }
    let wrong = || PyTypeError::new_err(format!("step must be an int, not {}", type_name(&step)));
    // A bool is most likely a misplaced argument.
    if step.is_instance_of::<PyBool>() {
        return Err(wrong());
    }
    // SAFETY: a live object and the GIL; the result is a new reference or NULL with an error.
    let index =
        unsafe { Bound::from_owned_ptr_or_err(step.py(), ffi::PyNumber_Index(step.as_ptr())) };
    let index = index.map_err(|cause| {
        if cause.is_instance_of::<PyException>(step.py()) {
            wrong()
        } else {
            cause
        }
    })?;
    index
        .extract::<i64>()
        .map(Some)
        .map_err(|_| step_overflow())
}

fn step_overflow() -> PyErr {
    PyOverflowError::new_err("step must fit into 64 bits")
}
