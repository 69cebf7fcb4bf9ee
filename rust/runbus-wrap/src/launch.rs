//! From a request to a running program.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use crate::cgroup::Cgroup;
use crate::os;
use crate::request::Request;

/// What only this program ignores, and no job: a limit on the size of files is an error to note, and no
/// end; neither is a job that was ended before it was released: its pipe has no reader.
pub(crate) const IGNORED: [i32; 2] = [libc::SIGXFSZ, libc::SIGPIPE];

/// How the reason begins when a job's folder cannot be entered.
pub(crate) const NO_FOLDER: &str = "cannot enter";

/// What a child could not do before it became the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    Nice = 1,
    Cpus,
    Folder,
    Program,
}

/// A child that waits to be released, and then becomes the program.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) pid: i32,
    go: RawFd,
    /// Says why the program could not be made to run; ends when it runs.
    outcome: RawFd,
}

/// Where the program's output goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) stdout: RawFd,
    pub(crate) stderr: RawFd,
}

impl Output {
    /// Open the logs, to append.
    pub(crate) fn open() -> Option<Self> {
        let mode = os::file_mode();
        let open = |path: &CStr| {
            let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC;
            // A pipe or a link that was put there does not block this program, nor lead it elsewhere.
            let flags = flags | libc::O_NOFOLLOW | libc::O_NONBLOCK;
            // SAFETY: the path is a C string.
            let file = unsafe { libc::open(path.as_ptr(), flags, mode) };
            os::hand_over(file);
            (file >= 0).then_some(file)
        };
        let (stdout, stderr) = (open(c"stdout.log")?, open(c"stderr.log")?);
        for file in [stdout, stderr] {
            // SAFETY: the descriptor is open; a job's own output blocks as any file does.
            unsafe { libc::fcntl(file, libc::F_SETFL, libc::O_APPEND) };
        }
        Some(Self { stdout, stderr })
    }
}

impl Launch {
    /// Fork a child that leads a session of its own and waits.
    ///
    /// The error is its number.
    pub(crate) fn fork(
        request: &Request,
        output: Output,
        cgroup: Option<&Cgroup>,
    ) -> Result<Self, i32> {
        let programs = request.programs();
        let script = script_words(&request.words);
        let words = pointers(&request.words);
        let environment = pointers(&request.environment);
        let [go, outcome] = os::two_pipes()?;
        // The child calls only what is allowed after a fork.
        match cgroup.map_or_else(os::fork, Cgroup::fork) {
            -1 => {
                let error = os::errno();
                for end in [go.0, go.1, outcome.0, outcome.1] {
                    os::close(end);
                }
                Err(error)
            }
            0 => {
                let child = Child {
                    request,
                    output,
                    go: go.0,
                    outcome: outcome.1,
                    programs: &programs,
                    words: &words,
                    environment: &environment,
                    script: &script,
                };
                // The parent's end: while this process held it, the parent's death would go unseen.
                os::close(go.1);
                child.become_program()
            }
            pid => {
                os::close(go.0);
                os::close(outcome.1);
                Ok(Self {
                    pid,
                    go: go.1,
                    outcome: outcome.0,
                })
            }
        }
    }

    /// Let the child continue.
    pub(crate) fn release(&self) {
        os::write_all(self.go, b"g");
        os::close(self.go);
    }

    /// Say why the program does not run, as status and reason; None if it runs.
    ///
    /// Call it once, when the child has ended; it blocks before the program runs.
    pub(crate) fn failure(&self, request: &Request) -> Option<(i32, String)> {
        let mut told = [0_u8; 5];
        // SAFETY: the pointer and the length are those of an array.
        let length = unsafe { libc::read(self.outcome, told.as_mut_ptr().cast(), told.len()) };
        os::close(self.outcome);
        if length != 5 {
            return None;
        }
        let number = i32::from_le_bytes([told[1], told[2], told[3], told[4]]);
        let text = os::error_text(number);
        let word = |at: usize| {
            let word = request
                .words
                .get(at)
                .map_or(&[][..], |word| word.to_bytes());
            String::from_utf8_lossy(word).into_owned()
        };
        Some(match told[0] {
            step if step == Step::Nice as u8 => (126, format!("cannot set its niceness: {text}")),
            step if step == Step::Cpus as u8 => (126, format!("cannot use its processors: {text}")),
            step if step == Step::Folder as u8 => {
                let folder = request.cwd.as_deref().unwrap_or_default();
                (
                    126,
                    format!("{NO_FOLDER} {}: {text}", folder.to_string_lossy()),
                )
            }
            _ if number == libc::ENOENT && !word(0).contains('/') => {
                (127, format!("command not found: {}", word(0)))
            }
            _ if number == libc::ENOENT => (127, format!("cannot run {}: {text}", word(0))),
            _ => (126, format!("cannot run {}: {text}", word(0))),
        })
    }
}

