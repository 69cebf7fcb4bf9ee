//! The life of one attempt: claim, launch, one `poll` until the end, record.

use std::cell::Cell;
use std::os::fd::RawFd;

use crate::cgroup::{self, Cgroup};
use crate::launch::{self, Launch, Output};
use crate::os::{self, Process};
use crate::reach::Reach;
use crate::record::{self, Beside, End};
use crate::relay::Relay;
use crate::request::Request;
use crate::sampler::Sampler;
use crate::{clock, exit};

/// The grace of an end that nobody gave one for, in seconds.
pub(crate) const GRACE: f64 = 10.0;
/// The reason of an end that was asked for before it came.
const CANCELLED: &str = "cancelled";
/// The reason of an end that the wrapper itself was told of.
const TOLD: &str = "its wrapper was told to end (SIGTERM)";
/// The reason of an end that did not come.
const UNKILLABLE: &str = "it could not be killed: it is another user's, or waits for a device";
/// How often the folder is looked at: whether it is there, and whether an end was asked for in it.
const LOOK: f64 = 5.0;
/// How long what was killed may take to be gone, and how often it is killed again meanwhile.
const KILLING: f64 = 5.0;
const AGAIN: f64 = 0.02;
/// How long what a job has started may take to end after it before it counts as left behind: helpers
/// that end when their parent is gone, as those of Python's `multiprocessing`, need a moment.
const LEAVING: f64 = 0.1;
/// How long a job that this machine has no room for may wait.
const PATIENCE: f64 = 60.0;

/// Run the attempt in the current folder; returns when it has ended, with the wrapper's exit code.
///
/// `signals` is what `block_signals` returned, here or in the process that this is a fork of. Who has
/// written the request there may give it, so that it is not read again.
pub(crate) fn run(folder: &[u8], request: Option<&[u8]>, signals: RawFd) -> i32 {
    let record = match record::claim() {
        Ok(record) => record,
        Err(code) => return code,
    };
    if !record::keep_room(record) {
        let end = End::failed(126, "no space for its records");
        if !record::refuse(&end) {
            record::fill_in(record, &end);
        }
        return exit::NO_ROOM;
    }
    let end = if os::exists("cancel") {
        never_begun()
    } else {
        match Attempt::begin(folder, request, signals, record) {
            Ok(attempt) => attempt.finish(),
            Err(end) => end,
        }
    };
    record::fill_in(record, &end);
    0
}

/// How a job ended whose end was asked for before it began.
fn never_begun() -> End {
    let why = if os::exists("cancel") {
        CANCELLED
    } else {
        TOLD
    };
    End {
        status: 128 + libc::SIGTERM,
        signal: Some(libc::SIGTERM),
        reason: why.to_owned(),
        ..End::default()
    }
}

/// Try something that fails with the number of an error: again, for a minute, while there are not
/// enough files, processes or memory for it, unless the end is asked for meanwhile.
fn patiently<T>(signals: RawFd, mut work: impl FnMut() -> Result<T, i32>) -> Result<T, End> {
    let until = clock::now() + PATIENCE;
    let mut pause = 50;
    loop {
        let error = match work() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if !os::is_scarce(error) || clock::now() >= until {
            let why = format!("cannot start: {}", os::error_text(error));
            return Err(End::failed(126, why));
        }
        if os::exists("cancel") || (os::is_readable(signals, pause) && is_told_to_end(signals)) {
            return Err(never_begun());
        }
        pause = (2 * pause).min(1000);
    }
}

/// Whether TERM is among the signals that came; the others are for the launcher.
pub(crate) fn is_told_to_end(signals: RawFd) -> bool {
    // SAFETY: all zeros is a valid value, and the call fills it in.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    let mut is_told = false;
    // SAFETY: `info` has as many bytes as may be written.
    while unsafe { libc::read(signals, (&raw mut info).cast(), size) } > 0 {
        is_told |= i32::try_from(info.ssi_signo) == Ok(libc::SIGTERM);
    }
    is_told
}

/// Whether this machine has what following a job needs.
pub(crate) fn is_possible() -> bool {
    block_signals() >= 0 && os::own().start > 0
}

