//! One file format for metrics and events, one writer a file, any number of followers.

mod aggregates;
mod appender;
mod blobs;
mod column;
mod durability;
mod error;
mod exit;
mod format;
mod frames;
mod header;
pub(crate) mod keeper;
mod mapping;
mod metric_reader;
mod metric_writer;
mod names;
pub(crate) mod os;
mod pieces;
mod record;
mod scanner;
mod shared;
mod source;

pub use appender::Options;
pub use blobs::{BlobReader, BlobWriter};
pub use column::Steps;
pub use durability::{Closing, Durability};
pub use error::Error;
pub use format::{HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES};
pub use keeper::{Report, set_reporter};
pub(crate) use metric_reader::Row;
pub use metric_reader::{MetricReader, Points};
pub use metric_writer::{Layout, MetricWriter, Outcome, SchemaId};
pub use names::{MAX_NAME_BYTES, MAX_SETS};
pub use pieces::{Whole, blobs, whole_records};
pub use scanner::Span;
