//! The records in the attempt's folder: each is whole or not there.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::os::{self, Process};
use crate::{clock, exit, machine};

const EXIT: &CStr = c"exit.json";
const PID: &CStr = c"pid.json";
/// How long a record waits for room on a disk that is full, in seconds.
const PATIENCE: u32 = 60;
/// A record's place is taken before the job begins, so that it can be filled in on a full disk.
const LENGTH: usize = 1024;

/// How an attempt ended.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// As a shell gives it: 128 + n for signal n.
    pub(crate) status: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) reason: String,
    /// Processes that were left running.
    pub(crate) left: usize,
    /// Bytes of its output that there was no room for, as far as the logs do not say so.
    pub(crate) lost: u64,
    /// What was used beside it.
    pub(crate) beside: Beside,
}

/// What a child used that is no process of the job.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beside {
    user_us: i64,
    sys_us: i64,
    max_rss: i64,
    /// The most memory that one of the others had until then.
    others: i64,
}

impl Beside {
    /// Of a child, with what all others had used before it was waited for.
    pub(crate) fn of(child: &libc::rusage, others: &libc::rusage) -> Self {
        Self {
            user_us: microseconds(child.ru_utime),
            sys_us: microseconds(child.ru_stime),
            max_rss: child.ru_maxrss,
            others: others.ru_maxrss,
        }
    }

    /// The most memory that one of the others had, where `all` is what any child had.
    fn without(self, all: i64) -> i64 {
        if all > self.max_rss { all } else { self.others }
    }
}

impl End {
    pub(crate) fn failed(status: i32, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self {
            status,
            reason,
            ..Self::default()
        }
    }
}

/// Take the folder for this attempt: it runs once however often it is started.
///
/// The record is made first, and blank: a wrapper that finds it does not run the job. The error is the exit
/// code of the wrapper.
pub(crate) fn claim() -> Result<RawFd, i32> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(EXIT.as_ptr(), flags, os::file_mode()) };
    if file >= 0 {
        os::hand_over(file);
        Ok(file)
    } else if matches!(os::errno(), libc::ENOSPC | libc::EDQUOT) {
        Err(exit::NO_ROOM)
    } else {
        Err(exit::CLAIMED)
    }
}

/// Take the room that the record will need; whether there is so much.
pub(crate) fn keep_room(file: RawFd) -> bool {
    write_at_start(file, b"")
}

/// Fill in how the attempt ended; where there was no room it is waited for, for a minute, unless
/// somebody has cleared the folder away.
pub(crate) fn fill_in(file: RawFd, end: &End) {
    let line = line_of(end);
    for _ in 0..PATIENCE {
        if write_at_start(file, line.as_bytes()) || !is_linked(file) {
            return;
        }
        clock::sleep(1.0);
    }
}

/// Say that there was no room to begin, in the place on the disk that the request has; whether that
/// was possible.
pub(crate) fn refuse(end: &End) -> bool {
    ["request", "request.sh"].into_iter().any(|request| {
        let opened = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(request);
        opened.is_ok_and(|file| {
            write_at_start(file.as_raw_fd(), line_of(end).as_bytes())
                && file.set_len(LENGTH as u64).is_ok()
                && std::fs::rename(request, "exit.json").is_ok()
        })
    })
}

fn line_of(end: &End) -> String {
    let used = used_by_children();
    let signal = end
        .signal
        .map_or("null".to_owned(), |signal| signal.to_string());
    format!(
        "{{\"status\":{},\"signal\":{signal},\"reason\":{},\"uptime\":{},\"user\":\"{}\",\
         \"sys\":\"{}\",\"max_rss\":{},\"outlived\":{},\"left\":{},\"lost\":{},\"by\":\"program\"}}",
        end.status,
        quoted(&end.reason),
        clock::uptime(),
        minutes(microseconds(used.ru_utime) - end.beside.user_us),
        minutes(microseconds(used.ru_stime) - end.beside.sys_us),
        end.beside.without(used.ru_maxrss) * 1024,
        end.left > 0,
        end.left,
        end.lost,
    )
}

