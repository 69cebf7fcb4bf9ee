//! The metrics of runbus: written to a journal, sealed into segments, read back. No Python here.
//!
//! `docs/reference/journal-format.md` specifies the bytes; [`journal`] writes and reads them.

#![cfg_attr(
    not(feature = "segments"),
    allow(
        dead_code,
        unused_imports,
        reason = "of what only those use who read runs"
    )
)]

#[cfg(feature = "segments")]
pub mod aggregate;
#[cfg(feature = "segments")]
pub mod archive;
pub mod clock;
#[cfg(feature = "segments")]
pub mod downsample;
mod error;
mod files;
#[cfg(feature = "segments")]
pub mod follow;
pub mod frame;
pub mod integer;
pub mod journal;
mod memory;
mod mutex;
mod os;
#[cfg(feature = "segments")]
pub mod process;
pub mod sampler;
#[cfg(feature = "segments")]
pub mod segment;
#[cfg(feature = "segments")]
pub mod series;
mod service;
pub mod shared;
mod stamps;
mod sync;

pub use error::Error;
pub use stamps::are_same;
pub use sync::{Syncing, sync_paths};
