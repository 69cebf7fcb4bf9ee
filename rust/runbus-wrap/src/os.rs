//! The few calls of the system that std does not offer, each safe to call.

use std::ffi::{CStr, CString};
use std::fs::Metadata;
use std::io::Read;
use std::os::fd::RawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::OnceLock;

/// A process, by its number and the moment it started: a number alone is given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since boot.
    pub(crate) start: u64,
}

/// What `/proc/PID/stat` says of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    pub(crate) state: u8,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) threads: i32,
    /// Whether a signal tells its parent of its end: of all but a wrapper's own helper.
    pub(crate) is_told: bool,
}

impl Stat {
    /// Whether nothing of it runs any more. A first thread that has ended is a zombie, too, while
    /// others continue.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }
}

/// Read what is in a file of the kernel, or a small one; nothing if it cannot be read.
pub(crate) fn read(path: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    // A pipe in its place would keep this program until somebody writes to it.
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    if let Ok(file) = opened {
        let _ = file.take(16 << 20).read_to_end(&mut text);
    }
    text
}

/// Write bytes to a descriptor; whether all of them were.
pub(crate) fn write_all(file: RawFd, bytes: &[u8]) -> bool {
    write_some(file, bytes) == bytes.len()
}

/// Write bytes to a descriptor; how many were before it took no more.
pub(crate) fn write_some(file: RawFd, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        // SAFETY: the pointer and the length are those of a slice.
        let written = unsafe { libc::write(file, rest.as_ptr().cast(), rest.len()) };
        match usize::try_from(written) {
            Ok(0) => break,
            Ok(written) => rest = &rest[written..],
            Err(_) if errno() == libc::EINTR => {}
            Err(_) => break,
        }
    }
    bytes.len() - rest.len()
}

/// The attempt's folder, which is the current one; looked at once.
fn folder() -> Option<&'static Metadata> {
    static FOUND: OnceLock<Option<Metadata>> = OnceLock::new();
    FOUND.get_or_init(|| std::fs::metadata(".").ok()).as_ref()
}

/// The mode of a new file in the current folder: who may not look into that may not read it, either.
pub(crate) fn file_mode() -> libc::mode_t {
    let mode = folder().map_or(0, Metadata::mode);
    mode & 0o066 | 0o600
}

/// Give a file that was made in the current folder to the owner of that folder.
///
/// In a container the wrapper may be root, and who reads the records outside of it is not.
pub(crate) fn hand_over(file: RawFd) {
    // SAFETY: the calls take numbers.
    if file < 0 || unsafe { libc::geteuid() } != 0 {
        return;
    }
    if let Some(folder) = folder()
        && folder.uid() != 0
    {
        // SAFETY: the call takes numbers. Where it fails the file stays root's.
        unsafe { libc::fchown(file, folder.uid(), folder.gid()) };
    }
}

/// Read a file and remove it; None if it is not there.
pub(crate) fn take(path: &str) -> Option<Vec<u8>> {
    let text = exists(path).then(|| read(path));
    if text.is_some() {
        let _ = std::fs::remove_file(path);
    }
    text
}

/// Open what reads and writes nothing; negative if that is not possible.
pub(crate) fn open_nothing() -> RawFd {
    // SAFETY: the path is a C string.
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) }
}

/// Have a descriptor be another name of what `by` is.
pub(crate) fn replace(file: RawFd, by: RawFd) {
    // SAFETY: the call takes numbers.
    unsafe { libc::dup2(by, file) };
}

unsafe extern "C" {
    static mut environ: *const *const libc::c_char;
}

/// The environment of this process, which has one thread: of each variable `NAME=VALUE`.
pub(crate) fn environment() -> Vec<CString> {
    let mut found = Vec::new();
    // SAFETY: nobody writes it meanwhile, and it is a list of C strings that ends with a null pointer, or
    // is itself one.
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            found.push(CStr::from_ptr(*at).to_owned());
            at = at.add(1);
        }
    }
    found
}

