//! The metrics of runbus: written to a journal, sealed into segments, read back. No Python here.
//!
//! `docs/reference/journal-format.md` specifies the bytes; [`journal`] writes and reads them.

pub mod aggregate;
pub mod archive;
pub mod clock;
pub mod downsample;
mod error;
mod files;
pub mod follow;
pub mod frame;
pub mod integer;
pub mod journal;
mod memory;
mod mutex;
mod os;
pub mod sampler;
pub mod segment;
pub mod series;
mod service;
pub mod shared;
mod stamps;
mod sync;

pub use error::Error;
pub use stamps::are_same;
pub use sync::sync_paths;
