//! `Group`: names looked up once.

use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use runbus_core::clock::unix_ns;
use runbus_core::journal::Layout;

use super::waiting::write_partly;
use super::{MetricWriter, arrive, log_error, tell_if_forked};
use crate::fastcall::{Arguments, Method};
use crate::values::{Value, all_known, plain_bits, plain_step, step_of, value_or_device};

/// Some metrics of a run with their names looked up once.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Group {
    writer: Py<MetricWriter>,
    layout: Layout,
    names: Vec<String>,
}

impl Group {
    pub(crate) fn new(writer: &Bound<'_, MetricWriter>, layout: Layout, names: &[&str]) -> Self {
        Self {
            writer: writer.clone().unbind(),
            layout,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }
}

#[pymethods]
impl Group {
    /// As for a series.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.writer)
    }

    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let group = self.writer.bind(py).getattr(intern!(py, "group"))?;
        Ok((group, self.names(py)?))
    }

    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.names)
    }
}

/// `Group.log`.
pub(crate) struct LogGroup;

impl Method for LogGroup {
    type Class = Group;
    const NAME: &'static CStr = c"log";
    const DOC: &'static CStr =
        c"log($self, step, /, *values)\n--\n\nWrite one value for each name, as one row.";

    #[inline]
    fn fast(this: &Group, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        let (step, values) = arguments.positional.split_first()?;
        if values.len() != this.names.len() || arguments.names.is_some() {
            return None;
        }
        let step = plain_step(*step)?;
        let mut guard = this.writer.get().state.borrow(py);
        let state = &mut *guard;
        let Layout::Row { schema, order } = &this.layout else {
            return None;
        };
        state
            .journal
            .log_in_place(*schema, Some(step), unix_ns(), |places| {
                if let Some(order) = order {
                    for (place, value) in order.iter().zip(values) {
                        *places.get_mut(*place as usize)? = plain_bits(*value)?;
                    }
                    return Some(());
                }
                for (place, value) in places.iter_mut().zip(values) {
                    *place = plain_bits(*value)?;
                }
                Some(())
            })
    }

    fn full(this: &Bound<'_, Group>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        if let Some((name, _)) = arguments.named().next() {
            return Err(PyTypeError::new_err(format!(
                "log() got an unexpected keyword argument '{}'",
                name.to_str()?
            )));
        }
        let Some((step, values)) = arguments.positional.split_first() else {
            return Err(PyTypeError::new_err(
                "log() missing 1 required positional argument: 'step'",
            ));
        };
        let names = &this.get().names;
        if values.len() != names.len() {
            return Err(PyTypeError::new_err(format!(
                "log() takes a step and {} values, one for each name of the group ({} given)",
                names.len(),
                values.len()
            )));
        }
        let step = step_of(Some(*step))?;
        let numbers = names.iter().zip(values);
        let numbers = numbers.map(|(name, value)| value_or_device(name, value));
        let numbers = numbers.collect::<PyResult<Vec<Value>>>()?;
        let writer = this.get().writer.bind(this.py());
        arrive(writer)?;
        let Some(numbers) = all_known(&numbers) else {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            return write_partly(writer, &names, numbers, step);
        };
        let written =
            writer
                .get()
                .state
                .borrow(this.py())
                .write(&this.get().layout, step, &numbers);
        written.map_err(log_error)?;
        tell_if_forked(writer)
    }
}