/// Hold back the signals that this program hears through a descriptor, and return that: of which
/// process it tells is said by who reads it.
pub(crate) fn block_signals() -> RawFd {
    // SAFETY: the set is this function's own, and every call takes it or numbers.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in [
            libc::SIGCHLD,
            libc::SIGTERM,
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
            libc::SIGUSR1,
            libc::SIGUSR2,
        ] {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        // What is ignored here a job would ignore, too. Where SIGCHLD is, a child leaves no status.
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        for signal in launch::IGNORED {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    }
}

/// Why a job is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Asked,
    Told,
    Late,
    FolderGone,
    Leftovers,
}

impl Why {
    /// What the record says of it; None if what the job did then is all there is to say.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Late => Some("time limit"),
            Self::Told => Some(TOLD),
            Self::FolderGone => Some("its folder was removed"),
            Self::Asked | Self::Leftovers => None,
        }
    }
}

/// How far an end has come.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Not,
    /// TERM was sent; KILL follows at this time.
    Asked(Why, f64),
    /// KILL was sent; what is left at this time is left.
    Killed(Why, f64),
}

struct Attempt {
    request: Request,
    launch: Launch,
    reach: Reach,
    signals: RawFd,
    record: RawFd,
    output: Output,
    /// What reads the job's output.
    relay: Relay,
    /// What samples the machine while the job runs, and what it has used.
    sampler: Sampler,
    beside: Option<Beside>,
    kills: u64,
    limit: Option<(f64, f64)>,
    beat: Option<f64>,
    next_beat: f64,
    next_look: f64,
    ending: Ending,
    status: Option<i32>,
    /// When what is left of the job counts as left behind; None while it runs.
    left_at: Option<f64>,
    failure: Option<(i32, String)>,
    /// When the memory that only waiting does not need is given back; None once that is done, until
    /// this process wakes by itself.
    forget_at: Cell<Option<f64>>,
}

impl Attempt {
    fn begin(
        folder: &[u8],
        request: Option<&[u8]>,
        signals: RawFd,
        record: RawFd,
    ) -> Result<Self, End> {
        let request = Request::read(folder, request).map_err(|reason| End::failed(126, reason))?;
        let output = Output::open().ok_or_else(|| End::failed(126, "cannot open the log files"))?;
        // SAFETY: the call takes numbers. Orphans of the job become this process's children.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        let own = os::own();
        let cgroup = Cgroup::make(own);
        let kills = cgroup::kills();
        let (relay, writing) = patiently(signals, || Relay::begin(output))?;
        let launch = patiently(signals, || Launch::fork(&request, writing, cgroup.as_ref()))?;
        os::close(writing.stdout);
        os::close(writing.stderr);
        let job = os::stat(launch.pid).map_or(
            Process {
                pid: launch.pid,
                start: 0,
            },
            |stat| stat.process,
        );
        let path = cgroup.as_ref().map_or("", Cgroup::path).to_owned();
        let (limit, beat) = (read_pair("limit"), read_pair("beat").map(|pair| pair.0));
        let now = clock::now();
        let mut attempt = Self {
            sampler: Sampler::of(&request, now),
            beside: None,
            request,
            launch,
            reach: Reach {
                job,
                wrapper: Some(own),
                mark: folder.to_vec(),
                cgroup,
            },
            signals,
            record,
            output,
            relay,
            kills,
            limit: limit.map(|(seconds, grace)| (now + seconds, grace)),
            beat,
            next_beat: now,
            next_look: now + LOOK,
            ending: Ending::Not,
            status: None,
            left_at: None,
            failure: None,
            forget_at: Cell::new(Some(now + 1.0)),
        };
        if record::write_pid(job, own, &path) {
            // After the record: a process that asks for the end makes the file and then looks for the pid.
            if os::exists("cancel") {
                attempt.ask(Why::Asked, cancel_grace(), now);
            }
            attempt.launch.release();
        } else {
            attempt.failure = Some((126, "no space for its records".to_owned()));
            os::signal(job, libc::SIGKILL);
        }
        Ok(attempt)
    }

