//! A cell that the GIL protects.

use std::cell::{RefCell, RefMut};

use pyo3::Python;

/// A `RefCell` that threads share because they only reach it with the GIL.
///
/// A mutex would cost 12 ns of a 50 ns call, twice an atomic exchange, for a contender that cannot
/// exist: a borrow neither runs Python code nor outlives the GIL (it is not `Send`, so
/// `Python::detach` refuses it). Should a borrow meet another one all the same, it panics, which
/// becomes a Python exception.
pub(crate) struct GilCell<T>(RefCell<T>);

// SAFETY: every access goes through `borrow`, which wants proof of the GIL; the GIL orders accesses
// of different threads. This library is built for the stable ABI of Python 3.11 (`abi3-py311`),
// which only interpreters with a GIL load.
unsafe impl<T: Send> Sync for GilCell<T> {}

impl<T: Default> Default for GilCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> GilCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    #[inline]
    pub(crate) fn borrow<'a>(&'a self, _py: Python<'a>) -> RefMut<'a, T> {
        self.0.borrow_mut()
    }
}
