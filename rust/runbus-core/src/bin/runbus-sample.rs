//! Samples the machine of a job that lasts, beside it.
//!
//! ```text
//! runbus-sample PID WRAPPER  PID is the first process of the job, WRAPPER has started this
//! runbus-sample tasks PID    PID has started this, beside a task that a launcher has started on this machine
//! ```
//!
//! SIGTERM of the process that has started it ends it, and so does the end of that one. The first is how the wrapper starts it (`rust/runbus-wrap/src/sampler.rs`), the second how
//! a task of srun does.

use std::env;
use std::process::ExitCode;

use runbus_core::sampler::{Beside, sample_job};

const USAGE: u8 = 64;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let asked = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tasks", parent] => parent.parse().map(Beside::Tasks),
        [root, wrapper] => root
            .parse()
            .and_then(|root| wrapper.parse().map(|wrapper| Beside::Job { root, wrapper })),
        _ => return ExitCode::from(USAGE),
    };
    let Ok(asked) = asked else {
        return ExitCode::from(USAGE);
    };
    sample_job(asked);
    ExitCode::SUCCESS
}