/// Set the environment of this process, which has one thread.
pub(crate) fn set_environment(variables: impl Iterator<Item = CString>) {
    // What the environment points to lives as long as the process.
    let ends = std::iter::once(std::ptr::null());
    let pointers: Vec<_> = variables
        .map(|pair| pair.into_raw().cast_const())
        .chain(ends)
        .collect();
    // SAFETY: nobody else reads or writes it, and it is a list as C has it, never freed.
    unsafe { environ = pointers.leak().as_ptr() };
}

/// Two pipes, of each the end to read from and the end to write to; or the number of the error.
pub(crate) fn two_pipes() -> Result<[(RawFd, RawFd); 2], i32> {
    let first = pipe()?;
    let both = pipe().map(|second| [first, second]);
    if both.is_err() {
        close(first.0);
        close(first.1);
    }
    both
}

/// A pipe: the end to read from and the end to write to; or the number of the error.
pub(crate) fn pipe() -> Result<(RawFd, RawFd), i32> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has the two places that are filled in.
    let failed = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0;
    if failed {
        Err(errno())
    } else {
        Ok((ends[0], ends[1]))
    }
}

/// Two sockets that are connected; or the number of the error.
pub(crate) fn socket_pair() -> Result<(RawFd, RawFd), i32> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has the two places that are filled in.
    let failed = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0;
    if failed {
        Err(errno())
    } else {
        Ok((ends[0], ends[1]))
    }
}

/// How many bytes are in a pipe.
pub(crate) fn bytes_in(pipe: RawFd) -> usize {
    let mut length: libc::c_int = 0;
    // SAFETY: `length` is a valid place for the answer.
    unsafe { libc::ioctl(pipe, libc::FIONREAD, &raw mut length) };
    usize::try_from(length).unwrap_or(0)
}

/// Wait until one of some descriptors is readable or has ended, for a time in milliseconds or, with -1,
/// without an end; negative descriptors are passed over.
pub(crate) fn wait_for<const N: usize>(files: [RawFd; N], milliseconds: i32) -> [bool; N] {
    let mut asked = files.map(|fd| libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: the pointer and the length are those of an array.
    unsafe { libc::poll(asked.as_mut_ptr(), N as libc::nfds_t, milliseconds) };
    asked.map(|file| file.revents != 0)
}

/// Whether a descriptor is readable, or has ended, within a time in milliseconds.
pub(crate) fn is_readable(file: RawFd, milliseconds: i32) -> bool {
    wait_for([file], milliseconds)[0]
}

/// Fork a child whose end no signal tells and no plain `wait` finds; -1 if that is not possible.
pub(crate) fn fork_silently() -> i32 {
    let none: libc::c_long = 0;
    // SAFETY: there is one thread. Without flags it is a fork, and the low byte, the signal at the
    // child's end, is zero; the order of the other words, all zero, differs between machines.
    let pid = unsafe { libc::syscall(libc::SYS_clone, none, none, none, none, none) };
    i32::try_from(pid).unwrap_or(-1)
}

/// Fork a child; -1 if that is not possible.
pub(crate) fn fork() -> i32 {
    // SAFETY: there is one thread, so that the child may do what this process may.
    unsafe { libc::fork() }
}

/// Fork a child that begins in a control group, by a descriptor of its folder; -1 if that is not
/// possible.
pub(crate) fn fork_into(cgroup: RawFd) -> i32 {
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let Ok(cgroup) = u64::try_from(cgroup) else {
        return -1;
    };
    // The words of `struct clone_args`; without a stack in them it is a fork.
    let mut asked = [0_u64; 11];
    asked[0] = CLONE_INTO_CGROUP;
    asked[4] = u64::from(libc::SIGCHLD.unsigned_abs());
    asked[10] = cgroup;
    // SAFETY: there is one thread, and the pointer and the length are those of an array.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, asked.as_ptr(), size_of_val(&asked)) };
    i32::try_from(pid).unwrap_or(-1)
}

/// Close every descriptor but some, and leave nothing of the launcher's in the standard ones.
pub(crate) fn keep_only(files: &mut [RawFd]) {
    let nothing = open_nothing();
    for standard in 0..3 {
        if nothing < 0 {
            close(standard);
        } else {
            replace(standard, nothing);
        }
    }
    files.sort_unstable();
    let mut next = 3;
    for file in files.iter().filter(|file| **file >= 0) {
        close_range(next, *file - 1);
        next = *file + 1;
    }
    close_range(next, i32::MAX);
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the call takes numbers.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } != 0 {
        // A kernel before 5.9. This program has a dozen of them, all low.
        (first..=last.min(1024)).for_each(close);
    }
}

