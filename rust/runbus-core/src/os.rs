//! The few system calls that std does not offer, each behind a safe function.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

/// Counts the forks between this process and its first ancestor with this library.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static REGISTER: Once = Once::new();

extern "C" fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The generation of this process: a writer of another generation was inherited over a fork.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Let forked children see another [`generation`] from now on.
pub(crate) fn watch_forks() {
    REGISTER.call_once(|| {
        // SAFETY: the handler lives as long as this library and only touches an atomic, which is
        // allowed in the child of a process with several threads.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
    });
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    fn on_exit(function: extern "C" fn(i32, *mut libc::c_void), argument: *mut libc::c_void)
    -> i32;
}

/// Have a function called with the exit status when this process, or a forked child of it, exits.
#[cfg(target_env = "gnu")]
pub(crate) fn at_exit(function: extern "C" fn(i32, *mut libc::c_void)) {
    // SAFETY: the function lives as long as this library, which is never unloaded.
    unsafe { on_exit(function, ptr::null_mut()) };
}

/// Other C libraries tell nobody the status: journals that are open then have no end.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn at_exit(_function: extern "C" fn(i32, *mut libc::c_void)) {}

/// Do `work` with all signals blocked: a thread started in it gets none, so that they reach the threads
/// that expect them.
pub(crate) fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are valid for the calls, and the thread's own mask is put back.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        result
    }
}

/// A counter whose descriptor polls as readable when it is not zero; neither side ever waits.
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Add one to an [`event_counter`].
pub(crate) fn count_event(counter: &OwnedFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: the descriptor is open, and the kernel reads eight bytes. It refuses only when the
    // counter is full, and then it is readable already.
    unsafe { libc::write(counter.as_raw_fd(), one.as_ptr().cast(), one.len()) };
}

/// Set an [`event_counter`] to zero.
pub(crate) fn clear_events(counter: &OwnedFd) {
    let mut count = [0u8; 8];
    // SAFETY: the descriptor is open, and the kernel writes eight bytes, or none if it was zero.
    unsafe { libc::read(counter.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

/// Enough of a process to tell it from another with the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: u32,
    /// Inode of the pid namespace: a number means nothing in another one.
    pub(crate) pid_namespace: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks from boot to the start of the process.
    pub(crate) start_ticks: u64,
    pub(crate) boot_id_hash: u64,
}

impl ProcessIdentity {
    pub(crate) fn current() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            start_ticks: start_ticks(pid).unwrap_or(0),
            ..Self::here()
        }
    }

    /// The parts that are the same for all processes which can judge each other.
    fn here() -> Self {
        let boot_id = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let namespace = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
        Self {
            pid_namespace: u32::try_from(namespace).unwrap_or(0),
            boot_id_hash: xxh3_64(boot_id.trim_ascii()),
            ..Self::default()
        }
    }

    /// Whether the process runs; `None` when that cannot be told from here.
    pub(crate) fn is_running(&self) -> Option<bool> {
        let here = Self::here();
        let is_comparable = self.pid_namespace == here.pid_namespace
            && self.boot_id_hash == here.boot_id_hash
            && self.pid_namespace != 0
            && self.start_ticks != 0;
        is_comparable.then(|| start_ticks(self.pid) == Some(self.start_ticks))
    }
}

/// When the process started; `None` when there is none or it is a zombie.
fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets: count from the last one. State is field 3.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Who holds the lock of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Free,
    Held,
    /// The file system has no locks.
    Unknown,
}

fn whole_file(lock_type: i32) -> libc::flock {
    // SAFETY: all zeros is a valid flock: the whole file, no process.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = i16::try_from(lock_type).unwrap_or_default();
    lock.l_whence = i16::try_from(libc::SEEK_SET).unwrap_or_default();
    lock
}

/// Take the writer's lock: `Held` means another has it.
///
/// Locks of the open file description rather than `flock`: a reader can ask for the holder
/// without taking the lock for a moment, which would refuse a writer that comes just then. Like
/// `flock`, they are inherited over `fork`: the lock lives until parent and children closed it.
pub(crate) fn lock_for_writing(file: &File) -> io::Result<Lock> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the kernel reads one flock during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(Lock::Free);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(Lock::Held),
        _ if is_unsupported(&error) => Ok(Lock::Unknown),
        _ => Err(error),
    }
}

