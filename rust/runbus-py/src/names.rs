//! From Python's str and dict objects to schemas, by identity: no text is compared on the hot path.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use runbus_core::journal::SchemaId;

use crate::fastcall::Arguments;
use crate::numbers::{plain_step, plain_value};

const NAME_SLOTS: usize = 1024;
const SHAPE_SLOTS: usize = 64;
/// Larger dicts are looked up by name each time: the cache must stay small.
const MAX_SHAPE_KEYS: usize = 1024;

/// A pointer's place in a table with `slots` places, a power of two.
#[inline]
fn place(pointer: *mut ffi::PyObject, salt: usize, slots: usize) -> usize {
    let address = pointer.addr();
    ((address >> 4) ^ (address >> 14) ^ salt.wrapping_mul(31)) & (slots - 1)
}

type Slot = Option<(Py<PyString>, SchemaId)>;

/// The schema of a single name, found by the identity of its str object.
///
/// A slot owns a reference, so no other object can come to live at the same address.
pub(crate) struct NameCache {
    slots: Box<[Slot]>,
}

impl NameCache {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..NAME_SLOTS).map(|_| None).collect(),
        }
    }

    #[inline]
    pub(crate) fn get(&self, name: Borrowed<'_, '_, PyAny>) -> Option<SchemaId> {
        let pointer = name.as_ptr();
        let first = place(pointer, 0, NAME_SLOTS);
        [first, first ^ 1]
            .into_iter()
            .find_map(|place| match &self.slots[place] {
                Some((known, schema)) if known.as_ptr() == pointer => Some(*schema),
                _ => None,
            })
    }

    /// Remember the name; returns what had to make room, to be dropped when the writer is free.
    pub(crate) fn put(
        &mut self,
        name: &Bound<'_, PyString>,
        schema: SchemaId,
    ) -> Option<Py<PyString>> {
        let first = place(name.as_ptr(), 0, NAME_SLOTS);
        let place = if self.slots[first].is_none() {
            first
        } else {
            first ^ 1
        };
        // Of two taken slots the newer gives way, so that a flood of names leaves old ones alone.
        let old = self.slots[place].replace((name.clone().unbind(), schema));
        old.map(|(name, _)| name)
    }
}

/// The keys of a dict that was logged before.
pub(crate) struct Shape {
    keys: Vec<Py<PyString>>,
    schema: SchemaId,
}

/// The schema of a dict, found by the identities of its keys in their order.
pub(crate) struct ShapeCache {
    slots: Box<[Option<Shape>]>,
}

impl ShapeCache {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SHAPE_SLOTS).map(|_| None).collect(),
        }
    }

    /// Read the dict's values, if its shape is known and its values are plain numbers.
    ///
    /// No Python code runs, so the writer may be borrowed meanwhile.
    #[inline]
    pub(crate) fn read(
        &self,
        dict: Borrowed<'_, '_, PyDict>,
        values: &mut Vec<f64>,
    ) -> Option<SchemaId> {
        let length = dict.len();
        let (first, _) = Items { dict, position: 0 }.next()?;
        let shape = self.slots[place(first.as_ptr(), length, SHAPE_SLOTS)].as_ref()?;
        if shape.keys.len() != length {
            return None;
        }
        values.resize(length, 0.0);
        let mut items = Items { dict, position: 0 };
        for (known, place) in shape.keys.iter().zip(values.iter_mut()) {
            let (key, value) = items.next()?;
            if known.as_ptr() != key.as_ptr() {
                return None;
            }
            *place = plain_value(value)?;
        }
        Some(shape.schema)
    }

    /// Remember the shape; returns what had to make room, to be dropped when the writer is free.
    pub(crate) fn put(&mut self, keys: Vec<Py<PyString>>, schema: SchemaId) -> Option<Shape> {
        let first = keys.first()?;
        if keys.len() > MAX_SHAPE_KEYS {
            return None;
        }
        let place = place(first.as_ptr(), keys.len(), SHAPE_SLOTS);
        self.slots[place].replace(Shape { keys, schema })
    }
}

/// The keywords of a call in the source: each such place has a tuple of names of its own.
pub(crate) struct CallSite {
    names: Py<PyTuple>,
    /// Where the step is among them.
    step: Option<usize>,
    schema: SchemaId,
}

/// The schema of keyword arguments, found by the identity of the tuple of their names.
pub(crate) struct KeywordCache {
    slots: Box<[Option<CallSite>]>,
}

impl KeywordCache {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SHAPE_SLOTS).map(|_| None).collect(),
        }
    }

    /// Read the step and the values, if the names are known and all are plain numbers.
    #[inline]
    pub(crate) fn read(
        &self,
        arguments: &Arguments<'_, '_>,
        values: &mut Vec<f64>,
    ) -> Option<(SchemaId, Option<i64>)> {
        let names = arguments.names?.as_ptr();
        let site = self.slots[place(names, 0, SHAPE_SLOTS)].as_ref()?;
        if site.names.as_ptr() != names {
            return None;
        }
        let mut step = None;
        values.clear();
        for (index, value) in arguments.keywords.iter().enumerate() {
            if site.step == Some(index) {
                step = Some(plain_step(*value)?);
            } else {
                values.push(plain_value(*value)?);
            }
        }
        Some((site.schema, step))
    }

    /// Remember the names; returns what had to make room, to be dropped when the writer is free.
    pub(crate) fn put(
        &mut self,
        arguments: &Arguments<'_, '_>,
        schema: SchemaId,
    ) -> Option<CallSite> {
        let names = arguments.names?;
        let step = arguments
            .named()
            .position(|(name, _)| name.to_str().is_ok_and(|name| name == "step"));
        self.slots[place(names.as_ptr(), 0, SHAPE_SLOTS)].replace(CallSite {
            names: names.to_owned().unbind(),
            step,
            schema,
        })
    }
}

type Item<'a, 'py> = (Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>);

/// The items of a dict without new references: only while nothing can change the dict.
struct Items<'a, 'py> {
    dict: Borrowed<'a, 'py, PyDict>,
    position: ffi::Py_ssize_t,
}

impl<'a, 'py> Items<'a, 'py> {
    #[inline]
    fn next(&mut self) -> Option<Item<'a, 'py>> {
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the GIL is held and the dict is alive; the three pointers are valid for writes.
        let found = unsafe {
            ffi::PyDict_Next(
                self.dict.as_ptr(),
                &raw mut self.position,
                &raw mut key,
                &raw mut value,
            )
        };
        if found == 0 {
            return None;
        }
        let py = self.dict.py();
        // SAFETY: PyDict_Next gave live objects. The dict keeps them alive while it is unchanged,
        // and `ShapeCache::read`, the only user, runs no Python code that could change it.
        unsafe { Some((Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value))) }
    }
}
