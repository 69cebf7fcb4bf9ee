//! Python numbers, names and mappings to what the core takes. Python code may run here, so the
//! writer is not borrowed while anything of this module is called, except what says it runs none.

use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyMapping, PyString};

/// Nested mappings deeper than this are refused: most likely one contains itself.
const MAX_DEPTH: usize = 32;
/// Up to here every integer is a double.
const EXACT_INTEGERS: u64 = 1 << 53;

/// The name of an object's type, for messages.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// The value of a float (also a derived one), an exact int or a bool, without running Python code and without
/// raising; `None` when only [`value_of`] can tell.
#[inline]
pub(crate) fn plain_value(object: Borrowed<'_, '_, PyAny>) -> Option<f64> {
    let pointer = object.as_ptr();
    // SAFETY: the pointer is a live object, the GIL is held, and each function gets the type that
    // it asks for. None of them runs Python code for these types.
    unsafe {
        if ffi::PyFloat_CheckExact(pointer) != 0 {
            return Some(ffi::PyFloat_AsDouble(pointer));
        }
        if ffi::PyLong_CheckExact(pointer) != 0 || ffi::PyBool_Check(pointer) != 0 {
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(pointer, &raw mut overflow);
            return (overflow == 0).then(|| exact(value)).flatten();
        }
        (ffi::PyFloat_Check(pointer) != 0).then(|| ffi::PyFloat_AsDouble(pointer))
    }
}

/// An integer as a double, if there is such a double.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // What is looked for.
fn exact(value: i64) -> Option<f64> {
    let double = value as f64;
    let is_exact = value.unsigned_abs() <= EXACT_INTEGERS || double as i128 == i128::from(value);
    is_exact.then_some(double)
}

/// The value of the metric `name` as a double.
#[inline]
pub(crate) fn value_of(name: &str, object: &Bound<'_, PyAny>) -> PyResult<f64> {
    match plain_value(object.as_borrowed()) {
        Some(value) => Ok(value),
        None => value_of_any(name, object),
    }
}

#[cold]
fn value_of_any(name: &str, object: &Bound<'_, PyAny>) -> PyResult<f64> {
    if object.is_instance_of::<PyInt>() {
        return integer(name, object);
    }
    let py = object.py();
    let number = if let Some(item) = object.getattr_opt(intern!(py, "item"))? {
        // Arrays and tensors of one element, and numpy's scalars.
        item.call0().and_then(|number| {
            let is_number = number.is_instance_of::<PyFloat>() || number.is_instance_of::<PyInt>();
            if is_number {
                Ok(number)
            } else {
                Err(PyTypeError::new_err("not a real number"))
            }
        })
    } else if object.get_type().hasattr(intern!(py, "__index__"))? {
        // SAFETY: a live object and the GIL; the result is a new reference or NULL with an error.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(object.as_ptr())) }
    } else if object.get_type().hasattr(intern!(py, "__float__"))? {
        // SAFETY: as above. A str has no `__float__`, so none is parsed here.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Float(object.as_ptr())) }
    } else {
        let type_name = type_name(object);
        return Err(PyTypeError::new_err(format!(
            "the value of metric '{name}' must be a number, not {type_name}"
        )));
    };
    let number = number.map_err(|cause| not_convertible(name, object, cause))?;
    match number.cast::<PyFloat>() {
        Ok(float) => Ok(float.value()),
        Err(_) => integer(name, &number),
    }
}

fn integer(name: &str, object: &Bound<'_, PyAny>) -> PyResult<f64> {
    // Python compares an int with a float exactly; a huge int has no double at all.
    if let Ok(double) = object.extract::<f64>()
        && object.eq(double)?
    {
        return Ok(double);
    }
    Err(PyOverflowError::new_err(format!(
        "the value of metric '{name}' is an int that no double represents exactly; \
         log float(value) if the nearest double will do"
    )))
}

/// The object's own error becomes the cause of one that names the metric.
fn not_convertible(name: &str, object: &Bound<'_, PyAny>, cause: PyErr) -> PyErr {
    let py = object.py();
    if !cause.is_instance_of::<PyException>(py) {
        return cause;
    }
    let text = format!(
        "the value of metric '{name}' ({}) cannot be converted to a float: {}",
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

/// The text of a name.
pub(crate) fn name_text<'a>(name: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    name.to_str().map_err(|cause| {
        let text = name
            .repr()
            .map_or_else(|_| String::new(), |repr| repr.to_string());
        let error = PyValueError::new_err(format!(
            "the metric name {text} holds a lone surrogate, which UTF-8 cannot store"
        ));
        error.set_cause(name.py(), Some(cause));
        error
    })
}

/// Names and values of a mapping; nested mappings are joined by "/".
#[derive(Default)]
pub(crate) struct Flat {
    pub(crate) names: Vec<String>,
    pub(crate) values: Vec<f64>,
    /// The keys themselves, if all are exact strs and no mapping is nested.
    pub(crate) keys: Option<Vec<Py<PyString>>>,
}

impl Flat {
    pub(crate) fn of(values: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Ok(mapping) = values.cast::<PyMapping>() else {
            return Err(PyTypeError::new_err(format!(
                "log() takes a metric name or a mapping of names to numbers, not {}",
                type_name(values)
            )));
        };
        let mut flat = Self {
            keys: Some(Vec::new()),
            ..Self::default()
        };
        flat.add("", mapping, 0)?;
        Ok(flat)
    }

    fn add(&mut self, prefix: &str, mapping: &Bound<'_, PyMapping>, depth: usize) -> PyResult<()> {
        if depth > MAX_DEPTH {
            return Err(PyValueError::new_err(format!(
                "the mapping is nested more than {MAX_DEPTH} deep at '{prefix}'"
            )));
        }
        // A list of the items: converting a value may run code that changes the mapping.
        for item in mapping.items()? {
            let (key, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            let Ok(key) = key.cast::<PyString>() else {
                return Err(PyTypeError::new_err(format!(
                    "metric names must be str, not {}",
                    type_name(&key)
                )));
            };
            let text = name_text(key)?;
            let name = if prefix.is_empty() {
                text.to_owned()
            } else {
                format!("{prefix}/{text}")
            };
            if text.is_empty() {
                return Err(PyValueError::new_err("a metric name must not be empty"));
            }
            if let Some(nested) = as_mapping(&value) {
                self.keys = None;
                self.add(&name, nested, depth + 1)?;
            } else {
                self.values.push(value_of(&name, &value)?);
                self.names.push(name);
                self.add_key(key);
            }
        }
        Ok(())
    }

    fn add_key(&mut self, key: &Bound<'_, PyString>) {
        if !key.is_exact_instance_of::<PyString>() {
            self.keys = None;
        } else if let Some(keys) = &mut self.keys {
            keys.push(key.clone().unbind());
        }
    }
}

fn as_mapping<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyMapping>> {
    // SAFETY: a live object and the GIL; only slots of the type are looked at. It spares numbers
    // the question of the abstract class, which costs more than their conversion.
    if unsafe { ffi::PyNumber_Check(value.as_ptr()) } != 0 && !value.is_instance_of::<PyDict>() {
        return None;
    }
    value.cast::<PyMapping>().ok()
}
