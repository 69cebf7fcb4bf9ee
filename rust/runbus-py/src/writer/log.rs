//! `MetricWriter.log`.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use std::ffi::CStr;

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString};
use runbus_core::Error;
use runbus_core::clock::unix_ns;
use runbus_core::journal::Layout;

use super::caches::Key;
use super::flat::Flat;
use super::waiting::write_partly;
use super::{MetricWriter, State, arrive, log_error, tell_if_forked};
use crate::errors::to_python;
use crate::fastcall::{Arguments, Method, Object};
use crate::text::name_text;
use crate::values::{Value, all_known, plain_step, plain_value, step_of, value_or_device};

/// The method.
pub(crate) struct Log;

impl Method for Log {
    type Class = MetricWriter;
    const NAME: &'static CStr = c"log";
    const DOC: &'static CStr = c"log($self, name_or_values=None, /, value=None, step=None, **values)\n--\n\nWrite one value, or several as one row.";

    #[inline]
    fn fast(this: &MetricWriter, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        if let [name, value, step] = arguments.positional
            && arguments.names.is_none()
        {
            return this.log_known(py, *name, plain_value(*value)?, Some(plain_step(*step)?));
        }
        let step = match arguments.names {
            None => None,
            Some(_) if arguments.positional.is_empty() => {
                return this.log_known_keywords(py, arguments);
            }
            Some(_) => Some(plain_step(arguments.only(intern!(py, "step"))?)?),
        };
        match arguments.positional {
            [name, value] => this.log_known(py, *name, plain_value(*value)?, step),
            [values] => this
                .log_known_dict(py, *values, step)
                .or_else(|| this.log_known_names(py, *values, step)),
            _ => None,
        }
    }

    fn full(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
        arrive(this)?;
        log_any(this, arguments)?;
        tell_if_forked(this)
    }
}

fn log_any(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let has_first = match arguments.positional {
        [] => false,
        [only] => !only.is_none(),
        _ => true,
    };
    if !has_first && arguments.names.is_some() {
        return log_keywords(this, arguments);
    }
    let [first, value, step] = arguments.bind("log", ["", "value", "step"])?;
    let first = first.ok_or_else(nothing_to_log)?;
    let step = step_of(step)?;
    if let Ok(name) = first.cast::<PyString>() {
        return log_scalar(this, &name, value, step);
    }
    if value.is_some_and(|value| !value.is_none()) && first.cast::<PyMapping>().is_ok() {
        return Err(PyTypeError::new_err(
            "log() takes no value beside a mapping; pass the step as step=",
        ));
    }
    log_values(this, &first, step)
}

fn nothing_to_log() -> PyErr {
    PyTypeError::new_err("log() missing 1 required positional argument: 'name_or_values'")
}

/// The usual calls: no Python code runs, and whatever is unusual is left to the others.
impl MetricWriter {
    #[inline(always)]
    fn log_known(
        &self,
        py: Python<'_>,
        name: Object<'_, '_>,
        value: f64,
        step: Option<i64>,
    ) -> Option<()> {
        let mut state = self.state.borrow(py);
        let schema = state.names.get(name)?;
        state.journal.log_one(schema, step, unix_ns(), value)
    }

    #[inline]
    fn log_known_dict(
        &self,
        py: Python<'_>,
        values: Object<'_, '_>,
        step: Option<i64>,
    ) -> Option<()> {
        let dict = values.cast_exact::<PyDict>().ok()?;
        let mut guard = self.state.borrow(py);
        let State {
            journal, shapes, ..
        } = &mut *guard;
        let shape = shapes.get(dict)?;
        let read = |places: &mut [u64]| shape.read(dict, places);
        journal.log_in_place(shape.schema, step, unix_ns(), read)
    }

    /// A dict of names that were all logged before, but not these together, or in another order.
    fn log_known_names(
        &self,
        py: Python<'_>,
        values: Object<'_, '_>,
        step: Option<i64>,
    ) -> Option<()> {
        let dict = values.cast_exact::<PyDict>().ok()?;
        let mut guard = self.state.borrow(py);
        let State {
            journal,
            names,
            row,
            ..
        } = &mut *guard;
        names.read(dict, row)?;
        journal.log_named(step, unix_ns(), row)
    }

