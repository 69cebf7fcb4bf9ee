//! From Python's str and dict objects to schemas, by identity: no text is compared on the hot path.

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use runbus_core::journal::{Layout, SchemaId};

use crate::fastcall::Arguments;
use crate::values::plain_bits;

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

    /// Put the names of a dict and the bits of its values into `row`, if all names are known and all
    /// values plain numbers.
    ///
    /// No Python code runs, so the writer may be borrowed meanwhile.
    pub(crate) fn read(
        &self,
        dict: Borrowed<'_, '_, PyDict>,
        row: &mut Vec<(SchemaId, u64)>,
    ) -> Option<()> {
        row.clear();
        let mut items = Items { dict, position: 0 };
        while let Some((key, value)) = items.next() {
            row.push((self.get(key)?, plain_bits(value)?));
        }
        (!row.is_empty()).then_some(())
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

/// A key of a dict that was logged before.
pub(crate) struct Key {
    pub(crate) name: Py<PyString>,
    /// The length of the dict that is its value; the keys of that one follow.
    pub(crate) inner: Option<usize>,
}

/// A dict that was logged before.
pub(crate) struct Shape {
    /// How many keys it has itself.
    length: usize,
    is_nested: bool,
    /// Its keys, and those of dicts in it.
    keys: Vec<Key>,
    pub(crate) schema: SchemaId,
    /// For each value its place in the record; `None` if they are in their places.
    order: Option<Box<[u32]>>,
}

impl Shape {
    /// Put the bits of a dict's values into `places`, if it has the keys and its values are plain
    /// numbers.
    ///
    /// No Python code runs, so the writer may be borrowed meanwhile.
    #[inline]
    pub(crate) fn read(&self, dict: Borrowed<'_, '_, PyDict>, places: &mut [u64]) -> Option<()> {
        if self.is_nested {
            let mut keys = self.keys.iter();
            let mut target = Target {
                places,
                order: self.order.as_deref(),
                next: 0,
            };
            read_nested(&mut keys, dict, &mut target)?;
            // None is left, unless a dict was changed while it was read first.
            return keys.next().is_none().then_some(());
        }
        let mut items = Items { dict, position: 0 };
        if let Some(order) = &self.order {
            for (known, place) in self.keys.iter().zip(order) {
                let (key, value) = items.next()?;
                if known.name.as_ptr() != key.as_ptr() {
                    return None;
                }
                *places.get_mut(*place as usize)? = plain_bits(value)?;
            }
            return Some(());
        }
        for (known, place) in self.keys.iter().zip(places) {
            let (key, value) = items.next()?;
            if known.name.as_ptr() != key.as_ptr() {
                return None;
            }
            *place = plain_bits(value)?;
        }
        Some(())
    }
}

/// Where the values of a row go, one after the other.
pub(crate) struct Target<'a> {
    pub(crate) places: &'a mut [u64],
    pub(crate) order: Option<&'a [u32]>,
    pub(crate) next: usize,
}

impl Target<'_> {
    #[inline]
    pub(crate) fn put(&mut self, bits: u64) -> Option<()> {
        let place = match self.order {
            Some(order) => *order.get(self.next)? as usize,
            None => self.next,
        };
        *self.places.get_mut(place)? = bits;
        self.next += 1;
        Some(())
    }
}

/// The same of a dict of numbers and dicts, which are to have the next of the keys.
fn read_nested(
    keys: &mut std::slice::Iter<'_, Key>,
    dict: Borrowed<'_, '_, PyDict>,
    target: &mut Target<'_>,
) -> Option<()> {
    let mut items = Items { dict, position: 0 };
    while let Some((key, value)) = items.next() {
        let known = keys.next()?;
        if known.name.as_ptr() != key.as_ptr() {
            return None;
        }
        match known.inner {
            None => target.put(plain_bits(value)?)?,
            Some(length) => {
                let inner = value.cast_exact::<PyDict>().ok()?;
                if inner.len() != length {
                    return None;
                }
                read_nested(keys, inner, target)?;
            }
        }
    }
    Some(())
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

    /// The shape that the dict has, going by its first key and its length.
    #[inline]
    pub(crate) fn get(&self, dict: Borrowed<'_, '_, PyDict>) -> Option<&Shape> {
        let length = dict.len();
        let (first, _) = Items { dict, position: 0 }.next()?;
        let shape = self.slots[place(first.as_ptr(), length, SHAPE_SLOTS)].as_ref()?;
        (shape.length == length).then_some(shape)
    }

    /// Remember the shape; returns what had to make room, to be dropped when the writer is free.
    ///
    /// `length` is how many of the keys are those of the dict itself.
    pub(crate) fn put(&mut self, length: usize, keys: Vec<Key>, layout: &Layout) -> Option<Shape> {
        let first = keys.first()?;
        let Layout::Row { schema, order } = layout else {
            return None;
        };
        let is_nested = keys.iter().any(|key| key.inner.is_some());
        if keys.len() > MAX_SHAPE_KEYS || !is_nested && keys.len() != length {
            return None;
        }
        let place = place(first.name.as_ptr(), length, SHAPE_SLOTS);
        self.slots[place].replace(Shape {
            length,
            is_nested,
            keys,
            schema: *schema,
            order: order.clone(),
        })
    }
}

/// The keywords of a call in the source: each such place has a tuple of names of its own.
pub(crate) struct CallSite {
    names: Py<PyTuple>,
    /// Where the step is among them.
    pub(crate) step: Option<usize>,
    pub(crate) schema: SchemaId,
    /// For each value its place in the record; `None` if they are in their places.
    order: Option<Box<[u32]>>,
}

impl CallSite {
    /// Put the bits of the values into `places`, if all are plain numbers.
    #[inline]
    pub(crate) fn read(&self, arguments: &Arguments<'_, '_>, places: &mut [u64]) -> Option<()> {
        let mut target = Target {
            places,
            order: self.order.as_deref(),
            next: 0,
        };
        for (index, value) in arguments.keywords.iter().enumerate() {
            if self.step != Some(index) {
                target.put(plain_bits(*value)?)?;
            }
        }
        Some(())
    }
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

    /// The place in the source that the arguments come from.
    #[inline]
    pub(crate) fn get(&self, arguments: &Arguments<'_, '_>) -> Option<&CallSite> {
        let names = arguments.names?.as_ptr();
        let site = self.slots[place(names, 0, SHAPE_SLOTS)].as_ref()?;
        (site.names.as_ptr() == names).then_some(site)
    }

    /// Remember the names; returns what had to make room, to be dropped when the writer is free.
    pub(crate) fn put(
        &mut self,
        arguments: &Arguments<'_, '_>,
        layout: &Layout,
    ) -> Option<CallSite> {
        let names = arguments.names?;
        let Layout::Row { schema, order } = layout else {
            return None;
        };
        let step = arguments
            .named()
            .position(|(name, _)| name.to_str().is_ok_and(|name| name == "step"));
        self.slots[place(names.as_ptr(), 0, SHAPE_SLOTS)].replace(CallSite {
            names: names.to_owned().unbind(),
            step,
            schema: *schema,
            order: order.clone(),
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
        // and the users, all in `ShapeCache::get` and `Shape::read`, run no Python code that could change it.
        unsafe { Some((Borrowed::from_ptr(py, key), Borrowed::from_ptr(py, value))) }
    }
}
