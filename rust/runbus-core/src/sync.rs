//! Having files and folders on the disk: what survives the machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::error::Error;
use crate::os::{self, is_unsupported};

/// So many files are synced at the same time: a disk does in one turn what it is asked for meanwhile.
///
/// More threads than this gain nothing, with 100 files or 1,000. One call for all that the file system
/// has to write takes a third of the time on a disk that nobody else uses, and seconds on one where
/// somebody has just written gigabytes: it waits for those, too.
const AT_A_TIME: usize = 16;

/// What a path is passed over for when it cannot be opened, since then there is nothing to be synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassOver {
    Nothing,
    /// It is gone.
    Gone,
    /// Whatever is there is nothing that can be opened.
    Unopenable,
}

impl PassOver {
    fn includes(self, error: &io::Error) -> bool {
        let number = error.raw_os_error();
        match self {
            Self::Nothing => false,
            Self::Gone => matches!(number, Some(libc::ENOENT | libc::ENOTDIR)),
            // Of these the file knows nothing.
            Self::Unopenable => !matches!(
                number,
                Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO)
            ),
        }
    }
}

/// Wait until files, and the names in folders, are on the disk; those that are gone are passed over.
///
/// # Errors
/// [`Error::Io`], with its path, for one that the disk refuses; the others are synced all the same.
pub fn sync_paths(paths: &[PathBuf]) -> Result<(), Error> {
    let wanted: Vec<_> = paths.iter().map(|path| (&**path, PassOver::Gone)).collect();
    sync_at_once(|| Ok(()), &wanted)
}

/// Wait until a file, or the names in a folder, are on the disk.
pub(crate) fn sync_path(path: &Path) -> io::Result<()> {
    open(path).and_then(|file| sync(&file))
}

/// Sync paths, some at the same time, while this thread does other `work` first.
///
/// All of it is done whatever fails; the error is that of the work, or of one of the paths.
pub(crate) fn sync_at_once(
    work: impl FnOnce() -> Result<(), Error>,
    wanted: &[(&Path, PassOver)],
) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let sync_rest = || {
        let mut result = Ok(());
        while let Some((path, pass_over)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            result = result.and(sync_one(path, *pass_over));
        }
        result
    };
    thread::scope(|threads| {
        let mut helpers = Vec::new();
        while helpers.len() < wanted.len().min(AT_A_TIME) {
            let thread = thread::Builder::new().stack_size(64 << 10);
            match thread.spawn_scoped(threads, sync_rest) {
                Ok(thread) => helpers.push(thread),
                // No more can be started: there is less at a time.
                Err(_) => break,
            }
        }
        let mut result = work();
        result = result.and(sync_rest());
        for thread in helpers {
            // One that panics has not synced all that it took.
            result = result.and(thread.join().unwrap_or_else(|_| has_panicked()));
        }
        result
    })
}

fn has_panicked() -> Result<(), Error> {
    let error = io::Error::other("a thread that syncs has panicked");
    Err(Error::io(Path::new(""), error))
}

/// A sync that a thread of its own is busy with: an event loop need not wait for it.
///
/// Its descriptor is readable once it is done. Dropped, it goes on.
#[derive(Debug)]
pub struct Syncing {
    counter: Arc<OwnedFd>,
    thread: Result<JoinHandle<Result<(), Error>>, Result<(), Error>>,
}

impl Syncing {
    /// Begin; where no thread can be started this returns when it is done.
    pub(crate) fn begin(
        work: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let counter = Arc::new(os::event_counter()?);
        let work = Arc::new(work);
        let (done, theirs) = (Done(Arc::clone(&counter)), Arc::clone(&work));
        let thread = thread::Builder::new().stack_size(64 << 10);
        let thread = thread.spawn(move || {
            let _done = done;
            theirs()
        });
        // What could not be started has dropped `done`.
        let thread = thread.map_err(|_| work());
        Ok(Self { counter, thread })
    }

    /// Wait until it is done.
    ///
    /// # Errors
    /// When the disk refuses something; the rest is synced all the same.
    pub fn wait(self) -> Result<(), Error> {
        match self.thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| has_panicked()),
            Err(result) => result,
        }
    }
}

impl AsRawFd for Syncing {
    fn as_raw_fd(&self) -> RawFd {
        self.counter.as_raw_fd()
    }
}

/// Tells that a sync is done, however it ended.
struct Done(Arc<OwnedFd>);

impl Drop for Done {
    fn drop(&mut self) {
        os::count_event(&self.0);
    }
}

fn sync_one(path: &Path, pass_over: PassOver) -> Result<(), Error> {
    let result = match open(path) {
        Ok(file) => sync(&file),
        Err(error) if pass_over.includes(&error) => Ok(()),
        Err(error) => Err(error),
    };
    result.map_err(|error| Error::io(path, error))
}

fn open(path: &Path) -> io::Result<File> {
    // Somebody may have put a pipe there.
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
}

/// Sync a file or a folder; some file systems have the names in a folder on the disk at once, and
/// cannot sync it.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Syncing};
    use std::io;
    use std::path::Path;

    #[test]
    fn how_a_sync_ended_is_told_to_who_waits() {
        let refused = || Err(Error::io(Path::new("/f"), io::Error::other("refused")));
        let syncing = Syncing::begin(refused).expect("descriptors");

        let error = syncing.wait().expect_err("it was refused");
        assert!(error.to_string().contains("refused"), "{error}");
        Syncing::begin(|| Ok(()))
            .expect("descriptors")
            .wait()
            .expect("nothing was to be done");
    }

    #[test]
    fn a_sync_that_panics_is_over_and_has_failed() {
        let syncing = Syncing::begin(|| panic!("on purpose")).expect("descriptors");

        let error = syncing.wait().expect_err("it has panicked");
        assert!(error.to_string().contains("panicked"), "{error}");
    }
}