/// Take a lock that is the process's own: forked children do not have it, and it goes with the process,
/// or when this closes any descriptor of the file.
pub(crate) fn lock_for_process(file: &File) -> io::Result<Lock> {
    let lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the kernel reads one flock during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) };
    if result == 0 {
        return Ok(Lock::Free);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES) => Ok(Lock::Held),
        _ if is_unsupported(&error) => Ok(Lock::Unknown),
        _ => Err(error),
    }
}

/// Let go of the writer's lock: other holders of the descriptor keep nothing.
pub(crate) fn unlock(file: &File) {
    let lock = whole_file(libc::F_UNLCK);
    // SAFETY: the descriptor is open, and the kernel reads one flock during the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
}

/// Whether a writer holds the lock, asked without touching it.
pub(crate) fn lock_state(file: &File) -> Lock {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: the descriptor is open, and the kernel writes one flock during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    match result {
        0 if i32::from(lock.l_type) == libc::F_UNLCK => Lock::Free,
        0 => Lock::Held,
        _ => Lock::Unknown,
    }
}

/// What tells a file from others, and from what it was before.
///
/// The time is that of its last change, which no program can set, not that of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    pub(crate) changed_ns: i64,
    pub(crate) bytes: u64,
}

/// The stamp of the file, folder or link at a path below a folder.
pub(crate) fn stamp_at(folder: &File, path: &CStr) -> io::Result<Stamp> {
    let flags = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: all zeros is a valid stat, the path ends in a zero, and the kernel writes one stat.
    let (result, found) = unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        let result = libc::fstatat(folder.as_raw_fd(), path.as_ptr(), &raw mut found, flags);
        (result, found)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Stamp {
        inode: found.st_ino,
        changed_ns: found.st_ctime * 1_000_000_000 + found.st_ctime_nsec,
        bytes: u64::try_from(found.st_size).unwrap_or(0),
    })
}

/// Where the next bytes of a file lie that are not a hole: `offset`, where that cannot be told, and
/// the file's end, where there are none.
pub(crate) fn next_data(file: &File, offset: u64) -> u64 {
    let end = file.metadata().map_or(offset, |metadata| metadata.len());
    let Ok(from) = libc::off_t::try_from(offset) else {
        return offset;
    };
    // SAFETY: a plain call on a descriptor that is open; nothing here uses the file's own position.
    let found = unsafe { libc::lseek(file.as_raw_fd(), from, libc::SEEK_DATA) };
    match u64::try_from(found) {
        Ok(found) => found.max(offset),
        Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENXIO) => end,
        Err(_) => offset,
    }
}

/// The size of a page of memory.
pub(crate) fn page_bytes() -> u64 {
    // SAFETY: asks for a constant.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096).max(1)
}

/// Reserve space, growing the file: afterwards a store into it cannot run out of disk.
///
/// `fallocate`, not `posix_fallocate`: glibc emulates the latter by writing into every block where
/// the file system cannot reserve, and we want to be told.
pub(crate) fn reserve(file: &File, offset: u64, bytes: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let offset = libc::off_t::try_from(offset).map_err(too_far)?;
    let bytes = libc::off_t::try_from(bytes).map_err(too_far)?;
    loop {
        // SAFETY: the descriptor is open; no memory is passed.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset, bytes) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Whether the file lives on another machine, or behind a process that may die.
///
/// There a mapping may show other machines nothing until it is unmapped, and a lost connection
/// would be a SIGBUS instead of an error.
pub(crate) fn is_remote(file: &File) -> bool {
    // SAFETY: all zeros is a valid statfs, and the kernel writes one during the call.
    let (result, statistics) = unsafe {
        let mut statistics: libc::statfs = std::mem::zeroed();
        (
            libc::fstatfs(file.as_raw_fd(), &raw mut statistics),
            statistics,
        )
    };
    result == 0
        && REMOTE_FILE_SYSTEMS
            .iter()
            .any(|(magic, _)| *magic == statistics.f_type)
}

/// `f_type` of `statfs`.
const REMOTE_FILE_SYSTEMS: [(i64, &str); 14] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB 2"),
    (0x6573_5546, "FUSE"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x0116_1970, "GFS2"),
    (0x7461_636F, "OCFS2"),
    (0xAAD7_AAEA, "PanFS"),
];

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    pub(crate) total: u64,
    /// Without what is kept for root.
    pub(crate) free: u64,
    pub(crate) unused: u64,
}

