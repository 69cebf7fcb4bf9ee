//! What the system is asked for, and in which order: calls of the C library are noted on their way.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use runbus_core::archive::{Wanted, read};
use runbus_core::journal::{BlobWriter, MetricWriter, Options, Steps as ColumnSteps};
use runbus_core::segment::seal;
use runbus_core::series::Steps;
use runbus_core::{Error, sync_paths};
use tempfile::tempdir;

#[derive(Clone, Debug, PartialEq)]
struct Call {
    name: &'static str,
    path: PathBuf,
    bytes: u64,
    thread: ThreadId,
}

static CALLS: Mutex<Vec<Call>> = Mutex::new(Vec::new());
static CALLED: Condvar = Condvar::new();

fn note(name: &'static str, path: PathBuf, bytes: u64) {
    CALLS.lock().unwrap().push(Call {
        name,
        path,
        bytes,
        thread: thread::current().id(),
    });
    CALLED.notify_all();
}

fn path_of(descriptor: c_int) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default()
}

/// The calls so far that are about files below a folder, or the folder.
fn calls(folder: &Path) -> Vec<Call> {
    let calls = CALLS.lock().unwrap();
    let ours = calls.iter().filter(|call| call.path.starts_with(folder));
    ours.cloned().collect()
}

fn fail(error: c_int) -> c_int {
    // SAFETY: the place of this thread's error number is always valid.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn to_int(result: libc::c_long) -> c_int {
    c_int::try_from(result).unwrap_or(-1)
}

// Each stands in the place of the C library's function of this name, and does the same by the system call;
// a file named "full" gets no space, one named "remote" lies on another machine, and of one named "broken"
// the disk cannot be written.

#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    note("sync", path_of(descriptor), 0);
    // SAFETY: the arguments are passed on as they came; so in all of these.
    to_int(unsafe { libc::syscall(libc::SYS_fdatasync, descriptor) })
}

#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    let path = path_of(descriptor);
    let is_broken = path.file_name() == Some(OsStr::new("broken"));
    note("sync", path, 0);
    if is_broken {
        return fail(libc::EIO);
    }
    // SAFETY: as above.
    to_int(unsafe { libc::syscall(libc::SYS_fsync, descriptor) })
}

/// # Safety
/// Both are texts that end with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: by the contract.
    let path = OsStr::from_bytes(unsafe { CStr::from_ptr(to) }.to_bytes());
    note("rename", path.into(), 0);
    // SAFETY: as above.
    to_int(unsafe { libc::syscall(libc::SYS_renameat, libc::AT_FDCWD, from, libc::AT_FDCWD, to) })
}

/// # Safety
/// It is a text that ends with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: by the contract.
    let text = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
    note("unlink", text.into(), 0);
    // SAFETY: as above.
    to_int(unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0) })
}

#[unsafe(no_mangle)]
extern "C" fn fallocate(
    descriptor: c_int,
    mode: c_int,
    offset: libc::off_t,
    bytes: libc::off_t,
) -> c_int {
    let path = path_of(descriptor);
    let is_full = path.file_name() == Some(OsStr::new("full.journal"));
    note("reserve", path, bytes.unsigned_abs());
    if is_full {
        return fail(libc::ENOSPC);
    }
    // SAFETY: as above.
    to_int(unsafe { libc::syscall(libc::SYS_fallocate, descriptor, mode, offset, bytes) })
}

/// # Safety
/// There is room for the statistics.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatfs(descriptor: c_int, statistics: *mut libc::statfs) -> c_int {
    // SAFETY: as above.
    let result = to_int(unsafe { libc::syscall(libc::SYS_fstatfs, descriptor, statistics) });
    if result == 0 && path_of(descriptor).file_name() == Some(OsStr::new("remote.journal")) {
        // SAFETY: by the contract.
        unsafe { (*statistics).f_type = 0x6969 };
    }
    result
}

/// # Safety
/// There is room for so many bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(
    descriptor: c_int,
    to: *mut c_void,
    bytes: usize,
    offset: libc::off64_t,
) -> isize {
    note("read", path_of(descriptor), bytes as u64);
    // SAFETY: as above.
    let read = unsafe { libc::syscall(libc::SYS_pread64, descriptor, to, bytes, offset) };
    isize::try_from(read).unwrap_or(-1)
}

fn written(path: &Path, options: Options, rows: i64) -> MetricWriter {
    let mut writer = MetricWriter::create(path, options).unwrap();
    let layout = writer.layout(&["x"]).unwrap();
    for step in 0..rows {
        writer.log(&layout, Some(step), step, &[0.5]).unwrap();
    }
    writer
}

#[test]
fn what_is_logged_is_synced_in_the_background_with_the_name_of_the_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.journal");
    let options = Options {
        sync_every: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    let _writer = written(&path, options, 1);
    let wanted: HashSet<&Path> = [folder.path(), &path].into();
    let is_missing = |calls: &mut Vec<Call>| {
        let synced = calls.iter().filter(|call| call.name == "sync");
        let synced: HashSet<&Path> = synced.map(|call| call.path.as_path()).collect();
        !wanted.is_subset(&synced)
    };
    let calls = CALLS.lock().unwrap();
    let patience = Duration::from_secs(30);
    let (_calls, result) = CALLED
        .wait_timeout_while(calls, patience, is_missing)
        .unwrap();
    assert!(!result.timed_out());
}

