//! Makes the folders of jobs and starts their wrappers, as a shell asks: each is a fork of this process.
//!
//! A shell at the end of a connection pays for each program that it starts, more than a short job costs.
//! It starts this one, once, and starts none for a job; or, where it has no pipe to it, this one for each.
//!
//! ```text
//! asked   COUNT  FOLDER OTHER  FILES [PATH DATA]…  [NAME=VALUE]…
//! told    started | exists | busy REASON | failed REASON
//! ```
//!
//! Each text on standard input ends with a NUL; numbers are in digits, and `COUNT` is that of the texts
//! after it. Each answer on standard output is a line. `FOLDER` is made, unless it is there: then the job
//! was submitted before, and nothing is done. `OTHER` is made as well. A `PATH` is in `FOLDER`, or is an
//! absolute one. Where there are not enough files, processes or memory right now the machine is busy.
//! The variables come on top of those of this process. When standard input ends, so does
//! this process; wrappers continue.

use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::{cgroup, clock, exit, launcher, machine, os, request, run};

const STDIN: RawFd = 0;
const STDOUT: RawFd = 1;
const STDERR: RawFd = 2;
/// When it was submitted, for those who wait for a wrapper that never begins.
const SUBMITTED: &[u8] = b"submitted";
const PIECE: usize = 64 << 10;
/// For nobody but who submits.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: libc::mode_t = 0o600;

/// Start wrappers until standard input ends.
pub(crate) fn serve() -> i32 {
    let signals = run::block_signals();
    if signals < 0 {
        return exit::NO_ROOM;
    }
    // SAFETY: the descriptor is this process's standard input, and nobody else uses it here.
    let mut input = unsafe { File::from_raw_fd(STDIN) };
    let mut asked = Asked::default();
    let nothing = os::open_nothing();
    // What no wrapper need do by itself.
    machine::here();
    cgroup::kills();
    loop {
        let [is_asked, _] = os::wait_for([STDIN, signals], -1);
        if run::is_told_to_end(signals) {
            return 0;
        }
        while launcher::ended_child().is_some() {}
        if !is_asked {
            continue;
        }
        match asked.read(&mut input) {
            Ok(true) => {}
            Ok(false) | Err(_) => return 0,
        }
        loop {
            let Ok(texts) = asked.texts() else {
                return exit::USAGE;
            };
            let Some(texts) = texts else { break };
            let Some(job) = Job::parse(&texts) else {
                return exit::USAGE;
            };
            let answer = match job.submit() {
                Submitted::Wrapper => os::exit(job.begin(nothing, signals)),
                Submitted::Started => "started".to_owned(),
                Submitted::Exists => "exists".to_owned(),
                Submitted::Not(why) if os::is_scarce(why.error) => format!("busy {}", why.line()),
                Submitted::Not(why) => format!("failed {}", why.line()),
            };
            if !os::write_all(STDOUT, format!("{answer}\n").as_bytes()) {
                return 0;
            }
            asked.forget();
        }
    }
}

/// What has come in, as far as it is not answered.
#[derive(Debug, Default)]
struct Asked {
    data: Vec<u8>,
    /// Where the texts end.
    ends: Vec<usize>,
}

impl Asked {
    /// Take in what is there; whether there was anything.
    fn read(&mut self, input: &mut impl Read) -> io::Result<bool> {
        let known = self.data.len();
        self.data.resize(known + PIECE, 0);
        let read = input.read(&mut self.data[known..]);
        self.data.truncate(known + *read.as_ref().unwrap_or(&0));
        self.find_ends(known);
        Ok(read? > 0)
    }

    fn find_ends(&mut self, from: usize) {
        let new = self.data[from..].iter().enumerate();
        self.ends
            .extend(new.filter(|(_, byte)| **byte == 0).map(|(at, _)| from + at));
    }

    /// How many texts there are of what is asked first, its count included, if that is said.
    fn count(&self) -> Result<Option<usize>, ()> {
        let Some(end) = self.ends.first() else {
            return Ok(None);
        };
        let count: Option<usize> = digits(&self.data[..*end]);
        count
            .and_then(|count| count.checked_add(1))
            .map(Some)
            .ok_or(())
    }

    /// The texts of what is asked first; None if they are not all there, an error if it is none of ours.
    fn texts(&self) -> Result<Option<Vec<&[u8]>>, ()> {
        let Some(count) = self.count()? else {
            return Ok(None);
        };
        let Some(ends) = self.ends.get(..count) else {
            return Ok(None);
        };
        let pairs = ends.windows(2);
        Ok(Some(
            pairs.map(|pair| &self.data[pair[0] + 1..pair[1]]).collect(),
        ))
    }

    /// Be done with what is asked first.
    fn forget(&mut self) {
        if let Ok(Some(count)) = self.count()
            && let Some(last) = self.ends.get(count - 1)
        {
            self.data.drain(..=*last);
            self.ends.clear();
            self.find_ends(0);
        }
    }
}

/// What became of a job.
enum Submitted {
    /// This process is its wrapper.
    Wrapper,
    Started,
    Exists,
    Not(Failure),
}

/// What could not be done, and the number of the error.
pub(crate) struct Failure {
    what: String,
    error: i32,
}

impl Failure {
    fn of(what: &str, path: &Path, error: &io::Error) -> Self {
        Self {
            what: format!("cannot {what} {}", path.display()),
            error: error.raw_os_error().unwrap_or(0),
        }
    }

    /// The reason on one line.
    pub(crate) fn line(&self) -> String {
        format!("{}: {}", self.what, os::error_text(self.error)).replace('\n', " ")
    }
}

