//! The metrics journal of runbus: framed, checksummed, append-only, memory-mapped. No Python here.
//!
//! `docs/reference/journal-format.md` specifies the bytes; [`journal`] writes and reads them.

pub mod clock;
pub mod journal;
