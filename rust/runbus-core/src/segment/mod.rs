//! Sealed journals: Parquet files that other tools read as they lie.
//!
//! `docs/reference/segment-format.md` specifies the columns. [`seal`] turns a journal into a
//! segment; [`Segment`] reads one.

mod checks;
mod chunks;
mod footer;
mod guard;
mod layout;
mod read;
mod seal;
mod window;
mod write;

pub use layout::{About, SUFFIX};
pub use read::{Content, Segment};
pub use seal::{Sealing, seal};
