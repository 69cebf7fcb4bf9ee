//! Starting programs away from what this process is part of, and from the thread that asks for it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::os;

const NOWHERE: &str = "/dev/null";

/// What Python ignores or the terminal sends must not be inherited.
const DEFAULT_SIGNALS: [Signal; 6] = [
    Signal::SIGCHLD,
    Signal::SIGINT,
    Signal::SIGPIPE,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGXFSZ,
];

/// A program to be started in a session of its own; its output goes nowhere.
#[derive(Debug)]
pub struct Program {
    /// Its path, or its name in PATH, and its arguments.
    pub words: Vec<CString>,
    /// Its variables, each `NAME=value`.
    pub variables: Vec<CString>,
    /// What it reads; nothing if `None`. Closed once it has been started.
    pub stdin: Option<OwnedFd>,
}

/// A program that a thread of its own starts: the thread that does stands still until it is loaded.
#[derive(Debug)]
pub struct Starting {
    process: Arc<OnceLock<nix::Result<Pid>>>,
}

impl Starting {
    /// Begin; where no thread can be started this returns when the program is loaded.
    ///
    /// Dropped, it goes on. If it `reaps`, the thread waits for the end of the process, too: nobody
    /// else may then.
    #[must_use]
    pub fn begin(program: Program, reaps: bool) -> Self {
        let process = Arc::new(OnceLock::new());
        let program = Arc::new(program);
        let (theirs, theirs_too) = (Arc::clone(&process), Arc::clone(&program));
        let start = move || start(theirs_too, &theirs, reaps);
        let thread = thread::Builder::new().stack_size(64 << 10);
        if os::without_signals(|| thread.spawn(start)).is_err() {
            self::start(program, &process, reaps);
        }
        Self { process }
    }

    /// Wait until the program is loaded, and return its process.
    ///
    /// # Errors
    /// When it cannot be run, or there are not enough processes.
    pub fn wait(&self) -> io::Result<i32> {
        Ok((*self.process.wait())?.as_raw())
    }
}

fn start(program: Arc<Program>, process: &OnceLock<nix::Result<Pid>>, reaps: bool) {
    let started = *process.get_or_init(|| spawn(&program));
    // Those who write to what it reads hear of it if there is no such process.
    drop(program);
    if let (Ok(pid), true) = (started, reaps) {
        // Where SIGCHLD is ignored it goes unseen.
        let _ = waitpid(pid, None);
    }
}

/// Start a program and return its process.
fn spawn(program: &Program) -> nix::Result<Pid> {
    let Some(path) = program.words.first() else {
        return Err(Errno::EINVAL);
    };
    let mut actions = PosixSpawnFileActions::init()?;
    match &program.stdin {
        Some(stdin) => actions.add_dup2(stdin.as_raw_fd(), 0)?,
        None => actions.add_open(0, NOWHERE, OFlag::O_RDONLY, Mode::empty())?,
    }
    actions.add_open(1, NOWHERE, OFlag::O_WRONLY, Mode::empty())?;
    actions.add_dup2(1, 2)?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&DEFAULT_SIGNALS.into_iter().collect())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::from_bits_retain(libc::POSIX_SPAWN_SETSID.into()),
    )?;
    posix_spawnp(
        path.as_c_str(),
        &actions,
        &attributes,
        &program.words,
        &program.variables,
    )
}
