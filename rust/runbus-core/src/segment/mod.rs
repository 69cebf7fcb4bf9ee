//! Sealed journals: Parquet files that other tools read as they lie.
//!
//! `docs/reference/segment-format.md` specifies the columns. [`seal`] turns a journal into a
//! segment; [`Segment`] reads one.

mod checks;
mod chunks;
mod columns;
mod content;
mod damage;
mod footer;
mod guard;
mod layout;
mod open;
mod outdated;
mod parallel;
mod ranges;
mod seal;
mod window;
mod write;

pub use content::Content;
pub use layout::{About, SUFFIX, VERSION};
pub use open::Segment;
pub use outdated::is_outdated;
pub use seal::{Sealing, seal};
