//! What makes a journal survive the machine: syncing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::error::Error;
use crate::os;

/// That of a writer without a file: of no process.
const NOWHERE: u32 = u32::MAX;

/// Makes what was written durable, from any thread, beside the writer.
#[derive(Clone)]
pub struct Durability {
    path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) generation: u32,
    /// Whether the folder holds the file's name durably.
    is_named: Arc<AtomicBool>,
}

impl Durability {
    pub(super) fn new(path: &Path, file: File) -> Self {
        Self {
            path: path.to_owned(),
            file: Arc::new(file),
            generation: os::generation(),
            is_named: Arc::default(),
        }
    }

    /// Of no file and no process.
    pub(super) fn nowhere(path: &Path) -> Result<Self, Error> {
        static NOTHING: OnceLock<Arc<File>> = OnceLock::new();
        let file = if let Some(file) = NOTHING.get() {
            file
        } else {
            let file = File::open("/dev/null").map_err(|error| Error::io(path, error))?;
            NOTHING.get_or_init(|| Arc::new(file))
        };
        Ok(Self {
            path: path.to_owned(),
            file: Arc::clone(file),
            generation: NOWHERE,
            is_named: Arc::default(),
        })
    }

    pub(super) fn is_nowhere(&self) -> bool {
        self.generation == NOWHERE
    }

    /// Whether the file has no name any more.
    pub(super) fn is_gone(&self) -> bool {
        let names = self.file.metadata().map(|metadata| metadata.nlink());
        names.is_ok_and(|names| names == 0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Wait until everything committed before this call is on the disk, and the file in its folder.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        // Linux keeps one page cache: syncing the file covers stores into a shared mapping of it.
        self.file
            .sync_data()
            .and_then(|()| self.sync_folder())
            .map_err(|error| Error::io(&self.path, error))
    }

    fn sync_folder(&self) -> io::Result<()> {
        if self.is_named.load(Ordering::Relaxed) {
            return Ok(());
        }
        let folder = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty());
        os::sync_folder(folder.unwrap_or(Path::new(".")))?;
        self.is_named.store(true, Ordering::Relaxed);
        Ok(())
    }
}
