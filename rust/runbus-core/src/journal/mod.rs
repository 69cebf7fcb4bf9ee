//! One file format for metrics and events, one writer a file, any number of followers.

mod appender;
mod blobs;
mod closing;
mod column;
mod durability;
mod exit;
mod format;
mod frames;
mod hash;
mod header;
mod keeper;
mod mapping;
mod metric_reader;
mod metric_writer;
mod names;
mod pieces;
mod record;
mod rows;
mod scanner;
mod shared;
mod source;
mod words;

pub use appender::Options;
pub use blobs::{BlobReader, BlobWriter};
pub use closing::Closing;
pub use column::{Form, Steps};
pub use durability::Durability;
pub use format::{HEADER_BYTES, Kind, MAX_PAYLOAD_BYTES};
pub use keeper::{Report, set_reporter};
pub use metric_reader::MetricReader;
pub use metric_writer::{Layout, MetricWriter, Outcome, SchemaId, Values};
pub use names::{MAX_NAME_BYTES, MAX_SETS};
pub use pieces::{Whole, blobs, whole_records};
pub(crate) use rows::Row;
pub use scanner::Span;
