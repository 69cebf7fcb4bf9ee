//! What the background thread has to tell goes to the logger `runbus.metrics`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use runbus_core::journal::{Report, set_reporter};

const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Reports in progress. A thread that asks for the GIL of an interpreter that has begun to end is killed
/// by it, and this process with it: so from that moment on there are none.
static IN_PROGRESS: AtomicU32 = AtomicU32::new(0);
static IS_OVER: AtomicBool = AtomicBool::new(false);

/// Log reports until the interpreter ends.
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    set_reporter(log);
    let at_exit = wrap_pyfunction!(stop, py)?;
    py.import(intern!(py, "atexit"))?
        .call_method1(intern!(py, "register"), (at_exit,))
        .map(drop)
}

#[pyfunction]
fn stop(py: Python<'_>) {
    IS_OVER.store(true, Ordering::SeqCst);
    let start = Instant::now();
    // A forked child may have inherited a number that nobody will ever lower.
    py.detach(|| {
        while IN_PROGRESS.load(Ordering::SeqCst) > 0 && start.elapsed() < LONGEST_WAIT {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// Log a report. Nothing waits for this: the thread's own writers least of all.
fn log(report: &Report) {
    IN_PROGRESS.fetch_add(1, Ordering::SeqCst);
    if !IS_OVER.load(Ordering::SeqCst) {
        log_now(report);
    }
    IN_PROGRESS.fetch_sub(1, Ordering::SeqCst);
}

fn log_now(report: &Report) {
    let text = match report {
        Report::Dropping { reason } => {
            format!("{reason}: points are lost until there is room; training continues")
        }
        Report::Recovered { path, dropped } => {
            format!("{path}: points are kept again; {dropped} were lost")
        }
        Report::Gone { path } => gone(path),
        Report::NotDurable { reason } => {
            format!("{reason}: a power failure would lose what is logged now")
        }
    };
    Python::try_attach(|py| {
        if let Err(error) = warn(py, &text) {
            error.write_unraisable(py, None);
        }
    });
}

/// That what was logged is lost.
pub(crate) fn gone(path: &str) -> String {
    format!("{path}: the file was removed; what was logged to it is lost, and so is what follows")
}

pub(crate) fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    // Imported only now: a script that never needs it does not pay for it.
    let logger = py
        .import(intern!(py, "logging"))?
        .call_method1(intern!(py, "getLogger"), ("runbus.metrics",))?;
    logger
        .call_method1(intern!(py, "warning"), ("%s", text))
        .map(drop)
}
