//! One process that starts the wrappers of a kernel, each by a fork of itself.
//!
//! A wrapper that is executed anew costs the machine half a millisecond, and the kernel as much: it
//! stands still until the program is loaded. Here the program is loaded already, and the kernel hands
//! a job over by writing to a socket, which is this process's standard input.
//!
//! ```text
//! asked   LENGTH ID  FOLDER  FILES [NAME DATA]…  VARIABLES [NAME=VALUE]…
//! told    ID WHAT VALUE
//! ```
//!
//! Numbers have 32 bits, little-endian; `LENGTH` counts what follows it, and each text comes after its
//! own length. Of each job it is told that it has started, with the pid of its wrapper, or could not
//! be, with the number of the error; and then that its wrapper has ended, with its exit status as `wait`
//! gives it. The files are written whole, and before anything is reported. When the socket ends so does
//! this process; wrappers continue.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::{cgroup, exit, machine, os, request, run};

const SOCKET: RawFd = 0;
/// More than any request has: a length beyond it is no length.
const MOST_BYTES: usize = 256 << 20;

const STARTED: u32 = 0;
const FAILED: u32 = 1;
const ENDED: u32 = 2;

/// Start wrappers until the socket ends.
pub(crate) fn serve() -> i32 {
    let signals = run::block_signals();
    if signals < 0 {
        return exit::NO_ROOM;
    }
    // SAFETY: the descriptor is this process's standard input, and nobody else uses it here.
    let mut socket = unsafe { File::from_raw_fd(SOCKET) };
    let mut wrappers: HashMap<i32, u32> = HashMap::new();
    let mut asked = Vec::new();
    // What no wrapper need do by itself.
    let nothing = os::open_nothing();
    machine::here();
    cgroup::kills();
    loop {
        let [is_asked, _] = os::wait_for([SOCKET, signals], -1);
        if run::is_told_to_end(signals) {
            return 0;
        }
        while let Some((pid, status)) = ended_child() {
            if let Some(id) = wrappers.remove(&pid) {
                tell(id, ENDED, status);
            }
        }
        if !is_asked {
            continue;
        }
        match read_request(&mut socket, &mut asked) {
            Ok(true) => {}
            Ok(false) | Err(_) => return 0,
        }
        let Some(job) = Job::parse(&asked) else {
            return exit::USAGE;
        };
        match os::fork() {
            -1 => tell(job.id, FAILED, os::errno()),
            // Not by a return: what this process has in memory need not be tidied up.
            0 => os::exit(begin(&job, nothing, signals)),
            pid => {
                wrappers.insert(pid, job.id);
            }
        }
    }
}

/// Be the wrapper of a job; returns its exit code.
fn begin(job: &Job<'_>, nothing: RawFd, signals: RawFd) -> i32 {
    // SAFETY: the call takes nothing.
    unsafe { libc::setsid() };
    match write_files(job) {
        Ok(()) => tell(job.id, STARTED, os::own_pid()),
        Err(error) => {
            tell(job.id, FAILED, error.raw_os_error().unwrap_or(libc::EIO));
            return 0;
        }
    }
    // The kernel must see the end of the process that starts wrappers, and not that of the last one.
    os::replace(SOCKET, nothing);
    os::set_environment(job.variables.iter().map(|pair| os::c_string(pair)));
    let mut files = job.files.iter();
    let request = files.find(|(name, _)| *name == request::FILE.as_bytes());
    run::run(job.folder, request.map(|(_, data)| *data), signals)
}

/// Enter the folder of a job and write its files there.
fn write_files(job: &Job<'_>) -> io::Result<()> {
    std::env::set_current_dir(OsStr::from_bytes(job.folder))?;
    let mode = os::file_mode();
    job.files
        .iter()
        .try_for_each(|(name, data)| write_file(Path::new(OsStr::from_bytes(name)), data, mode))
}

/// Write a file as a whole: an earlier wrapper may be about to read one of that name.
pub(crate) fn write_file(place: &Path, data: &[u8], mode: libc::mode_t) -> io::Result<()> {
    match write_new(place, data, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let name = place.file_name().unwrap_or_default().as_bytes();
            let name = [b".", name, b".new"].concat();
            let new = place.with_file_name(OsStr::from_bytes(&name));
            // That of a process that was killed meanwhile.
            let _ = fs::remove_file(&new);
            write_new(&new, data, mode)?;
            fs::rename(new, place)
        }
        result => result,
    }
}

fn write_new(path: &Path, data: &[u8], mode: libc::mode_t) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
    let written = file.write_all(data).and_then(|()| {
        // In a shared home the umask does not take the group's rights.
        if mode == 0o600 {
            Ok(())
        } else {
            file.set_permissions(Permissions::from_mode(mode))
        }
    });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// A child that has ended, with its status.
pub(crate) fn ended_child() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the answer.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    (pid > 0).then_some((pid, status))
}

fn tell(id: u32, what: u32, value: i32) {
    let [id, what, value] = [id.to_le_bytes(), what.to_le_bytes(), value.to_le_bytes()];
    let told = [id, what, value].concat();
    // In one piece, also while others are telling; a kernel that is gone is told nothing.
    // SAFETY: the pointer and the length are those of a vector.
    unsafe { libc::send(SOCKET, told.as_ptr().cast(), told.len(), libc::MSG_NOSIGNAL) };
}

/// Read what follows a length; whether there was anything.
fn read_request(socket: &mut File, asked: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        result => result?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    asked.clear();
    // Read at once, not in pieces of which each is twice as long as the one before.
    asked.reserve(length);
    let read = socket.take(length as u64).read_to_end(asked)?;
    Ok(read == length)
}

/// What is asked for.
struct Job<'a> {
    id: u32,
    folder: &'a [u8],
    files: Vec<(&'a [u8], &'a [u8])>,
    variables: Vec<&'a [u8]>,
}

impl<'a> Job<'a> {
    fn parse(mut asked: &'a [u8]) -> Option<Self> {
        let rest = &mut asked;
        let id = number(rest)?;
        let folder = text(rest)?;
        let files = (0..number(rest)?)
            .map(|_| Some((text(rest)?, text(rest)?)))
            .collect::<Option<_>>()?;
        let variables = (0..number(rest)?)
            .map(|_| text(rest))
            .collect::<Option<_>>()?;
        Some(Self {
            id,
            folder,
            files,
            variables,
        })
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*number))
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::Job;

    fn asked(texts: &[&[u8]]) -> Vec<u8> {
        // One file and one variable.
        let [id, one] = [7_u32, 1].map(u32::to_le_bytes);
        let text = |text: &[u8]| {
            let length = u32::try_from(text.len()).expect("short").to_le_bytes();
            [&length[..], text].concat()
        };
        [
            id.to_vec(),
            text(texts[0]),
            one.to_vec(),
            text(texts[1]),
            text(texts[2]),
            one.to_vec(),
            text(texts[3]),
        ]
        .concat()
    }

    #[test]
    fn what_is_asked_for_is_read_and_what_is_cut_is_refused() {
        let whole = asked(&[b"/f", b"request", b"a\nb", b"A=1"]);
        let job = Job::parse(&whole).expect("a job");
        assert_eq!((job.id, job.folder), (7, &b"/f"[..]));
        assert_eq!(job.files, [(&b"request"[..], &b"a\nb"[..])]);
        assert_eq!(job.variables, [b"A=1"]);
        for end in 0..whole.len() {
            assert!(Job::parse(&whole[..end]).is_none(), "{end}");
        }
    }
}
