//! Mappings to what the core takes. Python code may run here, so the writer is not borrowed
//! while anything of this module is called.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};

use super::caches::Key;
use crate::text::{name_text, type_name};
use crate::values::{Value, value_or_device};

/// Nested mappings deeper than this are refused: most likely one contains itself.
const MAX_DEPTH: usize = 32;

/// Names and values of a mapping; nested mappings are joined by "/".
#[derive(Default)]
pub(crate) struct Flat {
    pub(crate) names: Vec<String>,
    pub(crate) values: Vec<Value>,
    /// The keys themselves, if all are exact strs and all nested mappings exact dicts.
    pub(crate) keys: Option<Vec<Key>>,
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
                let inner = nested.cast_exact::<PyDict>().ok().map(PyDictMethods::len);
                if inner.is_none() {
                    self.keys = None;
                }
                self.add_key(key, inner);
                self.add(&name, nested, depth + 1)?;
            } else {
                self.values.push(value_or_device(&name, &value)?);
                self.names.push(name);
                self.add_key(key, None);
            }
        }
        Ok(())
    }

    fn add_key(&mut self, key: &Bound<'_, PyString>, inner: Option<usize>) {
        if !key.is_exact_instance_of::<PyString>() {
            self.keys = None;
        } else if let Some(keys) = &mut self.keys {
            let name = key.clone().unbind();
            keys.push(Key { name, inner });
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
