//! One sampler a host and run, however many processes ask for one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::os::{self, Lock};

/// The right to sample a host for a run; gone with the process at the latest.
///
/// The lock is the process's own: a forked child neither has it nor keeps it.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    _file: File,
}

impl Place {
    /// The file whose lock says who samples this host for a run: hosts may share the run's folder.
    #[must_use]
    pub fn of_host(run: &Path, host: &str) -> PathBuf {
        run.join("metrics")
            .join(format!(".sampler-{}", plain(host)))
    }

    /// The files that say that what samples beside an attempt of a job is not wanted: on no host, and not on
    /// this one.
    #[must_use]
    pub fn asked(run: &Path, host: &str, attempt: u32) -> [PathBuf; 2] {
        let all = format!(".asked-a{attempt}");
        let own = format!("{all}-{}", plain(host));
        [all, own].map(|name| run.join("metrics").join(name))
    }

    /// Have what samples beside an attempt of a job on this host give way.
    ///
    /// # Errors
    /// When the file cannot be made: then that continues.
    pub fn ask(run: &Path, host: &str, attempt: u32) -> io::Result<()> {
        let [_, own] = Self::asked(run, host, attempt);
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW).open(own).map(drop)
    }

    /// Take the place; `None` while another process has it.
    ///
    /// Where the file system has no locks, everybody has it.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .write(true)
            .truncate(false)
            .open(path)?;
        if os::lock_for_process(&file)? == Lock::Held {
            return Ok(None);
        }
        // The one before may have removed it just now: its next holder has another file.
        let is_same = fs::metadata(path).is_ok_and(|found| {
            file.metadata()
                .is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        });
        Ok(is_same.then(|| Self {
            path: path.to_owned(),
            _file: file,
        }))
    }
}

/// As much of a name as a file's may have.
fn plain(host: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let letters = host.chars().take(LONGEST);
    letters
        .map(|letter| if is_plain(letter) { letter } else { '-' })
        .collect()
}

const LONGEST: usize = 64;

impl Drop for Place {
    fn drop(&mut self) {
        // First, so that no process takes a lock that is about to be released.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_host_lies_in_the_folder_of_metrics_whatever_the_host_is_called() {
        let path = Place::of_host(Path::new("/run"), "../a");
        assert_eq!(path, Path::new("/run/metrics/.sampler-..-a"));
        assert_eq!(
            Place::asked(Path::new("/run"), "a/b", 3),
            ["/run/metrics/.asked-a3", "/run/metrics/.asked-a3-a-b"].map(PathBuf::from)
        );
        assert_eq!(plain("../a b"), "..-a-b");
        assert_eq!(plain(&"x".repeat(200)).len(), LONGEST);
    }
}
