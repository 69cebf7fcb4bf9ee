//! Samples the machine of a job that lasts, beside it.
//!
//! ```text
//! runbus-sample PID      PID is the first process of the job; SIGTERM ends it
//! ```
//!
//! The wrapper starts it: see `rust/runbus-wrap/src/sampler.rs`.

use std::env;
use std::process::ExitCode;

const USAGE: u8 = 64;

fn main() -> ExitCode {
    match env::args().nth(1).and_then(|root| root.parse().ok()) {
        Some(root) => {
            runbus_core::sampler::sample_job(root);
            ExitCode::SUCCESS
        }
        None => ExitCode::from(USAGE),
    }
}
