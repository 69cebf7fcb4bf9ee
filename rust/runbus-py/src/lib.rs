//! The Python face of runbus-core: conversions, the release of the GIL and the error map.
use pyo3::prelude::*;

mod archive;
mod arrow;
mod blobs;
mod columns;
mod errors;
mod fastcall;
mod follow;
mod gil;
mod pieces;
mod process;
mod reader;
mod reports;
mod sampler;
mod stamps;
mod summary;
mod sync;
mod text;
mod values;
mod writer;

/// The compiled core of runbus.
#[pymodule]
mod _core {
    use pyo3::prelude::*;
    use pyo3::types::PyBytes;

    #[pymodule_export]
    use crate::archive::{
        about_segment, check_segment, is_outdated, lost_points, metric_names, read_metrics,
        seal_journal, summarize,
    };
    #[pymodule_export]
    use crate::arrow::arrow_stream;
    #[pymodule_export]
    use crate::blobs::Journal;
    #[pymodule_export]
    use crate::columns::PySeriesData;
    use crate::fastcall;
    #[pymodule_export]
    use crate::follow::{MetricBell, MetricTail};
    #[pymodule_export]
    use crate::pieces::{blobs, whole_records};
    #[pymodule_export]
    use crate::process::Starting;
    #[pymodule_export]
    use crate::reader::{Columns, JournalReader, MetricReader};
    #[pymodule_export]
    use crate::sampler::{Machine, Sampler};
    #[pymodule_export]
    use crate::stamps::are_same;
    #[pymodule_export]
    use crate::sync::{Syncing, sync_paths};
    #[pymodule_export]
    use crate::writer::{Group, MetricWriter, Series};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };

    /// The wrapper program for this machine, as `build.rs` made it; empty if it could not.
    #[pyfunction]
    fn wrapper_program(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(py, include_bytes!(concat!(env!("OUT_DIR"), "/runbus-wrap")))
    }

    /// The same of the program that samples the machine beside a job.
    #[pyfunction]
    fn sampler_program(py: Python<'_>) -> Bound<'_, PyBytes> {
        PyBytes::new(
            py,
            include_bytes!(concat!(env!("OUT_DIR"), "/runbus-sample")),
        )
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::values::look_at_floats(py);
        crate::reports::start(py)?;
        fastcall::add::<crate::writer::Log>(py)?;
        fastcall::add::<crate::writer::Append>(py)?;
        fastcall::add::<crate::writer::LogGroup>(py)
    }
}