/// Folders with a file each, all of which are to be synced.
fn scattered(folder: &Path, count: usize) -> Vec<PathBuf> {
    let one = |number: usize| {
        let within = folder.join(number.to_string());
        fs::create_dir(&within).unwrap();
        let file = within.join(if number == count / 2 {
            "broken"
        } else {
            "file"
        });
        fs::write(&file, b"x").unwrap();
        [within, file]
    };
    (0..count).flat_map(one).collect()
}

#[test]
fn of_many_files_one_that_fails_is_named_and_the_others_are_synced_by_few_threads() {
    for count in [3, 100] {
        let folder = tempdir().unwrap();
        let paths = scattered(folder.path(), count);
        let broken = folder.path().join((count / 2).to_string()).join("broken");
        let gone = folder.path().join("gone/file");
        let wanted: Vec<_> = [&[gone][..], &paths].concat();

        let Err(Error::Io { path, source }) = sync_paths(&wanted) else {
            panic!("the disk failed, and nobody says so");
        };

        assert_eq!((path, source.raw_os_error()), (broken, Some(libc::EIO)));
        let calls = calls(folder.path());
        let threads: HashSet<_> = calls.iter().map(|call| call.thread).collect();
        let mut synced: Vec<_> = calls.into_iter().map(|call| call.path).collect();
        synced.sort();
        let mut all = paths;
        all.sort();
        assert_eq!(synced, all);
        assert!(threads.len() <= 17, "{} threads", threads.len());
    }
}

#[test]
fn a_journal_is_synced_with_what_it_rests_on_whatever_of_that_fails() {
    let folder = tempdir().unwrap();
    let paths = scattered(folder.path(), 20);
    let broken = folder.path().join("10/broken");
    let journal = folder.path().join("a.journal");
    let mut writer = BlobWriter::create(&journal, Options::default()).unwrap();
    writer.append(b"x").unwrap();
    let durability = writer.durability();

    let Err(Error::Io { path, .. }) = durability.sync_with(&paths) else {
        panic!("the disk failed, and nobody says so");
    };

    assert_eq!(path, broken);
    let calls = calls(folder.path());
    let synced = calls.iter().filter(|call| call.name == "sync");
    let synced: HashSet<&Path> = synced.map(|call| &*call.path).collect();
    let own = [folder.path(), &*journal];
    let all: HashSet<&Path> = paths.iter().map(|path| &**path).chain(own).collect();
    assert_eq!(synced, all);
}

#[test]
fn a_segment_and_its_name_are_on_the_disk_before_the_journal_goes() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.journal");
    drop(written(
        &path,
        Options {
            sync_every: None,
            ..Options::default()
        },
        5,
    ));
    let before = calls(folder.path()).len();
    let segment = seal(&path).unwrap();
    let calls = calls(folder.path()).split_off(before);
    let changes = calls
        .iter()
        .filter(|call| !["read", "reserve"].contains(&call.name));
    let changes: Vec<(&str, &Path)> = changes.map(|call| (call.name, &*call.path)).collect();
    let (name, unfinished) = changes[0];
    assert!(name == "sync" && unfinished.extension() == Some(OsStr::new("new")));
    let rest = [
        ("rename", &*segment),
        ("sync", folder.path()),
        ("unlink", &*path),
        ("sync", folder.path()),
    ];
    assert_eq!(changes[1..], rest);
}

#[test]
fn a_full_disk_is_asked_now_and_then_and_not_at_each_call() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("full.journal");
    let start = Instant::now();
    let writer = written(&path, Options::default(), 20_000);
    assert_eq!(writer.dropped(), 20_000);
    let asked = calls(&path)
        .iter()
        .filter(|call| call.name == "reserve")
        .count();
    // Each time for less and less, down to the least that would do.
    let times = start.elapsed().as_millis() / 100 + 2;
    assert!(
        (1..=4 * times).contains(&(asked as u128)),
        "{asked} in {times}"
    );
}

#[test]
fn a_file_on_another_machine_is_written_and_not_mapped() {
    let folder = tempdir().unwrap();
    let (remote, local) = (
        folder.path().join("remote.journal"),
        folder.path().join("a.journal"),
    );
    let _writers = [&remote, &local].map(|path| written(path, Options::default(), 1));
    let is_reserved = |path: &Path| calls(path).iter().any(|call| call.name == "reserve");
    assert!(is_reserved(&local) && !is_reserved(&remote));
    // Header, schema and row.
    assert_eq!(fs::metadata(&remote).unwrap().len(), 64 + 24 + 40);
}

#[test]
fn the_row_groups_without_steps_that_are_wanted_are_not_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.journal");
    let mut writer = MetricWriter::create(&path, Options::default()).unwrap();
    let name = writer.name("x").unwrap().unwrap();
    let values: Vec<f64> = (0..1_200_000).map(|place| f64::from(place).sin()).collect();
    writer
        .extend(name, ColumnSteps::Automatic, 0, &values[..])
        .unwrap();
    drop(writer);
    let segment = seal(&path).unwrap();
    let bytes_read = |steps: Option<&Steps>| {
        let before = calls(&segment).len();
        let found = read(&[vec![segment.clone()]], &Wanted::All, steps).unwrap();
        let calls = calls(&segment).split_off(before);
        let reads = calls.iter().filter(|call| call.name == "read");
        (found[0].1.len(), reads.map(|call| call.bytes).sum::<u64>())
    };
    let last = Steps {
        first: 1_199_000,
        end: None,
        stride: 1,
    };
    let ((all, everything), (few, little)) = (bytes_read(None), bytes_read(Some(&last)));
    assert_eq!((all, few), (1_200_000, 1_000));
    // One of five row groups, and the footer.
    assert!(little * 3 < everything, "{little} of {everything} bytes");
}
