//! Locks that outlive a panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Lock, also after a thread has panicked while it held the lock: nothing here is left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
