//! Points in Arrow's C interface: other libraries read them in place, without Arrow in here.
//!
//! <https://arrow.apache.org/docs/format/CStreamInterface.html>

use std::any::Any;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use runbus_core::series::SeriesData;

use crate::columns::PySeriesData;

#[repr(C)]
struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

#[repr(C)]
struct ArrowArrayStream {
    get_schema: unsafe extern "C" fn(*mut Self, *mut ArrowSchema) -> c_int,
    get_next: unsafe extern "C" fn(*mut Self, *mut ArrowArray) -> c_int,
    get_last_error: unsafe extern "C" fn(*mut Self) -> *const c_char,
    release: Option<unsafe extern "C" fn(*mut Self)>,
    private_data: *mut c_void,
}

// SAFETY: the private data is a `Batches`, which has no thread affinity.
unsafe impl Send for ArrowArrayStream {}

impl Drop for ArrowArrayStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: nobody moved the stream out, or `release` would be gone.
            unsafe { release(self) };
        }
    }
}

/// What a schema owns: its release frees it.
struct OwnedSchema {
    children: Vec<*mut ArrowSchema>,
    dictionary: *mut ArrowSchema,
}

/// What an array owns: its release frees it.
struct OwnedArray {
    buffers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
    dictionary: *mut ArrowArray,
    _data: Box<dyn Any>,
}