/// All that the child needs, made before the fork: after it nothing may be allocated.
struct Child<'a> {
    request: &'a Request,
    output: Output,
    go: RawFd,
    outcome: RawFd,
    programs: &'a [CString],
    words: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    script: &'a [*const libc::c_char],
}

impl Child<'_> {
    fn become_program(&self) -> ! {
        // SAFETY: each call takes numbers, or pointers to what lives as long as `self`; none allocates.
        unsafe {
            libc::setsid();
            for signal in IGNORED {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::dup2(self.output.stdout, 1);
            libc::dup2(self.output.stderr, 2);
            let mut released = 0_u8;
            while libc::read(self.go, (&raw mut released).cast(), 1) < 0
                && os::errno() == libc::EINTR
            {}
            if released == 0 {
                // Nobody knows of this process: what it would do nobody could end.
                os::exit(126);
            }
            self.take_its_share();
            if let Some(cwd) = &self.request.cwd
                && libc::chdir(cwd.as_ptr()) != 0
            {
                self.fail(Step::Folder, os::errno());
            }
            let mut why = libc::ENOENT;
            for program in self.programs {
                libc::execve(
                    program.as_ptr(),
                    self.words.as_ptr(),
                    self.environment.as_ptr(),
                );
                match os::errno() {
                    libc::ENOENT | libc::ENOTDIR => {}
                    libc::ENOEXEC => self.run_as_script(program),
                    // Another place may have one that can be run.
                    error => why = error,
                }
            }
            self.fail(Step::Program, why)
        }
    }

    /// Hold the process within its share of the machine.
    unsafe fn take_its_share(&self) {
        if self.request.nice != 0 {
            // SAFETY: the calls take numbers.
            unsafe {
                let now = libc::getpriority(libc::PRIO_PROCESS, 0);
                if libc::setpriority(libc::PRIO_PROCESS, 0, now + self.request.nice) != 0 {
                    self.fail(Step::Nice, os::errno());
                }
            }
        }
        if !self.request.cpus.is_empty() {
            // SAFETY: the set is this function's own; all zeros is the empty one.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                for cpu in &self.request.cpus {
                    libc::CPU_SET(*cpu, &mut set);
                }
                if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) != 0 {
                    self.fail(Step::Cpus, os::errno());
                }
            }
        }
    }

    /// Run a file that names no interpreter as a shell would.
    unsafe fn run_as_script(&self, program: &CStr) {
        // `script` is the words with two places before them, of which the first is `sh`.
        let words = self.script.as_ptr().cast_mut();
        // SAFETY: the second place exists, and this process is the only one that reads it.
        unsafe {
            words.add(1).write(program.as_ptr());
            libc::execve(c"/bin/sh".as_ptr(), words, self.environment.as_ptr());
        }
    }

    fn fail(&self, step: Step, error: i32) -> ! {
        let number = error.to_le_bytes();
        let told = [step as u8, number[0], number[1], number[2], number[3]];
        os::write_all(self.outcome, &told);
        os::exit(126)
    }
}

fn script_words(words: &[CString]) -> Vec<*const libc::c_char> {
    let mut pointers = vec![c"sh".as_ptr(), std::ptr::null()];
    pointers.extend(words.iter().skip(1).map(|word| word.as_ptr()));
    pointers.push(std::ptr::null());
    pointers
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let ends = std::iter::once(std::ptr::null());
    strings.iter().map(|one| one.as_ptr()).chain(ends).collect()
}