    /// Follow the job to its end.
    fn finish(mut self) -> End {
        loop {
            let now = clock::now();
            self.keep_time(now);
            if self.is_over(now) {
                break;
            }
            self.wait(now);
            self.hear();
            self.reap();
            let is_waited_for = self.left_at.is_some() || !matches!(self.ending, Ending::Not);
            if self.status.is_none() || is_waited_for {
                self.relay.tend();
            }
        }
        self.end()
    }

    /// Do what is due at a time.
    fn keep_time(&mut self, now: f64) {
        if let Some(beat) = self.beat
            && now >= self.next_beat
        {
            record::beat();
            self.next_beat = now + beat.max(0.01);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            if !record::is_linked(self.record) {
                self.ask(Why::FolderGone, GRACE, now);
            } else if os::exists("cancel") {
                self.ask(Why::Asked, cancel_grace(), now);
            }
        }
        if let Some((at, grace)) = self.limit
            && now >= at
            && self.status.is_none()
        {
            self.limit = None;
            let _ = std::fs::File::create("expired");
            self.ask(Why::Late, grace, now);
        }
        if self.status.is_none() {
            self.sampler.tend(now, &self.request, self.launch.pid);
        }
        match self.ending {
            Ending::Asked(why, at) if now >= at => {
                self.reach.kill();
                self.ending = Ending::Killed(why, now + KILLING);
            }
            Ending::Killed(..) => self.reach.kill(),
            _ => {}
        }
    }

    /// Begin to end the job, unless that has begun.
    fn ask(&mut self, why: Why, grace: f64, now: f64) {
        match self.ending {
            Ending::Not => {}
            // A shorter grace counts, from now on.
            Ending::Asked(first, at) if now + grace < at => {
                self.ending = Ending::Asked(first, now + grace);
                return;
            }
            _ => return,
        }
        if grace > 0.0 {
            self.reach.terminate();
        }
        self.ending = Ending::Asked(why, now + grace);
    }

    /// Whether the job has ended, and with it what had to end.
    fn is_over(&mut self, now: f64) -> bool {
        if self.status.is_none() {
            return matches!(self.ending, Ending::Killed(_, until) if now >= until);
        }
        match self.ending {
            Ending::Not if has_children() => {
                let left_at = *self.left_at.get_or_insert(now + LEAVING);
                let is_left = now >= left_at;
                if is_left && self.request.kills_leftovers {
                    self.ask(Why::Leftovers, GRACE, now);
                    return false;
                }
                is_left
            }
            Ending::Not => true,
            Ending::Asked(..) => !has_children() && self.reach.members().is_empty(),
            Ending::Killed(_, until) => {
                now >= until || (!has_children() && self.reach.members().is_empty())
            }
        }
    }

    /// Sleep until something happens or is due.
    fn wait(&self, now: f64) {
        let mut due = self.next_look;
        if self.beat.is_some() {
            due = due.min(self.next_beat);
        }
        if let Some((at, _)) = self.limit {
            due = due.min(at);
        }
        for at in [self.relay.due(), self.sampler.due()].into_iter().flatten() {
            due = due.min(at);
        }
        match self.ending {
            Ending::Not => due = due.min(self.left_at.unwrap_or(due)),
            Ending::Asked(_, at) => {
                due = due.min(at);
                if self.status.is_some() {
                    // What is not this process's child ends without a word.
                    due = due.min(now + AGAIN);
                }
            }
            Ending::Killed(..) => due = due.min(now + AGAIN),
        }
        if let Some(at) = self.forget_at.get() {
            // Not at once: a short job is not worth it.
            if now >= at {
                os::forget_code();
                self.forget_at.set(None);
            } else {
                due = due.min(at);
            }
        }
        let [reader, other] = self.relay.watched();
        #[expect(clippy::cast_possible_truncation, reason = "at most LOOK seconds")]
        let milliseconds = ((due - now).clamp(0.0, LOOK) * 1e3).ceil() as i32;
        let heard = os::wait_for([self.signals, reader, other], milliseconds);
        if !heard.contains(&true) && self.forget_at.get().is_none() {
            self.forget_at.set(Some(now));
        }
    }

