//! Runs one attempt of a job and keeps the record of it, on any Linux machine.
//!
//! ```text
//! runbus-wrap run FOLDER            returns when the job has ended
//! runbus-wrap cancel FOLDER GRACE   TERM to everything the job started, KILL after GRACE seconds
//! ```
//!
//! The files in FOLDER are those of `wrapper.sh`, which does the same job where this program cannot
//! run; `docs/concepts/wrapper.md` has the table of what differs. There is one thread, nothing is
//! allocated between fork and exec, and the program sleeps in one `poll` while the job runs.

mod cancel;
mod cgroup;
mod clock;
mod launch;
mod os;
mod reach;
mod record;
mod relay;
mod request;
mod run;

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;

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
    let Some(verb) = Verb::parse(&words) else {
        return exit::USAGE;
    };
    if let Verb::Version = verb {
        os::write_all(1, concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes());
        return 0;
    }
    let folder = words[2];
    if std::env::set_current_dir(OsStr::from_bytes(folder)).is_err() {
        return exit::NO_FOLDER;
    }
    match verb {
        Verb::Cancel(grace) => cancel::cancel(folder, grace),
        _ => run::run(folder),
    }
}

enum Verb {
    Run,
    Cancel(f64),
    Version,
}

impl Verb {
    /// Read the command line. The script must be told the pid namespace as a last word; this program
    /// looks it up.
    fn parse(words: &[&[u8]]) -> Option<Self> {
        match words {
            [_, b"version"] => Some(Self::Version),
            [_, b"run", _] | [_, b"run", _, _] => Some(Self::Run),
            [_, b"cancel", _, grace] | [_, b"cancel", _, grace, _] => {
                clock::seconds(grace).map(Self::Cancel)
            }
            _ => None,
        }
    }
}