/// Give the pages of this program's code back; they come again, from the page cache, when it wakes.
///
/// A machine may run thousands of wrappers that sleep beside their jobs.
pub(crate) fn forget_code() {
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    const PAGE: usize = 4096;
    let start = (&raw const __executable_start)
        .addr()
        .next_multiple_of(PAGE);
    let length = (&raw const etext).addr().saturating_sub(start);
    // SAFETY: the linker's symbols bound headers, constants and code: pages that nobody has written
    // to, of a file that is still open to the kernel.
    unsafe {
        libc::madvise(
            std::ptr::without_provenance_mut(start),
            length,
            libc::MADV_DONTNEED,
        )
    };
}

/// Whether there may be enough later of what a call failed for: files, processes, memory.
pub(crate) fn is_scarce(error: i32) -> bool {
    matches!(
        error,
        libc::EAGAIN | libc::EMFILE | libc::ENFILE | libc::ENOMEM
    )
}

/// The error number of the last call that failed.
pub(crate) fn errno() -> i32 {
    // SAFETY: the address is this thread's own, always valid.
    unsafe { *libc::__errno_location() }
}

/// The pid namespace of this process; empty where the kernel does not tell.
pub(crate) fn pid_namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid")
        .map(|link| link.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    // SAFETY: all zeros is a valid `utsname`, and the call fills it in.
    let mut told: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `told` is a valid place for the answer.
    unsafe { libc::uname(&raw mut told) };
    // SAFETY: the kernel ends the name with a NUL.
    let name = unsafe { CStr::from_ptr(told.nodename.as_ptr()) };
    name.to_string_lossy().into_owned()
}

/// The number of this process.
pub(crate) fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or(0)
}

/// This process.
pub(crate) fn own() -> Process {
    let pid = own_pid();
    stat(pid).map_or(Process { pid, start: 0 }, |stat| stat.process)
}

/// Look a process up; None if there is none with that number.
pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&read(&format!("/proc/{pid}/stat")))
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    // The name may hold spaces and parentheses: what counts follows the last of them.
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let pid = number(text.get(..open)?.trim_ascii())?;
    let fields: Vec<&[u8]> = text
        .get(close + 1..)?
        .split(u8::is_ascii_whitespace)
        .filter(|field| !field.is_empty())
        .collect();
    let signed = |at: usize| {
        let text = std::str::from_utf8(fields.get(at)?).ok()?;
        text.parse::<i32>().ok()
    };
    Some(Stat {
        process: Process {
            pid: i32::try_from(pid).ok()?,
            start: number(fields.get(19)?)?,
        },
        state: *fields.first()?.first()?,
        parent: signed(1)?,
        session: signed(3)?,
        threads: signed(17)?,
        is_told: fields.get(35).is_none_or(|signal| *signal != b"0"),
    })
}

/// Every process of the machine that can be seen from here.
pub(crate) fn processes() -> Vec<Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect()
}

/// What descends from a process; None where the kernel does not list children.
pub(crate) fn descendants(pid: i32) -> Option<Vec<i32>> {
    let mut found = children(pid)?;
    let mut at = 0;
    while at < found.len() {
        found.extend(children(found[at]).unwrap_or_default());
        at += 1;
    }
    Some(found)
}

