//! The Python face of runbus-core: conversions, the release of the GIL and the error map.
use pyo3::prelude::*;

mod archive;
mod arrow;
mod columns;
mod convert;
mod errors;
mod gil;
mod names;
mod reader;
mod writer;

/// The compiled core of runbus.
#[pymodule]
mod _core {
    #[pymodule_export]
    use crate::archive::{about_segment, is_whole_segment, read_metrics, seal_journal, summarize};
    #[pymodule_export]
    use crate::arrow::arrow_stream;
    #[pymodule_export]
    use crate::columns::PySeriesData;
    #[pymodule_export]
    use crate::reader::{Columns, JournalReader, MetricReader};
    #[pymodule_export]
    use crate::writer::{Journal, MetricWriter, Series};

    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    #[pymodule_export]
    const BUILD_PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
}
