//! Runs one attempt of a job and keeps the record of it, on any Linux machine.
//!
//! ```text
//! runbus-wrap run FOLDER            returns when the job has ended
//! runbus-wrap cancel FOLDER GRACE   TERM to everything the job started, KILL after GRACE seconds
//! runbus-wrap make FOLDER OTHER…    makes folders with all above them; fails if FOLDER is there
//! runbus-wrap launch                starts wrappers as it is asked on its standard input, a socket
//! runbus-wrap submit                makes folders and starts wrappers as a shell asks it
//! runbus-wrap version               says its version, if this machine has what it needs
//! ```
//!
//! With the word `detached` before them the first two return at once and continue in a session of their
//! own: what starts them, a shell at the end of a connection, then needs no other program for it.
//!
//! The files in FOLDER are those of `wrapper.sh`, which does the same job where this program cannot
//! run; `docs/concepts/wrapper.md` has the table of what differs. There is one thread, nothing is
//! allocated between fork and exec, and the program sleeps in one `poll` while the job runs.

mod cancel;
mod cgroup;
mod clock;
mod launch;
mod launcher;
mod machine;
mod os;
mod reach;
mod record;
mod relay;
mod request;
mod run;
mod sampler;
mod submit;

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;

use os::Detached;

/// Exit codes of the wrapper itself; they are those of the script.
mod exit {
    pub(crate) const NO_FOLDER: i32 = 111;
    pub(crate) const CLAIMED: i32 = 75;
    pub(crate) const NO_ROOM: i32 = 126;
    pub(crate) const USAGE: i32 = 64;
}

/// Do what the words of the command line say; returns the exit code.
///
/// # Safety
///
/// `words` points to `count` C strings that live as long as the process.
#[must_use]
pub unsafe fn main(count: i32, words: *const *const libc::c_char) -> i32 {
    let words: Vec<&[u8]> = (0..usize::try_from(count).unwrap_or(0))
        // SAFETY: the caller promises `count` such strings.
        .map(|at| unsafe { CStr::from_ptr(*words.add(at)) }.to_bytes())
        .collect();
    // The script must be given the pid namespace as a last word; this program looks it up.
    match words.get(1..).unwrap_or_default() {
        [b"detached", rest @ ..] => match os::detach() {
            Detached::Parent => 0,
            Detached::Child => work(rest),
            Detached::Failed => exit::NO_ROOM,
        },
        rest => work(rest),
    }
}

/// Do what the words say, here.
fn work(words: &[&[u8]]) -> i32 {
    match words {
        [b"run", folder] | [b"run", folder, _] => {
            inside(folder, || run::run(folder, None, run::block_signals()))
        }
        [b"cancel", folder, grace] | [b"cancel", folder, grace, _] => match clock::seconds(grace) {
            Some(grace) => inside(folder, || cancel::cancel(folder, grace)),
            None => exit::USAGE,
        },
        [b"make", folder, others @ ..] => make(folder, others),
        [b"launch"] => launcher::serve(),
        [b"submit"] => submit::serve(),
        [b"version"] if run::is_possible() => {
            // Once a kernel and machine: often enough for what only a killed wrapper leaves.
            cgroup::sweep();
            os::write_all(1, concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes());
            0
        }
        _ => exit::USAGE,
    }
}

fn inside(folder: &[u8], work: impl FnOnce() -> i32) -> i32 {
    match std::env::set_current_dir(OsStr::from_bytes(folder)) {
        Ok(()) => work(),
        Err(_) => exit::NO_FOLDER,
    }
}

/// Make a folder that must not be there, and others that may; say why it cannot be.
fn make(folder: &[u8], others: &[&[u8]]) -> i32 {
    match submit::make(folder, others) {
        Ok(()) => 0,
        Err(why) => {
            os::write_all(2, format!("{}\n", why.line()).as_bytes());
            exit::NO_FOLDER
        }
    }
}
