//! What makes a journal survive the machine: syncing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::error::Error;
use crate::mutex::lock;
use crate::os;
use crate::sync::{PassOver, Syncing, sync_at_once};

/// That of a writer without a file: of no process.
const NOWHERE: u32 = u32::MAX;

/// Makes what was written durable, from any thread, beside the writer.
#[derive(Clone)]
pub struct Durability {
    path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) generation: u32,
    /// What the first sync writes to the disk besides: without its name the file is lost.
    once: Arc<Mutex<Vec<PathBuf>>>,
}

impl Durability {
    pub(super) fn new(path: &Path, file: File) -> Self {
        let folder = path
            .parent()
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Self {
            path: path.to_owned(),
            file: Arc::new(file),
            generation: os::generation(),
            once: Arc::new(Mutex::new(vec![folder.to_owned()])),
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
            once: Arc::default(),
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

    /// Have the next sync write these files and folders to the disk, too, which are complete.
    pub(super) fn sync_once(&self, paths: impl IntoIterator<Item = PathBuf>) {
        lock(&self.once).extend(paths);
    }

    /// Wait until everything committed before this call is on the disk, and the file in its folder.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses.
    pub fn sync(&self) -> Result<(), Error> {
        self.sync_with(&[])
    }

    /// The same, and wait for other files and folders meanwhile: a disk does in one turn what it is
    /// asked for at the same time. What cannot be opened is passed over.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses one of them; the others are synced all the same.
    pub fn sync_with(&self, others: &[PathBuf]) -> Result<(), Error> {
        let mut once = lock(&self.once);
        if once.is_empty() {
            drop(once);
            return self.sync_at_once(&[], others);
        }
        // Held meanwhile: who comes second must not return before it is done.
        self.sync_at_once(&once, others)?;
        once.clear();
        Ok(())
    }

    /// Begin [`Durability::sync_with`], and return at once.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn begin_sync(self, others: Vec<PathBuf>) -> io::Result<Syncing> {
        Syncing::begin(move || self.sync_with(&others))
    }

    fn sync_at_once(&self, needed: &[PathBuf], others: &[PathBuf]) -> Result<(), Error> {
        let needed = needed.iter().map(|path| (&**path, PassOver::Nothing));
        let others = others.iter().map(|path| (&**path, PassOver::Unopenable));
        // Linux keeps one page cache: syncing the file covers stores into a shared mapping of it.
        let own = || self.file.sync_data();
        sync_at_once(
            || own().map_err(|error| Error::io(&self.path, error)),
            &needed.chain(others).collect::<Vec<_>>(),
        )
    }
}
