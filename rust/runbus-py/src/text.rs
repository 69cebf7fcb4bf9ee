//! Names of metrics, and of types for messages.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The name of an object's type, for messages.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object
        .get_type()
        .name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string())
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