    fn log_known_keywords(&self, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()> {
        let mut guard = self.state.borrow(py);
        let State {
            journal, keywords, ..
        } = &mut *guard;
        let site = keywords.get(arguments)?;
        let step = match site.step {
            Some(index) => Some(plain_step(*arguments.keywords.get(index)?)?),
            None => None,
        };
        let read = |places: &mut [u64]| site.read(arguments, places);
        journal.log_in_place(site.schema, step, unix_ns(), read)
    }
}

fn log_scalar(
    this: &Bound<'_, MetricWriter>,
    name: &Bound<'_, PyString>,
    value: Option<Object<'_, '_>>,
    step: Option<i64>,
) -> PyResult<()> {
    let text = name_text(name)?;
    let Some(value) = value else {
        return Err(PyTypeError::new_err(format!(
            "the value of metric '{text}' must be a number, not NoneType"
        )));
    };
    let value = match value_or_device(text, &value)? {
        Value::Known(value) => value,
        on_device @ Value::OnDevice(_) => {
            return write_partly(this, &[text], vec![on_device], step);
        }
    };
    let mut state = this.get().state.borrow(this.py());
    let schema = match state.names.get(name.as_any().as_borrowed()) {
        Some(schema) => Some(schema),
        None => state.journal.name(text).map_err(to_python)?,
    };
    let evicted = schema.and_then(|schema| state.names.put(name, schema));
    let result = state.write_one(schema, step, value).map_err(log_error);
    drop(state);
    drop(evicted);
    result
}

fn log_values(
    this: &Bound<'_, MetricWriter>,
    values: &Bound<'_, PyAny>,
    step: Option<i64>,
) -> PyResult<()> {
    let mut flat = Flat::of(values)?;
    let dict = values.cast_exact::<PyDict>().ok();
    let keys = dict.and_then(|dict| Some((dict.len(), flat.keys.take()?)));
    let mut evicted = (None, Vec::new());
    log_flat(this, flat, step, |state, layout| {
        let Some((length, keys)) = keys else { return };
        let is_flat = keys.iter().all(|key| key.inner.is_none());
        if is_flat && keys.len() <= MAX_NAMED_KEYS {
            evicted.1 = state.remember_names(this.py(), &keys);
        }
        evicted.0 = state.shapes.put(length, keys, layout);
    })
}

/// `log(step=3, loss=0.5, acc=0.9)`.
fn log_keywords(this: &Bound<'_, MetricWriter>, arguments: &Arguments<'_, '_>) -> PyResult<()> {
    let values = PyDict::new(this.py());
    let mut step = None;
    for (name, value) in arguments.named() {
        if name.to_str()? == "step" {
            step = Some(value);
        } else {
            values.set_item(name, value)?;
        }
    }
    if values.is_empty() {
        return Err(nothing_to_log());
    }
    let step = step_of(step)?;
    let flat = Flat::of(&values)?;
    let keys = flat.keys.as_ref();
    let is_flat = keys.is_some_and(|keys| keys.iter().all(|key| key.inner.is_none()));
    let mut evicted = None;
    log_flat(this, flat, step, |state, layout| {
        if is_flat {
            evicted = state.keywords.put(arguments, layout);
        }
    })
}

fn log_flat(
    this: &Bound<'_, MetricWriter>,
    flat: Flat,
    step: Option<i64>,
    remember: impl FnOnce(&mut State, &Layout),
) -> PyResult<()> {
    if flat.names.is_empty() {
        let is_closed = this.get().state.borrow(this.py()).journal.is_closed();
        return if is_closed {
            Err(log_error(Error::Closed))
        } else {
            Ok(())
        };
    }
    let names: Vec<&str> = flat.names.iter().map(String::as_str).collect();
    let Some(values) = all_known(&flat.values) else {
        return write_partly(this, &names, flat.values, step);
    };
    let mut state = this.get().state.borrow(this.py());
    let layout = state.journal.layout(&names).map_err(to_python)?;
    remember(&mut state, &layout);
    state.write(&layout, step, &values).map_err(log_error)
}

/// The names of larger dicts are not remembered one by one: others would have to make room.
const MAX_NAMED_KEYS: usize = 64;

impl State {
    /// Remember the names of a row one by one, for rows that have others of them; returns what had to
    /// make room, to be dropped when the writer is free.
    fn remember_names(&mut self, py: Python<'_>, keys: &[Key]) -> Vec<Py<PyString>> {
        let mut evicted = Vec::new();
        for key in keys {
            let name = key.name.bind(py);
            let known = self.names.get(name.as_any().as_borrowed());
            // They were checked just now.
            let text = name.to_str().ok().filter(|_| known.is_none());
            if let Some(text) = text
                && let Ok(Some(schema)) = self.journal.name(text)
            {
                evicted.extend(self.names.put(name, schema));
            }
        }
        evicted
    }
}
