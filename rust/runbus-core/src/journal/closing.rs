//! The end of writing a journal.

use std::sync::Arc;

use super::durability::Durability;
use super::keeper;
use super::shared::Shared;
use crate::error::Error;
use crate::mutex::lock;
use crate::os;

/// The slow part of closing a journal; dropped unused, the file keeps its reserved space.
#[must_use]
pub struct Closing {
    pub(super) durability: Durability,
    pub(super) shared: Option<Arc<Shared>>,
    /// Up to here the file holds records.
    pub(super) used: u64,
}

impl Closing {
    /// Give back the space that was not used, make the rest durable, let go of the lock.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; the journal is closed all the same.
    pub fn complete(self) -> Result<(), Error> {
        self.end(true)
    }

    /// The same without the disk: for what was synced before, where only the final record was not.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be cut.
    pub fn complete_synced(self) -> Result<(), Error> {
        self.end(false)
    }

    fn end(self, syncs: bool) -> Result<(), Error> {
        let durability = &self.durability;
        if durability.generation != os::generation() {
            return Ok(());
        }
        let is_gone = durability.is_gone();
        // The background thread may be at work; it has been told to stop.
        let guard = self.shared.as_ref().map(|shared| lock(&shared.tending));
        let truncated = durability
            .file
            .set_len(self.used)
            .map_err(|error| Error::io(durability.path(), error))
            .and_then(|()| {
                if syncs && !is_gone {
                    durability.sync()
                } else {
                    Ok(())
                }
            });
        os::unlock(&durability.file);
        drop(guard);
        if self.shared.is_some() {
            keeper::release();
        }
        truncated
    }
}
