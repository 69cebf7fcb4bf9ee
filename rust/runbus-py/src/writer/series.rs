//! `Series`: a name looked up once.

use std::ffi::CStr;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use runbus_core::clock::unix_ns;
use runbus_core::journal::{SchemaId, Steps};

use super::waiting::write_partly;
use super::{MetricWriter, arrive, log_error, tell_if_forked};
use crate::fastcall::{Arguments, Method};
use crate::values::{Array, Value, plain_step, plain_value, step_of, value_or_device};

/// One metric of a run with its name looked up once.
#[pyclass(frozen, module = "runbus._core")]
pub(crate) struct Series {
    writer: Py<MetricWriter>,
    /// `None` if there was no memory for another name.
    schema: Option<SchemaId>,
    name: String,
}

impl Series {
    pub(crate) fn new(
        writer: &Bound<'_, MetricWriter>,
        schema: Option<SchemaId>,
        name: &str,
    ) -> Self {
        Self {
            writer: writer.clone().unbind(),
            schema,
            name: name.to_owned(),
        }
    }
}

#[pymethods]
impl Series {
    /// A run may keep its series: the collector must see through the circle.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.writer)
    }

    /// As another process's series, if the run can be pickled.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (&str,))> {
        let series = self.writer.bind(py).getattr(intern!(py, "series"))?;
        Ok((series, (&self.name,)))
    }

    #[pyo3(signature = (values, steps=None))]
    fn extend(&self, values: &Bound<'_, PyAny>, steps: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let writer = self.writer.bind(values.py());
        arrive(writer)?;
        let array = Array::of(&format!("the values of metric '{}'", self.name), values)?;
        array.check(&self.name)?;
        let steps = steps.filter(|steps| !steps.is_none());
        let regular = steps.map_or(Ok(Some(Steps::Automatic)), |steps| {
            regular(steps, array.len())
        })?;
        let own = match (regular, steps) {
            (None, Some(steps)) => steps_of(steps)?,
            _ => Vec::new(),
        };
        let steps = regular.unwrap_or(Steps::Each(&own));
        if matches!(steps, Steps::Each(_)) {
            check_lengths(own.len(), array.len())?;
        }
        let fill = |range, place: &mut [u64]| array.doubles(range, place);
        let mut state = writer.get().state.borrow(values.py());
        let journal = &mut state.journal;
        let written = match self.schema {
            Some(schema) => journal
                .extend(schema, steps, unix_ns(), array.len(), fill)
                .map(drop),
            None => journal.drop_unnamed(array.len()),
        };
        drop(state);
        written.map_err(log_error)?;
        tell_if_forked(writer)
    }

    #[getter]
    fn name(&self) -> &str {
        &self.name
    }
}

/// The steps that a `range` is; `None` if it is something else.
fn regular(steps: &Bound<'_, PyAny>, count: usize) -> PyResult<Option<Steps<'static>>> {
    let py = steps.py();
    let Ok(range) = steps.cast::<PyRange>() else {
        return Ok(None);
    };
    check_lengths(range.len()?, count)?;
    let first = step_of(Some(range.getattr(intern!(py, "start"))?.as_borrowed()))?;
    let stride = step_of(Some(range.getattr(intern!(py, "step"))?.as_borrowed()))?;
    if count > 0 {
        // The last is as far as it goes.
        step_of(Some(range.get_item(count - 1)?.as_borrowed()))?;
    }
    Ok(first
        .zip(stride)
        .map(|(first, stride)| Steps::Regular { first, stride }))
}

fn steps_of(steps: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
    if !steps.is_instance_of::<PyList>() && !steps.is_instance_of::<PyTuple>() {
        return Array::of("steps", steps)?.steps();
    }
    let one = |step: Bound<'_, PyAny>| {
        let step = step_of(Some(step.as_borrowed()))?;
        step.ok_or_else(|| PyTypeError::new_err("steps must be ints"))
    };
    steps.try_iter()?.map(|step| one(step?)).collect()
}

fn check_lengths(steps: usize, values: usize) -> PyResult<()> {
    if steps == values {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "there are {values} values and {steps} steps"
    )))
}

/// `Series.append`.
pub(crate) struct Append;

impl Method for Append {
    type Class = Series;
    const NAME: &'static CStr = c"append";
    const DOC: &'static CStr = c"append($self, value, step=None)\n--\n\nWrite one value.";

    #[inline]
    fn fast(this: &Series, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        let (value, step) = match (arguments.positional, arguments.names) {
            ([value, step], None) => (value, Some(plain_step(*step)?)),
            ([value], None) => (value, None),
            ([value], Some(_)) => {
                let step = arguments.only(intern!(py, "step"))?;
                (value, Some(plain_step(step)?))
            }
            _ => return None,
        };
        let mut state = this.writer.get().state.borrow(py);
        let value = plain_value(*value)?;
        state.journal.log_one(this.schema?, step, unix_ns(), value)
    }

    fn full(this: &Bound<'_, Series>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        let [value, step] = arguments.bind("append", ["value", "step"])?;
        let value = value.ok_or_else(|| {
            PyTypeError::new_err("append() missing 1 required positional argument: 'value'")
        })?;
        let step = step_of(step)?;
        let name = this.get().name.as_str();
        let writer = this.get().writer.bind(this.py());
        arrive(writer)?;
        match value_or_device(name, &value)? {
            Value::Known(number) => {
                let mut state = writer.get().state.borrow(this.py());
                let written = state.write_one(this.get().schema, step, number);
                written.map_err(log_error)?;
            }
            on_device @ Value::OnDevice(_) => {
                write_partly(writer, &[name], vec![on_device], step)?;
            }
        }
        tell_if_forked(writer)
    }
}