    /// Take in the signals that came.
    fn hear(&mut self) {
        if is_told_to_end(self.signals) {
            let (why, grace) = if os::exists("cancel") {
                (Why::Asked, cancel_grace())
            } else {
                (Why::Told, GRACE)
            };
            self.ask(why, grace, clock::now());
        }
    }

    /// Take in every child that has ended: the job, the orphans it left, and what samples beside it.
    fn reap(&mut self) {
        loop {
            // Before it is one of the others.
            self.beside = self.sampler.reap().or(self.beside);
            let mut status = 0;
            // SAFETY: `status` is a valid place for the answer.
            match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
                0 | -1 => break,
                pid if pid == self.launch.pid => {
                    self.status = Some(status);
                    let failure = self.launch.failure(&self.request);
                    self.failure = self.failure.take().or(failure);
                    // Before anybody asks what the job has left behind.
                    self.beside = self.sampler.end().or(self.beside);
                }
                pid => self.sampler.forget(pid),
            }
        }
    }

    /// Say how the job ended.
    fn end(mut self) -> End {
        let lost = self.relay.flush();
        self.beside = self.sampler.end().or(self.beside);
        self.reap();
        let left = if has_children() {
            // What forks all the time may be in none of the numbers that were looked at.
            self.reach.members().len().max(1)
        } else {
            0
        };
        let (status, signal) = match self.status {
            Some(status) if libc::WIFSIGNALED(status) => {
                let signal = libc::WTERMSIG(status);
                (128 + signal, Some(signal))
            }
            Some(status) => (libc::WEXITSTATUS(status), None),
            // It was asked to end, and killed again and again: it is still there.
            None => (128 + libc::SIGKILL, None),
        };
        let beside = self.beside.unwrap_or_default();
        let mut end = End {
            status,
            signal,
            reason: String::new(),
            left,
            lost,
            beside,
        };
        if self.status.is_none() {
            UNKILLABLE.clone_into(&mut end.reason);
        }
        if let Some((status, reason)) = self.failure.take() {
            os::write_all(self.output.stderr, format!("{reason}\n").as_bytes());
            if reason.starts_with(launch::NO_FOLDER) && !self.request.advice.is_empty() {
                os::write_all(
                    self.output.stderr,
                    &[&self.request.advice[..], b"\n"].concat(),
                );
            }
            end = End {
                left,
                lost,
                beside,
                ..End::failed(status, reason)
            };
        } else if status != 0 && self.was_out_of_memory() {
            end.reason = if signal == Some(libc::SIGKILL) {
                "out of memory".to_owned()
            } else {
                format!(
                    "exit code {status}, after the kernel killed a process that ran out of memory"
                )
            };
        }
        if let Ending::Asked(why, _) | Ending::Killed(why, _) = self.ending
            && self.status.is_some()
            && let Some(reason) = why.reason()
        {
            reason.clone_into(&mut end.reason);
        }
        if end.reason.is_empty() && os::exists("cancel") {
            CANCELLED.clone_into(&mut end.reason);
        }
        if let Some(cgroup) = &self.reach.cgroup {
            cgroup.remove();
        }
        end
    }

    fn was_out_of_memory(&self) -> bool {
        let inside = self.reach.cgroup.as_ref().and_then(Cgroup::kills);
        inside.is_some_and(|kills| kills > 0) || cgroup::kills() > self.kills
    }
}

/// The grace that the `cancel` file gives.
fn cancel_grace() -> f64 {
    clock::seconds(&os::read("cancel")).unwrap_or(GRACE)
}

/// Read one or two numbers from a file; None if it is not there or holds none.
fn read_pair(path: &str) -> Option<(f64, f64)> {
    let text = os::read(path);
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let first = clock::seconds(words.next()?)?;
    Some((
        first,
        words.next().and_then(clock::seconds).unwrap_or(GRACE),
    ))
}

fn has_children() -> bool {
    // SAFETY: all zeros is a valid `siginfo_t`, and the call fills it in.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a valid place for the answer.
    unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) == 0 }
}