/// Write who runs; whether there was room.
pub(crate) fn write_pid(job: Process, wrapper: Process, cgroup: &str) -> bool {
    let here = machine::here();
    let line = format!(
        "{{\"pid\":{},\"start\":{},\"boot\":{},\"host\":{},\"uptime\":{},\"ns\":{},\"wrapper\":{},\
         \"wrapper_start\":{},\"cgroup\":{}}}\n",
        job.pid,
        job.start,
        quoted(&here.boot),
        quoted(&os::host_name()),
        clock::uptime(),
        quoted(&here.pid_namespace),
        wrapper.pid,
        wrapper.start,
        quoted(cgroup),
    );
    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(PID.as_ptr(), flags, os::file_mode()) };
    os::hand_over(file);
    let written = file >= 0 && os::write_all(file, line.as_bytes());
    os::close(file);
    written
}

/// Write the moment to `heartbeat`; whether that was possible.
pub(crate) fn beat() -> bool {
    let flags =
        libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    // SAFETY: the path is a C string.
    let file = unsafe { libc::open(c"heartbeat".as_ptr(), flags, os::file_mode()) };
    os::hand_over(file);
    let written = file >= 0 && os::write_all(file, format!("{:<31}\n", clock::uptime()).as_bytes());
    os::close(file);
    written
}

/// Whether a file still has a name.
pub(crate) fn is_linked(file: RawFd) -> bool {
    // SAFETY: all zeros is a valid `stat`, and the call fills it in.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `found` is a valid place for the answer.
    let failed = unsafe { libc::fstat(file, &raw mut found) } != 0;
    !failed && found.st_nlink > 0
}

/// Where a string of a record of ours begins: what `name` is in a line of JSON without nesting.
pub(crate) fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let after = line.split_once(&format!("\"{name}\":"))?.1;
    match after.strip_prefix('"') {
        Some(text) => text.split('"').next(),
        None => after.split([',', '}']).next(),
    }
}

fn write_at_start(file: RawFd, line: &[u8]) -> bool {
    let mut whole = [b' '; LENGTH];
    whole[LENGTH - 1] = b'\n';
    let length = line.len().min(LENGTH - 1);
    whole[..length].copy_from_slice(&line[..length]);
    // SAFETY: the pointer and the length are those of an array.
    let written = unsafe { libc::pwrite(file, whole.as_ptr().cast(), LENGTH, 0) };
    usize::try_from(written) == Ok(LENGTH)
}

/// Quote text for JSON, so short that a record always fits its place.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        if quoted.len() > 600 {
            quoted.push('…');
            break;
        }
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

fn microseconds(time: libc::timeval) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_usec
}

/// A time in microseconds as the shell's `times` writes it.
fn minutes(time: i64) -> String {
    let (seconds, thousandths) = (time / 1_000_000, time / 1000 % 1000);
    format!("{}m{}.{thousandths:03}s", seconds / 60, seconds % 60)
}

/// What the job, and all that this process has waited for, used.
pub(crate) fn used_by_children() -> libc::rusage {
    // SAFETY: all zeros is a valid `rusage`, and the call fills it in.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `used` is a valid place for the answer.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used) };
    used
}

#[cfg(test)]
mod tests {
    use super::{Beside, field, microseconds, minutes, quoted};

    #[test]
    fn what_was_used_beside_a_job_is_not_its_own() {
        let beside = Beside {
            max_rss: 3000,
            others: 1600,
            ..Beside::default()
        };
        assert_eq!([3000, 3001].map(|all| beside.without(all)), [1600, 3001]);
        assert_eq!([0, 70].map(|all| Beside::default().without(all)), [0, 70]);
    }

    #[test]
    fn text_is_quoted_and_short() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
        assert!(quoted(&"\n".repeat(100_000)).len() < 700);
    }

    #[test]
    fn times_are_those_of_a_shell() {
        let of = |tv_sec, tv_usec| minutes(microseconds(libc::timeval { tv_sec, tv_usec }));
        assert_eq!(of(62, 500_999), "1m2.500s");
        assert_eq!(of(0, 9_000), "0m0.009s");
    }

    #[test]
    fn a_field_is_found_by_its_name() {
        let line = r#"{"pid":12,"boot":"a-b","cgroup":"/x"}"#;
        assert_eq!(field(line, "pid"), Some("12"));
        assert_eq!(field(line, "boot"), Some("a-b"));
        assert_eq!(field(line, "host"), None);
    }
}
