//! Methods by `METH_FASTCALL`, put on a class as method descriptors.
//!
//! For the stable ABI of Python 3.11 `PyO3` binds arguments to parameters on each call, which takes as
//! long as writing a record: this saves 8 to 25 ns a call and 200 for a group of twenty. All that is
//! unsafe about it is in this file; a [`Method`] itself is safe code.

use std::any::Any;
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyTypeError;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyString, PyTuple, PyType};
use pyo3::{PyClass, ffi};

pub(crate) type Object<'a, 'py> = Borrowed<'a, 'py, PyAny>;

/// The arguments of one call, borrowed from the caller.
pub(crate) struct Arguments<'a, 'py> {
    pub(crate) positional: &'a [Object<'a, 'py>],
    /// The names of `keywords`.
    pub(crate) names: Option<Borrowed<'a, 'py, PyTuple>>,
    pub(crate) keywords: &'a [Object<'a, 'py>],
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// The keyword arguments with their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (Bound<'py, PyString>, Object<'a, 'py>)> {
        let names = self.names;
        let pairs = self.keywords.iter().enumerate();
        pairs.filter_map(move |(index, value)| {
            let name = names?.get_item(index).ok()?;
            // Python lets only strs be names of keywords.
            Some((name.cast_into().ok()?, *value))
        })
    }

    /// The only keyword argument, if its name is this very object.
    #[inline]
    pub(crate) fn only(&self, name: &Bound<'py, PyString>) -> Option<Object<'a, 'py>> {
        let [value] = self.keywords else { return None };
        let names = self.names?;
        names
            .get_borrowed_item(0)
            .is_ok_and(|only| only.is(name))
            .then_some(*value)
    }

    /// The argument for each parameter; one without a name takes positional arguments only.
    pub(crate) fn bind<const N: usize>(
        &self,
        function: &str,
        parameters: [&str; N],
    ) -> PyResult<[Option<Object<'a, 'py>>; N]> {
        if self.positional.len() > N {
            return Err(PyTypeError::new_err(format!(
                "{function}() takes at most {N} positional arguments ({} given)",
                self.positional.len()
            )));
        }
        let mut bound = [None; N];
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(*value);
        }
        for (name, value) in self.named() {
            let name = name.to_str().unwrap_or_default();
            let index = parameters
                .iter()
                .position(|parameter| *parameter == name && !name.is_empty());
            let complaint = match index {
                Some(index) if bound[index].is_none() => {
                    bound[index] = Some(value);
                    continue;
                }
                Some(_) => "multiple values for argument",
                None => "an unexpected keyword argument",
            };
            return Err(PyTypeError::new_err(format!(
                "{function}() got {complaint} '{name}'"
            )));
        }
        Ok(bound)
    }
}

/// A method that returns `None`.
pub(crate) trait Method {
    type Class: PyClass<Frozen = True> + Sync;
    const NAME: &'static CStr;
    /// What `inspect.signature` reads: the signature, `--` and an empty line.
    const DOC: &'static CStr;

    /// Do what a usual call asks for, without an error and without running Python code, or do
    /// nothing and return `None`.
    fn fast(this: &Self::Class, py: Python<'_>, arguments: &Arguments<'_, '_>) -> Option<()>;

    /// Do what any call asks for.
    fn full(this: &Bound<'_, Self::Class>, arguments: &Arguments<'_, '_>) -> PyResult<()>;
}

/// Put the method on its class.
pub(crate) fn add<M: Method>(py: Python<'_>) -> PyResult<()> {
    put::<M>(&py.get_type::<M::Class>())
}

/// Give a derived class the method as its own, unless it has one of another kind.
///
/// A call of an inherited one takes 6 ns more: Python's fast way asks for the very class.
pub(crate) fn inherit<M: Method>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let name = M::NAME.to_string_lossy();
    let ours = class.py().get_type::<M::Class>().getattr(&*name)?;
    if class.is_subclass_of::<M::Class>()? && class.getattr(&*name)?.get_type().is(ours.get_type())
    {
        put::<M>(class)?;
    }
    Ok(())
}

/// The class is that of the method or derived from it.
fn put<M: Method>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let definition = Box::leak(Box::new(ffi::PyMethodDef {
        ml_name: M::NAME.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: call::<M>,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: M::DOC.as_ptr(),
    }));
    // SAFETY: the type is alive, the definition lives for ever, its flags say what `call` is. The
    // result is a new reference or NULL with an error.
    let method = unsafe {
        let method = ffi::PyDescr_NewMethod(class.as_type_ptr(), definition);
        Bound::from_owned_ptr_or_err(class.py(), method)?
    };
    class.setattr(M::NAME.to_string_lossy(), method)
}

/// What Python calls.
unsafe extern "C" fn call<M: Method>(
    this: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with the GIL held.
    let py = unsafe { Python::assume_attached() };
    // SAFETY: by the protocol of vectorcall.
    let arguments = unsafe { view(py, arguments, positional, names) };
    // SAFETY: the descriptor has checked that `this` is of its class or derived from it.
    let this = unsafe { Borrowed::from_ptr(py, this).cast_unchecked::<M::Class>() };
    let fast = || M::fast(this.get(), py, &arguments);
    // A panic must not cross C; to look out for one costs nothing until it happens.
    match catch_unwind(AssertUnwindSafe(fast)) {
        // SAFETY: a new reference to an object that always lives.
        Ok(Some(())) => unsafe {
            let none = ffi::Py_None();
            ffi::Py_IncRef(none);
            none
        },
        Ok(None) => finish(|| M::full(&this, &arguments)),
        Err(payload) => finish(|| Err(panicked(payload.as_ref()))),
    }
}

/// The result of a call for Python: `None`, or NULL with the error set.
#[cold]
#[inline(never)]
fn finish(work: impl FnOnce() -> PyResult<()>) -> *mut ffi::PyObject {
    // PyO3 counts that this thread holds the GIL: only so are references dropped at once.
    Python::attach(|py| {
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|payload| Err(panicked(payload.as_ref())));
        match result {
            Ok(()) => py.None().into_ptr(),
            Err(error) => {
                error.restore(py);
                std::ptr::null_mut()
            }
        }
    })
}

fn panicked(payload: &(dyn Any + Send)) -> PyErr {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("panic from Rust code");
    PanicException::new_err((text.to_owned(),))
}

/// The arguments as slices.
///
/// # Safety
/// As by the protocol of vectorcall: `arguments` holds `positional` live objects, then one for each
/// of `names`, which is a tuple of strs or NULL.
#[inline]
unsafe fn view<'a>(
    py: Python<'_>,
    arguments: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> Arguments<'a, '_> {
    let positional = positional.unsigned_abs();
    let (names, keywords) = if names.is_null() {
        (None, 0)
    } else {
        // SAFETY: a live tuple.
        let names = unsafe { Borrowed::from_ptr(py, names).cast_unchecked::<PyTuple>() };
        (Some(names), names.len())
    };
    let all = if positional + keywords == 0 {
        // The pointer may be NULL then.
        &[][..]
    } else {
        // SAFETY: a `Borrowed` is a non-null pointer and nothing else (repr(transparent)).
        unsafe { std::slice::from_raw_parts(arguments.cast(), positional + keywords) }
    };
    let (positional, keywords) = all.split_at(positional);
    Arguments {
        positional,
        names,
        keywords,
    }
}
