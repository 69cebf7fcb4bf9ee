//! Whether files are still those that something was read from: the question of an index.
//!
//! A list of ten thousand runs rests on eighty thousand files. Each is looked at every time, without a
//! way through Python and some at the same time, so that an index never has to be believed.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use crate::mutex::lock;
use crate::os::{self, Stamp};

/// Three numbers of eight bytes and one of two, the length of the path that follows; little-endian.
const HEAD_BYTES: usize = 26;

/// So many folders are looked at by a thread before it takes others.
const PART: usize = 256;

/// Nobody gains anything from more: they wait for each other in the kernel.
const THREADS: usize = 4;

/// Whether the files in folders are what they were, for each folder: all of its files, and some.
///
/// A link is a file of its own, and is not followed below the folder.
///
/// `noted` has the path of each folder below `root`, and the stamps of its files: of each its inode, the
/// time of its last change in nanoseconds, its size, the length of its path within the folder (`u64`,
/// `i64`, `u64`, `u16`, little-endian), and the path.
#[must_use]
pub fn are_same<F, S>(root: &Path, noted: &[(F, S)]) -> Vec<bool>
where
    F: AsRef<[u8]> + Sync,
    S: AsRef<[u8]> + Sync,
{
    let mut same = vec![false; noted.len()];
    let mut options = OpenOptions::new();
    let folder = options
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    let Ok(root) = folder.open(root) else {
        return same;
    };
    let parts = Mutex::new(noted.chunks(PART).zip(same.chunks_mut(PART)));
    let look = || {
        let mut path = Vec::new();
        loop {
            // Its own statement: the lock is let go before the look.
            let part = lock(&parts).next();
            let Some((noted, same)) = part else { break };
            for ((folder, stamps), same) in noted.iter().zip(same) {
                *same = is_same(&root, folder.as_ref(), stamps.as_ref(), &mut path);
            }
        }
    };
    let most = thread::available_parallelism().map_or(1, usize::from);
    let at_once = noted.len().div_ceil(PART).min(most).min(THREADS);
    thread::scope(|threads| {
        for _ in 1..at_once {
            let thread = thread::Builder::new().stack_size(64 << 10);
            // If no more can be started, this thread does what they would have done.
            let _ = os::without_signals(|| thread.spawn_scoped(threads, look));
        }
        look();
    });
    same
}

/// Whether all files in a folder have their stamps; `path` is only room for their paths.
fn is_same(root: &File, folder: &[u8], stamps: &[u8], path: &mut Vec<u8>) -> bool {
    path.clear();
    path.extend_from_slice(folder);
    path.push(b'/');
    let stem = path.len();
    let mut rest = stamps;
    while let Some((stamp, name, more)) = split(rest) {
        path.truncate(stem);
        path.extend_from_slice(name);
        path.push(0);
        let found = CStr::from_bytes_with_nul(path)
            .ok()
            .map(|path| os::stamp_at(root, path));
        if !matches!(found, Some(Ok(found)) if found == stamp) {
            return false;
        }
        rest = more;
    }
    rest.is_empty() && !stamps.is_empty()
}

/// The first stamp, the path of its file, and what comes after them; `None` if there is no whole one.
fn split(stamps: &[u8]) -> Option<(Stamp, &[u8], &[u8])> {
    let (head, rest) = stamps.split_first_chunk::<HEAD_BYTES>()?;
    let stamp = Stamp {
        inode: u64::from_le_bytes(head[..8].try_into().ok()?),
        changed_ns: i64::from_le_bytes(head[8..16].try_into().ok()?),
        bytes: u64::from_le_bytes(head[16..24].try_into().ok()?),
    };
    let length = u16::from_le_bytes(head[24..].try_into().ok()?);
    let (name, more) = rest.split_at_checked(usize::from(length))?;
    Some((stamp, name, more))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    fn noted(folder: &Path, name: &str) -> Vec<u8> {
        let found = fs::symlink_metadata(folder.join(name)).unwrap();
        let mut stamp = found.ino().to_le_bytes().to_vec();
        stamp.extend((found.ctime() * 1_000_000_000 + found.ctime_nsec()).to_le_bytes());
        stamp.extend(found.size().to_le_bytes());
        stamp.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        stamp.extend(name.as_bytes());
        stamp
    }

    fn home(folders: usize) -> (tempfile::TempDir, Vec<(String, Vec<u8>)>) {
        let root = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for number in 0..folders {
            let folder = root.path().join(format!("{number}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("a"), "1").unwrap();
            fs::write(folder.join("b"), "2").unwrap();
            let stamps = [noted(&folder, "a"), noted(&folder, "b")].concat();
            all.push((number.to_string(), stamps));
        }
        (root, all)
    }

    #[test]
    fn of_many_folders_those_are_told_in_which_a_file_was_changed_or_removed() {
        let (root, noted) = home(3 * PART);
        assert_eq!(are_same(root.path(), &noted), vec![true; 3 * PART]);

        fs::write(root.path().join("0/b"), "3 and more").unwrap();
        fs::remove_file(root.path().join(format!("{PART}/a"))).unwrap();
        let expected: Vec<_> = (0..3 * PART).map(|at| at != 0 && at != PART).collect();

        assert_eq!(are_same(root.path(), &noted), expected);
    }

    #[test]
    fn a_link_to_the_same_file_is_another_file() {
        let (root, noted) = home(1);
        let file = root.path().join("0/a");
        fs::rename(&file, root.path().join("away")).unwrap();
        std::os::unix::fs::symlink("../away", &file).unwrap();

        assert_eq!(are_same(root.path(), &noted), [false]);
    }

    #[test]
    fn nothing_that_was_noted_is_not_the_same_as_all() {
        let (root, _) = home(1);
        assert_eq!(are_same(root.path(), &[("0", "")]), [false]);
        assert!(are_same::<&str, &str>(root.path(), &[]).is_empty());
        assert_eq!(are_same(&root.path().join("none"), &[("0", "")]), [false]);
    }

    proptest! {
        #[test]
        fn stamps_that_were_cut_or_harmed_are_of_no_file(at in 0usize..54, by in 1u8.., cut: bool) {
            let (root, mut noted) = home(1);
            let stamps = &mut noted[0].1;
            if cut {
                // Where the first one ends, what is left is whole.
                stamps.truncate(if at == 27 { 26 } else { at });
            } else {
                stamps[at] ^= by;
            }
            prop_assert_eq!(are_same(root.path(), &noted), [false]);
        }
    }
}
