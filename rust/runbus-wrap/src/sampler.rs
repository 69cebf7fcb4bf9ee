//! The program that samples the machine beside a job that lasts.
//!
//! It is the wrapper's child and no process of the job: it is ended, and waited for, before anything is
//! said of how the job ended, so that what it wrote is there by then. It ends with the wrapper, too.

use std::ffi::CStr;
use std::os::fd::RawFd;

use crate::record::{self, Beside};
use crate::request::Request;
use crate::{clock, os};

/// A job that is over within so many seconds is not sampled.
const AFTER: f64 = 1.0;
/// How long a program that hangs in a driver is waited for, in milliseconds; and one that was killed
/// and does not hang, so many times as long: on a machine that is busy its end takes a while.
const PATIENCE: i32 = 200;
const DYING: u32 = 25;

/// What it is told of the job's environment: the rest is not its business, least of all secrets.
const TOLD: [&[u8]; 13] = [
    b"RUNBUS_RUN",
    b"RUNBUS_ATTEMPT",
    b"RUNBUS_SYSTEM",
    b"RUNBUS_SHARED",
    b"RUNBUS_NVML",
    b"RUNBUS_ROCM_SMI",
    b"CUDA_VISIBLE_DEVICES",
    b"ROCR_VISIBLE_DEVICES",
    b"HIP_VISIBLE_DEVICES",
    b"GROUP_RANK",
    b"SLURM_NODEID",
    b"SLURMD_NODENAME",
    b"LD_LIBRARY_PATH",
];

/// The sampler of a job.
#[derive(Debug)]
pub(crate) enum Sampler {
    /// There is none, or no more.
    None,
    /// It starts at this time, if the job is not over by then.
    Awaited(f64),
    /// Its pid, and a pipe that ends with it.
    Alive(i32, RawFd),
}

impl Sampler {
    /// That of a job that begins at a time.
    pub(crate) fn of(request: &Request, now: f64) -> Self {
        match request.sampler {
            Some(_) => Self::Awaited(now + AFTER),
            None => Self::None,
        }
    }

    /// When there is something to do here.
    pub(crate) fn due(&self) -> Option<f64> {
        match self {
            Self::Awaited(at) => Some(*at),
            _ => None,
        }
    }

    /// Start it when it is time; without room for it the job is not sampled.
    pub(crate) fn tend(&mut self, now: f64, request: &Request, job: i32) {
        if self.due().is_some_and(|at| now >= at) {
            *self = Self::start(request, job).unwrap_or(Self::None);
        }
    }

    fn start(request: &Request, job: i32) -> Option<Self> {
        let program = request.sampler.as_deref()?;
        let job = os::c_string(job.to_string().as_bytes());
        let wrapper = os::own_pid();
        let parent = os::c_string(wrapper.to_string().as_bytes());
        let words = [
            program.as_ptr(),
            job.as_ptr(),
            parent.as_ptr(),
            std::ptr::null(),
        ];
        let told = |pair: &&CStr| {
            let name = pair.to_bytes().split(|byte| *byte == b'=').next();
            name.is_some_and(|name| TOLD.contains(&name))
        };
        let variables = request.environment.iter().map(|pair| &**pair).filter(told);
        let ends = std::iter::once(std::ptr::null());
        let variables: Vec<_> = variables.map(CStr::as_ptr).chain(ends).collect();
        let (theirs, ours) = os::pipe().ok()?;
        match os::fork() {
            -1 => {
                os::close(theirs);
                os::close(ours);
                None
            }
            0 => {
                os::keep_only(&mut [ours]);
                // SAFETY: the calls take numbers, and pointers to what lives as long as this process.
                unsafe {
                    libc::setsid();
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                    // Its end is seen by the end of what it inherits.
                    libc::fcntl(ours, libc::F_SETFD, 0);
                    if libc::getppid() == wrapper {
                        libc::execve(program.as_ptr(), words.as_ptr(), variables.as_ptr());
                    }
                    libc::_exit(126)
                }
            }
            pid => {
                os::close(ours);
                Some(Self::Alive(pid, theirs))
            }
        }
    }

    /// Take in its end, if it has ended by itself: there may be others who sample.
    ///
    /// What it used is no use of the job.
    pub(crate) fn reap(&mut self) -> Option<Beside> {
        let Self::Alive(pid, pipe) = *self else {
            return None;
        };
        if !os::is_readable(pipe, 0) {
            return None;
        }
        let others = record::used_by_children();
        // SAFETY: all zeros is a valid `rusage`.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: no status is asked for, and `used` is a valid place for the answer.
        unsafe { libc::wait4(pid, std::ptr::null_mut(), 0, &raw mut used) };
        os::close(pipe);
        reap_group(pid);
        *self = Self::None;
        Some(Beside::of(&used, &others))
    }

    /// Take in that a child was waited for by somebody who waits for all.
    pub(crate) fn forget(&mut self, child: i32) {
        if let Self::Alive(pid, pipe) = *self
            && pid == child
        {
            os::close(pipe);
            *self = Self::None;
        }
    }

    /// Have it end, and with it what it writes.
    pub(crate) fn end(&mut self) -> Option<Beside> {
        if let Self::Alive(pid, pipe) = *self {
            for (signal, looks) in [(libc::SIGTERM, 1), (libc::SIGKILL, DYING)] {
                // SAFETY: the call takes numbers; the process is this one's child.
                unsafe { libc::kill(pid, signal) };
                let mut rounds = (0..looks).take_while(|round| *round == 0 || !hangs(pid));
                if rounds.any(|_| os::is_readable(pipe, PATIENCE)) {
                    return self.reap();
                }
            }
            // A driver holds it: it ends when that answers.
            os::close(pipe);
        }
        *self = Self::None;
        None
    }
}

/// Take in what a sampler had started: it lets go of the pipe a moment before its end is told.
fn reap_group(leader: i32) {
    let until = clock::now() + f64::from(PATIENCE) / 1e3;
    loop {
        // SAFETY: the call takes numbers, and a null pointer, which it allows.
        match unsafe { libc::waitpid(-leader, std::ptr::null_mut(), libc::WNOHANG) } {
            -1 => break,
            // One that has let go of the pipe goes on.
            0 if clock::now() >= until => break,
            0 => clock::sleep(0.001),
            _ => {}
        }
    }
}

/// Whether a process waits for a device, so that no signal reaches it.
fn hangs(pid: i32) -> bool {
    os::stat(pid).is_some_and(|stat| stat.state == b'D')
}