fn schema(
    format: &'static CStr,
    name: &'static CStr,
    children: Vec<ArrowSchema>,
    dictionary: Option<ArrowSchema>,
) -> ArrowSchema {
    let boxed = |schema| Box::into_raw(Box::new(schema));
    let mut owned = Box::new(OwnedSchema {
        children: children.into_iter().map(boxed).collect(),
        dictionary: dictionary.map_or(ptr::null_mut(), boxed),
    });
    ArrowSchema {
        format: format.as_ptr(),
        name: name.as_ptr(),
        metadata: ptr::null(),
        flags: 0,
        n_children: count(owned.children.len()),
        children: owned.children.as_mut_ptr(),
        dictionary: owned.dictionary,
        release: Some(release_schema),
        private_data: Box::into_raw(owned).cast(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: the consumer calls this once with a schema made by `schema`; the children are boxes
    // of the same make, whose `release` is gone if the consumer moved them out.
    unsafe {
        let owned = Box::from_raw((*schema).private_data.cast::<OwnedSchema>());
        let dictionary = std::iter::once(owned.dictionary).filter(|child| !child.is_null());
        for child in owned.children.into_iter().chain(dictionary) {
            if let Some(release) = (*child).release {
                release(child);
            }
            drop(Box::from_raw(child));
        }
        (*schema).release = None;
    }
}

/// An array whose buffers lie in `data`; none has nulls.
fn array(
    length: usize,
    buffers: Vec<*const c_void>,
    children: Vec<ArrowArray>,
    dictionary: Option<ArrowArray>,
    data: Box<dyn Any>,
) -> ArrowArray {
    let boxed = |array| Box::into_raw(Box::new(array));
    let mut owned = Box::new(OwnedArray {
        buffers,
        children: children.into_iter().map(boxed).collect(),
        dictionary: dictionary.map_or(ptr::null_mut(), boxed),
        _data: data,
    });
    ArrowArray {
        length: count(length),
        null_count: 0,
        offset: 0,
        n_buffers: count(owned.buffers.len()),
        n_children: count(owned.children.len()),
        buffers: owned.buffers.as_mut_ptr(),
        children: owned.children.as_mut_ptr(),
        dictionary: owned.dictionary,
        release: Some(release_array),
        private_data: Box::into_raw(owned).cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: as for `release_schema`.
    unsafe {
        let owned = Box::from_raw((*array).private_data.cast::<OwnedArray>());
        let dictionary = std::iter::once(owned.dictionary).filter(|child| !child.is_null());
        for child in owned.children.iter().copied().chain(dictionary) {
            if let Some(release) = (*child).release {
                release(child);
            }
            drop(Box::from_raw(child));
        }
        drop(owned);
        (*array).release = None;
    }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The names of all series, as Arrow lays texts out.
struct Names {
    ends: Vec<i32>,
    bytes: Vec<u8>,
}

/// What a stream still has to give: a batch for each series.
struct Batches {
    names: Arc<Names>,
    left: VecDeque<(i32, SeriesData)>,
    /// Whether the values are integers: all of them, and doubles would not do.
    are_integers: bool,
}

impl Batches {
    fn new(series: Vec<(String, SeriesData)>) -> Self {
        let mut names = Names {
            ends: vec![0],
            bytes: Vec::new(),
        };
        let mut left = VecDeque::new();
        for (index, (name, data)) in (0..).zip(series) {
            names.bytes.extend(name.as_bytes());
            // A journal holds 64 MiB of names.
            names
                .ends
                .push(i32::try_from(names.bytes.len()).unwrap_or(i32::MAX));
            left.push_back((index, data));
        }
        Self {
            names: Arc::new(names),
            are_integers: !left.is_empty()
                && left.iter().all(|(_, data)| data.integers().is_some()),
            left,
        }
    }

    fn schema(&self) -> ArrowSchema {
        let names = schema(c"u", c"", vec![], None);
        let values = if self.are_integers { c"l" } else { c"g" };
        let columns = vec![
            schema(c"i", c"name", vec![], Some(names)),
            schema(c"l", c"step", vec![], None),
            schema(c"tsn:UTC", c"time", vec![], None),
            schema(values, c"value", vec![], None),
        ];
        schema(c"+s", c"", columns, None)
    }

    fn next(&mut self) -> Option<ArrowArray> {
        let (index, data) = self.left.pop_front()?;
        let length = data.len();
        let names = Arc::clone(&self.names);
        let texts: Vec<*const c_void> = vec![
            ptr::null(),
            names.ends.as_ptr().cast(),
            names.bytes.as_ptr().cast(),
        ];
        let names = array(names.ends.len() - 1, texts, vec![], None, Box::new(names));
        let indices = vec![index; length];
        let start: *const c_void = indices.as_ptr().cast();
        let with = |start| vec![ptr::null(), start];
        let integers = data.integers().filter(|_| self.are_integers);
        let values = if let Some(integers) = integers {
            let start = integers.as_ptr().cast();
            array(length, with(start), vec![], None, Box::new(integers))
        } else {
            let start = data.values.as_ptr().cast();
            array(length, with(start), vec![], None, Box::new(data.values))
        };
        let columns = vec![
            array(length, with(start), vec![], Some(names), Box::new(indices)),
            array(
                length,
                with(data.steps.as_ptr().cast()),
                vec![],
                None,
                Box::new(data.steps),
            ),
            array(
                length,
                with(data.times.as_ptr().cast()),
                vec![],
                None,
                Box::new(data.times),
            ),
            values,
        ];
        Some(array(
            length,
            vec![ptr::null()],
            columns,
            None,
            Box::new(()),
        ))
    }
}

unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: the consumer gives a stream of ours that was not released, and room for a schema.
    unsafe {
        let batches = &*(*stream).private_data.cast::<Batches>();
        out.write(batches.schema());
    }
    0
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: the consumer gives a stream of ours that was not released, and room for an array;
    // one of zeros is a released one, which means the end.
    unsafe {
        let batches = &mut *(*stream).private_data.cast::<Batches>();
        match batches.next() {
            Some(array) => out.write(array),
            None => out.write_bytes(0, 1),
        }
    }
    0
}

unsafe extern "C" fn get_last_error(_: *mut ArrowArrayStream) -> *const c_char {
    ptr::null()
}

unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    // SAFETY: the consumer, or `drop`, calls this once with a stream of ours.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Batches>()));
        (*stream).release = None;
    }
}

#[pyfunction]
#[allow(
    clippy::needless_pass_by_value,
    reason = "pyo3 hands over what it made"
)]
pub(crate) fn arrow_stream(
    py: Python<'_>,
    series: Vec<(String, Py<PySeriesData>)>,
) -> PyResult<Bound<'_, PyCapsule>> {
    let series = series
        .into_iter()
        .map(|(name, data)| (name, data.get().data.clone()));
    let stream = ArrowArrayStream {
        get_schema,
        get_next,
        get_last_error,
        release: Some(release_stream),
        private_data: Box::into_raw(Box::new(Batches::new(series.collect()))).cast(),
    };
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}