/// The room of the file system that a path lies on.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zeros is a valid statvfs, and the kernel writes one during the call.
    let (result, found) = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(path.as_ptr(), &raw mut found), found)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space {
        total: bytes(found.f_blocks),
        free: bytes(found.f_bavail),
        unused: bytes(found.f_bfree),
    })
}

/// The set that holds SIGTERM alone.
fn term() -> libc::sigset_t {
    // SAFETY: all zeros is a valid set, and the calls take it and a number.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        set
    }
}

/// Have SIGTERM wait until it is waited for, in this thread and those that it starts.
pub(crate) fn hold_back_term() {
    let set = term();
    // SAFETY: the set lives as long as the call.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
}

/// Wait so long for a SIGTERM that is held back and comes from a process; whether one came.
///
/// That of others is ignored. It is from a parent, too, where it tells of that one's end.
pub(crate) fn wait_for_term(from: u32, longest: Duration) -> bool {
    let set = term();
    let until = Instant::now() + longest;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = libc::timespec {
            tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: all zeros is a valid `siginfo_t`; the set and the time live as long as the call, which
        // fills it in, and the sender is in it if the signal was sent by a process.
        let (signal, sender) = unsafe {
            let mut told: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigtimedwait(&raw const set, &raw mut told, &raw const left);
            (signal, if signal > 0 { told.si_pid() } else { 0 })
        };
        if signal > 0 && u32::try_from(sender) == Ok(from) {
            return true;
        }
        // Who was stopped and continues is woken without one.
        if signal < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Have SIGTERM sent to this process when its parent ends; whether that is still its parent.
pub(crate) fn end_with(parent: u32) -> bool {
    // SAFETY: the calls take numbers.
    let (set, above) = unsafe {
        let set = libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
        (set, libc::getppid())
    };
    set == 0 && u32::try_from(above) == Ok(parent)
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    // SAFETY: all zeros is a valid `utsname`, and the call fills it in.
    let mut told: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `told` is valid for writes, and holds C strings whatever the call says.
    let name = unsafe {
        libc::uname(&raw mut told);
        CStr::from_ptr(told.nodename.as_ptr())
    };
    name.to_string_lossy().into_owned()
}

/// How many clock ticks of `/proc` a second has.
pub(crate) fn ticks_per_second() -> u64 {
    // SAFETY: asks for a constant.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}

/// Nanoseconds of a clock: the processor time of this thread, or what nobody sets.
fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is valid for writes.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// The processor time that this thread has used, in nanoseconds.
pub(crate) fn thread_time_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds since the machine started, or another moment before this process did.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Whether the error says that this file system cannot do such a thing at all.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOSYS | libc::ENODEV | libc::ENOLCK)
    )
}

/// Whether the error says that there is no room now.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_running_and_another_start_time_is_not() {
        let me = ProcessIdentity::current();
        assert_eq!(me.is_running(), Some(true));
        let reused = ProcessIdentity {
            start_ticks: me.start_ticks + 1,
            ..me
        };
        assert_eq!(reused.is_running(), Some(false));
        let elsewhere = ProcessIdentity {
            boot_id_hash: 1,
            ..me
        };
        assert_eq!(elsewhere.is_running(), None);
    }

    #[test]
    fn a_second_description_is_refused_and_can_ask() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let other = file.reopen().unwrap();
        assert_eq!(lock_state(&other), Lock::Free);
        assert_eq!(lock_for_writing(file.as_file()).unwrap(), Lock::Free);
        assert_eq!(lock_state(&other), Lock::Held);
        assert_eq!(lock_for_writing(&other).unwrap(), Lock::Held);
        drop(file);
        assert_eq!(lock_state(&other), Lock::Free);
    }
}
