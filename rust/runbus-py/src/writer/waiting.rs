//! Values in the memory of a device: kept at the call, fetched later, many in one copy.
//!
//! To ask a device for a number waits for all work it was given before. So `log` takes a copy on the
//! device, which waits for nothing, and remembers for which name, step and time it is; a thread of
//! `runbus.metrics._devices` has them fetched soon after, and so do `sync` and `close`.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use runbus_core::clock::unix_ns;
use runbus_core::journal::Layout;

use super::{MetricWriter, State, log_error, tell_rounded};
use crate::errors::to_python;
use crate::reports::warn;
use crate::values::{Value, integer, plain_value};

/// So many values may wait: 8 MiB on a GPU that gives 512 bytes to each. One more, and `log` fetches.
const MOST_WAITING: usize = 16_384;
const MODULE: &str = "runbus.metrics._devices";

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

/// Write a row of which not all values are doubles: integers as such, and what is on a device when it is
/// fetched.
pub(crate) fn write_partly(
    writer: &Bound<'_, MetricWriter>,
    names: &[&str],
    values: Vec<Value>,
    step: Option<i64>,
) -> PyResult<()> {
    let py = writer.py();
    let mut state = writer.get().state.borrow(py);
    // So wrong names are reported as for any other row, before anything is written.
    state.journal.layout(names).map_err(to_python)?;
    let step = state.journal.take_step(step).map_err(log_error)?;
    let time_ns = unix_ns();
    let was_waiting = state.waiting.len();
    let (mut known_names, mut known) = (Vec::new(), Vec::new());
    let (mut integers, mut rounded) = (Vec::new(), None);
    for (name, value) in names.iter().zip(values) {
        match value {
            Value::Known(value) => {
                known_names.push(*name);
                known.push(value);
            }
            Value::Rounded(value) => {
                rounded.get_or_insert(*name);
                known_names.push(*name);
                known.push(value);
            }
            Value::Integer(integer) => integers.push((*name, integer)),
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
    for (name, integer) in integers {
        let schema = state.journal.name(name).map_err(to_python)?;
        let written = state.journal.log_integer(schema, step, time_ns, integer);
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
    match rounded {
        Some(name) => tell_rounded(writer, name),
        None => Ok(()),
    }
}

impl State {
    /// Write a value that was fetched; whether it is one that can be.
    fn write_late(&mut self, kept: &Kept, value: &Value) -> bool {
        let (step, time_ns) = (kept.step, kept.time_ns);
        let written = match value {
            Value::Known(value) | Value::Rounded(value) => {
                self.journal
                    .log_late(&kept.layout, step, time_ns, &[*value])
            }
            Value::Integer(integer) => {
                let schema = kept.layout.single();
                self.journal.log_integer(schema, step, time_ns, *integer)
            }
            Value::OnDevice(_) => return false,
        };
        written.is_ok()
    }

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
    // One at a time, so that values stay in their order, and nobody continues while some are under way.
    let turn = Arc::clone(&writer.fetching.borrow(py));
    let _turn = turn.lock_py_attached(py);
    let kept = std::mem::take(&mut writer.state.borrow(py).waiting.values);
    if kept.is_empty() {
        return;
    }
    let numbers = numbers(py, &kept);
    let found = numbers.as_ref().map_or(&[][..], Vec::as_slice);
    let values = found
        .iter()
        .map(|number| match plain_value(number.as_borrowed()) {
            Some(value) => Ok(Value::Known(value)),
            None => integer(number),
        });
    // Python code may run here: not while the writer is borrowed.
    let values: Vec<PyResult<Value>> = values.collect();
    let mut state = writer.state.borrow(py);
    let mut lost = 0;
    for (index, kept) in kept.iter().enumerate() {
        let written = match values.get(index) {
            Some(Ok(value)) => state.write_late(kept, value),
            Some(Err(_)) | None => false,
        };
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
    let cause = cause.map_or("they are no numbers".to_owned(), |error| error.to_string());
    let text = format!("{lost} values on a device could not be fetched: {cause}");
    if let Err(error) = warn(py, &text) {
        error.write_unraisable(py, None);
    }
}
