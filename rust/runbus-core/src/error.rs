//! What can go wrong with the files of a run.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal or a segment could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The journal.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another writer holds the journal; a journal has one writer.
    #[error("{}: another writer has this journal open", .0.display())]
    Locked(PathBuf),
    /// A link, folder, pipe, socket or device stands in the place of the file.
    #[error("{}: not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// The file starts with something else.
    #[error("{}: not a runbus journal", .0.display())]
    NotAJournal(PathBuf),
    /// The journal was written by a newer runbus.
    #[error("{}: journal format {version}, this runbus reads formats up to {newest}", path.display())]
    Version {
        /// The journal.
        path: PathBuf,
        /// The version in its header.
        version: u32,
        /// The newest that can be read.
        newest: u32,
    },
    /// A metrics journal was opened as an event journal, or the reverse.
    #[error("{}: not {wanted} journal", path.display())]
    WrongKind {
        /// The journal.
        path: PathBuf,
        /// "a metrics" or "an event".
        wanted: &'static str,
    },
    /// A file that should be a segment cannot be read as one.
    #[error("{}: not a readable segment: {reason}", path.display())]
    BadSegment {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// To continue would lose what is not understood, or what another file holds.
    #[error("{}: {reason}; it is left as it is", path.display())]
    Kept {
        /// The journal.
        path: PathBuf,
        /// What stands against it.
        reason: String,
    },
    /// The writer was closed before.
    #[error("the journal is closed")]
    Closed,
    /// The writer belongs to the process this one was forked from.
    #[error("the journal belongs to the process that opened it, not to its forked child")]
    Forked,
    /// The record does not fit the format.
    #[error("a record of {bytes} bytes is too large: the limit is {most} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that fits.
        most: usize,
    },
    /// No step follows the greatest one.
    #[error("the next automatic step is beyond a 64-bit integer: pass step=")]
    StepOverflow,
    /// A metric name that cannot be stored.
    #[error("{0}")]
    BadName(String),
    /// A position that is no record boundary of the journal.
    #[error("position {position} is not the start of a record (the journal was read up to {end})")]
    BadPosition {
        /// The position asked for.
        position: u64,
        /// Where the known records end.
        end: u64,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}
