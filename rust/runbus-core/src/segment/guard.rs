//! The crate that reads Parquet trusts a file in places, and panics where it is wrong.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}
static HOOK: Once = Once::new();

/// Do something with a file that may be damaged; `None` if it panics, without a word on the terminal.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    quietly(|| panic::catch_unwind(AssertUnwindSafe(work))).ok()
}

/// Have the panics of this thread say nothing: somebody catches them.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_GUARDED.set(self.0);
        }
    }

    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_GUARDED.get() {
                before(info);
            }
        }));
    });
    let _restore = Restore(IS_GUARDED.replace(true));
    work()
}
