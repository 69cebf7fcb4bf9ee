//! Journals that are open when the process exits: its exit status tells how they ended.
//!
//! No hook of the interpreter knows the status: `sys.exit(1)`, a `SystemExit` of a library and a crash
//! that a framework caught are the same to all of them. The C library does, and calls this last.

use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, Once, Weak};

use super::record::end_record;
use super::shared::Shared;
use crate::mutex::lock;
use crate::os;

/// How many journals without a writer wait for the exit at most: each keeps a file open.
const MOST_LEFT: usize = 32;
const FAILED: u32 = 1;

static OPEN: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());
/// Journals whose writers are gone, and how they end if they cannot wait, oldest first.
static LEFT: Mutex<Vec<(Arc<Shared>, u32)>> = Mutex::new(Vec::new());
static REGISTER: Once = Once::new();

/// Have a journal ended at the exit, if it is open then.
pub(super) fn remember(shared: &Arc<Shared>) {
    REGISTER.call_once(|| os::at_exit(end_all));
    let mut open = lock(&OPEN);
    open.retain(|shared| shared.strong_count() > 0);
    open.push(Arc::downgrade(shared));
}

/// Keep a journal open until the exit.
pub(super) fn leave(shared: Arc<Shared>, fallback: u32) {
    let mut left = lock(&LEFT);
    left.push((shared, fallback));
    if left.len() > MOST_LEFT {
        let (oldest, state) = left.remove(0);
        drop(left);
        end(&oldest, state);
    }
}

/// How a process that exits with `status` has ended, and the status.
fn state_of(status: i32) -> u32 {
    // The eight bits that others are told.
    match status.cast_unsigned() & 0xFF {
        0 => 0,
        status => FAILED | status << 8,
    }
}

extern "C" fn end_all(status: i32, _argument: *mut libc::c_void) {
    let state = state_of(status);
    let open: Vec<_> = lock(&OPEN).drain(..).collect();
    for shared in open.iter().filter_map(Weak::upgrade) {
        end(&shared, state);
    }
}

/// Write the final record. A failure cannot be reported any more.
fn end(shared: &Shared, state: u32) {
    let durability = &shared.durability;
    if durability.generation != os::generation() {
        return;
    }
    let _guard = lock(&shared.tending);
    if shared.is_closed() {
        return;
    }
    shared.close();
    let (file, position) = (durability.file(), shared.position());
    let record = end_record(position, state);
    let written = file.write_all_at(&record, position);
    let used = position
        + if written.is_ok() {
            record.len() as u64
        } else {
            0
        };
    let _ = file.set_len(used);
    let _ = durability.sync();
    os::unlock(file);
}

#[cfg(test)]
mod tests {
    use super::state_of;

    #[test]
    fn only_an_exit_status_of_zero_is_a_success() {
        assert_eq!(state_of(0), 0);
        assert_eq!(state_of(1), 1 | 1 << 8);
        assert_eq!(state_of(143), 1 | 143 << 8);
        assert_eq!(state_of(-1), 1 | 255 << 8);
        assert_eq!(state_of(256), 0);
    }
}