/// Make a folder that must not be there, and others that may, with all above them.
pub(crate) fn make(folder: &[u8], others: &[&[u8]]) -> Result<(), Failure> {
    let folder = path_of(folder);
    let above = folder.parent().unwrap_or(folder);
    let others = others.iter().map(|other| path_of(other));
    let recursive = std::iter::once(above)
        .chain(others)
        .map(|path| (path, true));
    for (path, is_recursive) in recursive.chain([(folder, false)]) {
        let mut builder = DirBuilder::new();
        builder.recursive(is_recursive).mode(FOLDER_MODE);
        let made = builder.create(path);
        made.map_err(|error| Failure::of("make", path, &error))?;
    }
    Ok(())
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn digits<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What is asked for.
struct Job<'a> {
    folder: &'a [u8],
    other: &'a [u8],
    files: Vec<(&'a [u8], &'a [u8])>,
    variables: &'a [&'a [u8]],
}

impl<'a> Job<'a> {
    fn parse(texts: &'a [&'a [u8]]) -> Option<Self> {
        let [folder, other, count, rest @ ..] = texts else {
            return None;
        };
        let count: usize = digits(count)?;
        let (files, variables) = rest.split_at_checked(count.checked_mul(2)?)?;
        Some(Self {
            folder,
            other,
            files: files.chunks(2).map(|pair| (pair[0], pair[1])).collect(),
            variables,
        })
    }

    /// Make its folder, write its files there and fork its wrapper; without that nothing is left of it.
    fn submit(&self) -> Submitted {
        let folder = path_of(self.folder);
        let failure = match make(self.folder, &[self.other]) {
            // Once it is there: the job was submitted before.
            Err(_) if folder.is_dir() => return Submitted::Exists,
            Err(failure) => return Submitted::Not(failure),
            Ok(()) => match self.write_files() {
                Err(failure) => failure,
                Ok(()) => match os::fork() {
                    0 => return Submitted::Wrapper,
                    -1 => Failure {
                        what: "cannot start its wrapper".to_owned(),
                        error: os::errno(),
                    },
                    _ => return Submitted::Started,
                },
            },
        };
        for name in self.files.iter().map(|(name, _)| *name).chain([SUBMITTED]) {
            if !name.starts_with(b"/") {
                let _ = fs::remove_file(folder.join(path_of(name)));
            }
        }
        let _ = fs::remove_dir(folder);
        Submitted::Not(failure)
    }

    fn write_files(&self) -> Result<(), Failure> {
        let submitted = format!("{} {}\n", machine::here().boot, clock::uptime());
        let first = (SUBMITTED, submitted.as_bytes());
        let folder = path_of(self.folder);
        for (name, data) in std::iter::once(&first).chain(&self.files) {
            let path = folder.join(path_of(name));
            launcher::write_file(&path, data, FILE_MODE)
                .map_err(|error| Failure::of("write", &path, &error))?;
        }
        Ok(())
    }

    /// Be its wrapper; returns its exit code.
    fn begin(&self, nothing: RawFd, signals: RawFd) -> i32 {
        // SAFETY: the call takes nothing.
        unsafe { libc::setsid() };
        for file in [STDIN, STDOUT, STDERR] {
            os::replace(file, nothing);
        }
        if std::env::set_current_dir(path_of(self.folder)).is_err() {
            return exit::NO_FOLDER;
        }
        if !self.variables.is_empty() {
            os::set_environment(self.environment().into_iter());
        }
        let mut files = self.files.iter();
        let request = files.find(|(name, _)| *name == request::FILE.as_bytes());
        run::run(self.folder, request.map(|(_, data)| *data), signals)
    }

    /// The variables of this process, with those of the job on top.
    fn environment(&self) -> Vec<CString> {
        let name = |pair: &'_ [u8]| pair.split(|byte| *byte == b'=').next().map(<[u8]>::to_vec);
        let own: Vec<_> = self.variables.iter().map(|pair| name(pair)).collect();
        let mut all = os::environment();
        all.retain(|pair| !own.contains(&name(pair.as_bytes())));
        all.extend(self.variables.iter().map(|pair| os::c_string(pair)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Job};

    const WHOLE: &[u8] = b"7\0/f\0/o\x001\0request\0a\nb\0A=1\0B=\0";

    #[test]
    fn what_is_asked_for_is_read_piece_by_piece_and_one_after_the_other() {
        let mut asked = Asked::default();
        for byte in [WHOLE, WHOLE].concat() {
            assert!(matches!(asked.read(&mut &[byte][..]), Ok(true)));
        }
        for _ in 0..2 {
            {
                let texts = asked.texts().expect("ours").expect("whole");
                let job = Job::parse(&texts).expect("a job");
                assert_eq!((job.folder, job.other), (&b"/f"[..], &b"/o"[..]));
                assert_eq!(job.files, [(&b"request"[..], &b"a\nb"[..])]);
                assert_eq!(job.variables, [&b"A=1"[..], b"B="]);
            }
            asked.forget();
        }
        assert_eq!(asked.texts(), Ok(None));
        assert!(matches!(asked.read(&mut &b""[..]), Ok(false)));
    }

    #[test]
    fn what_is_cut_is_waited_for_and_what_is_none_of_ours_refused() {
        for end in 0..WHOLE.len() {
            let mut asked = Asked::default();
            let _ = asked.read(&mut &WHOLE[..end]);
            assert_eq!(asked.texts(), Ok(None), "{end}");
        }
        for other in [&b"x\0"[..], b"\0", b"-1\0", b"18446744073709551615\0"] {
            let mut asked = Asked::default();
            let _ = asked.read(&mut &other[..]);
            assert_eq!(asked.texts(), Err(()), "{other:?}");
        }
        for texts in [&[&b"/f"[..], b"/o"][..], &[b"/f", b"/o", b"1", b"name"]] {
            assert!(Job::parse(texts).is_none(), "{texts:?}");
        }
    }
}