/// The children of every thread of a process.
fn children(pid: i32) -> Option<Vec<i32>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = thread.ok()?.path().join("children");
        let text = std::fs::read_to_string(path).ok()?;
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<i32>().ok()),
        );
    }
    Some(found)
}

/// Send a signal to the very process that is meant, never to one that was given its number since.
///
/// Whether it was there.
pub(crate) fn signal(process: Process, signal: i32) -> bool {
    // SAFETY: the call takes two numbers.
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, process.pid, 0) };
    let is_meant = || stat(process.pid).is_some_and(|stat| stat.process == process);
    let Ok(file) = RawFd::try_from(file) else {
        return false;
    };
    if file < 0 {
        // An old kernel: between the look and the signal the number could be given again.
        // SAFETY: the call takes two numbers.
        return errno() == libc::ENOSYS
            && is_meant()
            && unsafe { libc::kill(process.pid, signal) } == 0;
    }
    // With the descriptor open the number cannot be given again unseen.
    // SAFETY: the call takes numbers and a null pointer, which it allows.
    let sent = is_meant()
        && unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                file,
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        } == 0;
    close(file);
    sent
}

/// Which of two processes this is.
pub(crate) enum Detached {
    Parent,
    Child,
    Failed,
}

/// Go on in another process, which leads a session of its own.
pub(crate) fn detach() -> Detached {
    match fork() {
        -1 => Detached::Failed,
        0 => {
            // SAFETY: the call takes nothing.
            unsafe { libc::setsid() };
            Detached::Child
        }
        _ => Detached::Parent,
    }
}

/// End this process at once, whatever it has in memory.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Close a descriptor.
pub(crate) fn close(file: RawFd) {
    // SAFETY: the descriptor is the caller's own.
    unsafe { libc::close(file) };
}

/// Whether a file is there, whatever it is.
pub(crate) fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// A C string; what follows a NUL is cut off.
pub(crate) fn c_string(bytes: &[u8]) -> CString {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}

/// The words of an error number, in lower case as all messages are.
pub(crate) fn error_text(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{descendants, own, parse_stat, stat};

    #[test]
    fn a_name_with_parentheses_and_spaces_is_read_over() {
        let line = b"12 (a) R (b) S 7 12 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0\n";
        let found = parse_stat(line).expect("a stat line");
        assert_eq!((found.process.pid, found.process.start), (12, 4711));
        assert_eq!((found.state, found.parent, found.session), (b'S', 7, 9));
        assert_eq!(found.threads, 1);
    }

    #[test]
    fn a_zombie_whose_other_threads_go_on_is_not_dead() {
        let of = |threads: &str| {
            let line = format!("12 (a) Z 7 12 9 0 -1 0 0 0 0 0 0 0 0 0 20 0 {threads} 0 4711 0\n");
            parse_stat(line.as_bytes()).expect("a stat line").is_dead()
        };
        assert!(of("1"));
        assert!(!of("2"));
    }

    #[test]
    fn what_is_no_stat_line_is_none() {
        for line in [&b""[..], b"12", b"12 (a", b"12 (a) S", b") 12 (a S 1 2 3"] {
            assert!(parse_stat(line).is_none(), "{line:?}");
        }
    }

    #[test]
    fn a_child_s_child_descends_from_this_process() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = [0; 16];
        let length = child
            .stdout
            .as_mut()
            .map(|file| file.read(&mut line).expect("a line"));
        let told = std::str::from_utf8(&line[..length.unwrap_or(0)]).expect("a number");
        let grandchild: i32 = told.trim().parse().expect("a number");

        let found = descendants(own().pid);

        for pid in [grandchild, i32::try_from(child.id()).expect("a pid")] {
            // SAFETY: the call takes numbers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            assert!(found.as_ref().is_none_or(|found| found.contains(&pid)));
        }
        child.wait().expect("a child");
    }

    #[test]
    fn this_process_is_found() {
        let own = own();
        assert_eq!(stat(own.pid).map(|stat| stat.process), Some(own));
    }
}
