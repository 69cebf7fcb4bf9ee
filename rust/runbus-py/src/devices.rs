//! Values in the memory of a device: kept at the call, fetched later, many in one copy.
//!
//! To ask a device for a number waits for all work it was given before. So `log` takes a copy on the
//! device, which waits for nothing, and remembers for which name, step and time it is; a thread of
//! `runbus.metrics._devices` has them fetched soon after, and so do `sync` and `close`.

use std::sync::Arc;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use runbus_core::clock::unix_ns;
use runbus_core::journal::Layout;

use crate::arrays::CPU_DEVICES;
use crate::errors::to_python;
use crate::numbers::plain_value;
use crate::reports::warn;
use crate::writer::{MetricWriter, State, log_error};

/// So many values may wait: 8 MiB on a GPU that gives 512 bytes to each. One more, and `log` fetches.
const MOST_WAITING: usize = 16_384;
const MODULE: &str = "runbus.metrics._devices";

/// The value of a metric.
pub(crate) enum Value {
    Known(f64),
    /// A copy of one element on a device.
    OnDevice(Py<PyAny>),
}

/// The values, if none is on a device.
pub(crate) fn all_known(values: &[Value]) -> Option<Vec<f64>> {
    let known = values.iter().map(|value| match value {
        Value::Known(value) => Some(*value),
        Value::OnDevice(_) => None,
    });
    known.collect()
}

/// A value to be fetched.
struct Kept {
    layout: Layout,
    step: i64,
    time_ns: i64,
    value: Py<PyAny>,
}

/// What waits to be fetched.
#[derive(Default)]
pub(crate) struct Waiting {
    values: Vec<Kept>,
    /// Values that could not be fetched.
    pub(crate) dropped: u64,
    /// How often `log` had to fetch.
    pub(crate) stalls: u64,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Have none any more.
    pub(crate) fn take(&mut self) -> impl Sized + use<> {
        std::mem::take(&mut self.values)
    }
}

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

/// Write a row of which some values are on a device: what is known now, the rest when it is fetched.
pub(crate) fn write_partly(
    writer: &Bound<'_, MetricWriter>,
    names: &[&str],
    values: Vec<Value>,
    step: Option<i64>,
) -> PyResult<()> {
    let py = writer.py();
    let mut state = writer.get().state.borrow(py);
    // So wrong names are told as for any other row, before anything is written.
    state.journal.layout(names).map_err(to_python)?;
    let step = state.journal.take_step(step).map_err(log_error)?;
    let time_ns = unix_ns();
    let was_waiting = state.waiting.len();
    let (mut known_names, mut known) = (Vec::new(), Vec::new());
    for (name, value) in names.iter().zip(values) {
        match value {
            Value::Known(value) => {
                known_names.push(*name);
                known.push(value);
            }
            Value::OnDevice(value) => {
                let layout = state.journal.layout(&[name]).map_err(to_python)?;
                state.keep(Kept {
                    layout,
                    step,
                    time_ns,
                    value,
                });
            }
        }
    }
    if !known.is_empty() {
        let layout = state.journal.layout(&known_names).map_err(to_python)?;
        let written = state.journal.log_late(&layout, step, time_ns, &known);
        written.map_err(log_error)?;
    }
    let waiting = state.waiting.len();
    if waiting >= MOST_WAITING {
        state.waiting.stalls += 1;
    }
    drop(state);
    if waiting >= MOST_WAITING {
        fetch(writer.get(), py);
    } else if waiting > 0 && was_waiting == 0 {
        let module = py.import(MODULE)?;
        module.call_method1(intern!(py, "fetch_soon"), (writer,))?;
    }
    Ok(())
}

impl State {
    fn keep(&mut self, kept: Kept) {
        if self.journal.is_inherited() {
            self.waiting.dropped += 1;
        } else {
            self.waiting.values.push(kept);
        }
    }
}

/// Fetch all values that wait, and write them. Never raises: what is lost is counted and told.
pub(crate) fn fetch(writer: &MetricWriter, py: Python<'_>) {
    if writer.state.borrow(py).journal.is_inherited() {
        // The devices are the parent's.
        return;
    }
    // One at a time, so that values stay in their order, and nobody goes on while some are under way.
    let turn = Arc::clone(&writer.fetching.borrow(py));
    let _turn = turn.lock_py_attached(py);
    let kept = std::mem::take(&mut writer.state.borrow(py).waiting.values);
    if kept.is_empty() {
        return;
    }
    let numbers = numbers(py, &kept);
    let found = numbers.as_ref().map_or(&[][..], Vec::as_slice);
    let mut state = writer.state.borrow(py);
    let mut lost = 0;
    for (index, kept) in kept.iter().enumerate() {
        let number = found.get(index);
        let value = number.and_then(|number| plain_value(number.as_borrowed()));
        let written = value.is_some_and(|value| {
            let row = [value];
            let written = state
                .journal
                .log_late(&kept.layout, kept.step, kept.time_ns, &row);
            written.is_ok()
        });
        lost += u64::from(!written);
    }
    state.waiting.dropped += lost;
    drop(state);
    if lost > 0 {
        tell(py, lost, numbers.err());
    }
}

/// The numbers, in their order.
fn numbers<'py>(py: Python<'py>, kept: &[Kept]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let values: Vec<_> = kept.iter().map(|kept| kept.value.bind(py)).collect();
    let module = py.import(MODULE)?;
    module
        .call_method1(intern!(py, "numbers_of"), (values,))?
        .extract()
}

fn tell(py: Python<'_>, lost: u64, cause: Option<PyErr>) {
    let cause = cause.map_or("no double represents them".to_owned(), |error| {
        error.to_string()
    });
    let text = format!("{lost} values on a device could not be fetched: {cause}");
    if let Err(error) = warn(py, &text) {
        error.write_unraisable(py, None);
    }
}
