//! The job's output: two pipes, and a process that appends to the logs what comes out of them.
//!
//! A log that the job held open itself it could empty: opening `/dev/stdout` again opens the file, and
//! cuts it. Opening a pipe again cuts nothing. So that the job does not hang on one life, the process
//! that reads is not the wrapper: each of the two continues without the other, and the wrapper starts
//! another one if its reader was killed. The reader ends when nobody can write to the pipes any more.
//!
//! A job that is over in an instant has none: its wrapper takes what it wrote. A process that reads costs
//! as much as such a job does.

use std::os::fd::RawFd;

use crate::launch::Output;
use crate::{clock, os};

/// Bytes that are read at a time: what a pipe holds.
const PIECE: usize = 64 << 10;
/// After a read of less than `FEW` bytes more may gather for so many milliseconds: a job that writes
/// a line at a time is not slowed down by a reader that wakes for each.
const FEW: usize = 16 << 10;
const NAP: i32 = 1;
/// How long the reader may take for what is in the pipes when the job has ended, in milliseconds; one
/// that is slow, as on a disk that stands still, so many times as long as one that was stopped.
const PATIENCE: i32 = 5000;
const SLOW: u32 = 12;
/// After so many milliseconds without output the memory that only waiting does not need is given back.
const QUIET: i32 = 1000;

/// A job that lives for so many seconds has a reader, and one that writes has it soon after.
const SOON: f64 = 0.05;
const AT_ONCE: f64 = 0.002;

const FLUSH: &[u8] = b"f";
/// The answer to that, and the last word of a reader whose pipes have ended: whether they have, and how
/// many bytes neither log took nor tells of.
type Answer = [u8; 9];

/// The reader, as its wrapper sees it.
#[derive(Debug)]
pub(crate) struct Relay {
    pipes: [RawFd; 2],
    logs: [RawFd; 2],
    reader: Reader,
    /// What the logs did not take, as readers have said that are gone now.
    lost: u64,
}

#[derive(Clone, Copy, Debug)]
enum Reader {
    /// It starts at this time, if the job is not over by then.
    Awaited(f64),
    /// Its pid, and a socket that is readable when it has answered or is gone.
    Alive(i32, RawFd),
    Killed,
    /// It has seen the end of both pipes.
    Done,
}

impl Relay {
    /// Make the pipes, with what the job writes to. The error is its number.
    pub(crate) fn begin(logs: Output) -> Result<(Self, Output), i32> {
        let [stdout, stderr] = os::two_pipes()?;
        let relay = Self {
            pipes: [stdout.0, stderr.0],
            logs: [logs.stdout, logs.stderr],
            reader: Reader::Awaited(clock::now() + SOON),
            lost: 0,
        };
        for pipe in relay.pipes {
            // Of this end only: the job's own blocks, as it expects.
            // SAFETY: the call takes numbers.
            unsafe { libc::fcntl(pipe, libc::F_SETFL, libc::O_NONBLOCK) };
        }
        let writing = Output {
            stdout: stdout.1,
            stderr: stderr.1,
        };
        Ok((relay, writing))
    }

    /// What is readable when there is something to do here; -1 for nothing.
    pub(crate) fn watched(&self) -> [RawFd; 2] {
        match self.reader {
            Reader::Alive(_, socket) => [socket, -1],
            // That it has begun to write changes nothing but the time.
            Reader::Awaited(at) if at - clock::now() > AT_ONCE => self.pipes,
            _ => [-1; 2],
        }
    }

    /// When there is something to do here although nothing is readable.
    pub(crate) fn due(&self) -> Option<f64> {
        match self.reader {
            Reader::Awaited(at) => Some(at),
            _ => None,
        }
    }

    /// Start a reader when it is time, and another one if the last one was killed.
    pub(crate) fn tend(&mut self) {
        if let Reader::Awaited(at) = self.reader {
            let now = clock::now();
            if now >= at {
                self.reader = Reader::Killed;
            } else if os::wait_for(self.watched(), 0).contains(&true) {
                self.reader = Reader::Awaited(at.min(now + AT_ONCE));
                // The job may just be ending: then there is nothing to be read.
                self.take(|pipe| os::bytes_in(pipe) == 0);
            }
        }
        self.revive();
    }

    /// Take what is in some of the pipes here; where both have ended no reader is needed.
    fn take(&mut self, is_meant: impl Fn(RawFd) -> bool) {
        for (pipe, log) in self.pipes.iter_mut().zip(self.logs) {
            if *pipe >= 0 && is_meant(*pipe) {
                let mut stream = Stream {
                    pipe: *pipe,
                    log,
                    lost: 0,
                };
                stream.drain(&mut vec![0; os::bytes_in(*pipe).clamp(1, PIECE)]);
                *pipe = stream.pipe;
                self.lost += stream.lost;
            }
        }
        if self.pipes == [-1; 2] {
            self.reader = Reader::Done;
        }
    }

    /// Start another reader if the last one was killed.
    fn revive(&mut self) {
        if let Reader::Alive(_, socket) = self.reader
            && os::is_readable(socket, 0)
        {
            self.bury();
        }
        if let Reader::Killed = self.reader {
            // Where that is not possible now, it is tried again with whatever happens next.
            let _ = self.start();
        }
    }

    /// Have all that the job has written so far in its logs; returns how many bytes they did not take,
    /// as far as they do not say so themselves.
    pub(crate) fn flush(&mut self) -> u64 {
        if let Reader::Awaited(_) = self.reader {
            self.reader = Reader::Killed;
            self.take(|_| true);
        }
        for _ in 0..3 {
            self.revive();
            let Reader::Alive(pid, socket) = self.reader else {
                break;
            };
            // A socket whose other end is gone must not end this process.
            // SAFETY: the pointer and the length are those of a slice.
            unsafe { libc::send(socket, FLUSH.as_ptr().cast(), 1, libc::MSG_NOSIGNAL) };
            if is_heard(pid, socket) {
                match answer(socket) {
                    Some((false, lost)) => return self.lost + lost,
                    Some((true, lost)) => {
                        self.lost += lost;
                        if os::is_readable(socket, PATIENCE) {
                            self.bury();
                        }
                        break;
                    }
                    None => self.bury(),
                }
            } else {
                // Stopped, or held by a file system that does not answer.
                // SAFETY: the call takes numbers; the process is this one's child.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                if !os::is_readable(socket, PATIENCE / 5) {
                    break;
                }
            }
        }
        self.lost
    }

    /// Take in how the reader ended; its socket says that it has.
    fn bury(&mut self) {
        if let Reader::Alive(pid, socket) = self.reader {
            if let Some((_, lost)) = answer(socket) {
                self.lost += lost;
            }
            let mut status = 0;
            // SAFETY: `status` is a valid place for the answer.
            let reaped = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } == pid;
            os::close(socket);
            let is_done = reaped && libc::WIFEXITED(status);
            self.reader = if is_done {
                Reader::Done
            } else {
                Reader::Killed
            };
        }
    }

    /// Start a reader; the error is its number.
    fn start(&mut self) -> Result<(), i32> {
        let (ours, theirs) = os::socket_pair()?;
        // One that sends no signal at its end is not among the children that `wait` tells of: those
        // are the job's.
        match os::fork_silently() {
            -1 => {
                let error = os::errno();
                os::close(ours);
                os::close(theirs);
                Err(error)
            }
            0 => serve(self.pipes, self.logs, theirs),
            pid => {
                os::close(theirs);
                self.reader = Reader::Alive(pid, ours);
                Ok(())
            }
        }
    }
}

/// Wait until a reader has answered, or is gone; whether it has.
fn is_heard(pid: i32, socket: RawFd) -> bool {
    let is_stopped = || os::stat(pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'));
    (0..SLOW)
        .take_while(|round| *round == 0 || !is_stopped())
        .any(|_| os::is_readable(socket, PATIENCE))
}

/// Return what a reader has said: whether its pipes have ended, and what it has lost; None at its end.
fn answer(socket: RawFd) -> Option<(bool, u64)> {
    let mut answer: Answer = [0; 9];
    // SAFETY: `answer` has as many bytes as may be written.
    let told = unsafe { libc::read(socket, answer.as_mut_ptr().cast(), answer.len()) };
    let [has_ended, lost @ ..] = answer;
    (told == 9).then(|| (has_ended == 1, u64::from_le_bytes(lost)))
}

/// Say to the wrapper how it stands with the pipes.
fn say(socket: RawFd, streams: &[Stream]) {
    let mut answer: Answer = [0; 9];
    answer[0] = u8::from(streams.iter().all(|stream| stream.pipe < 0));
    let lost: u64 = streams.iter().map(|stream| stream.lost).sum();
    answer[1..].copy_from_slice(&lost.to_le_bytes());
    let length = answer.len();
    // SAFETY: the pointer and the length are those of an array.
    unsafe { libc::send(socket, answer.as_ptr().cast(), length, libc::MSG_NOSIGNAL) };
}

/// Be the reader until both pipes have ended.
fn serve(pipes: [RawFd; 2], logs: [RawFd; 2], mut socket: RawFd) -> ! {
    // SAFETY: the calls take numbers, and a C string. The wrapper has blocked the signals that may be
    // meant for it; a limit on the size of files is an error to note, and no end.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_NAME, c"runbus-log".as_ptr());
    }
    // Above all the ends that write: with one of them here the pipes would never end.
    os::keep_only(&mut [pipes[0], pipes[1], logs[0], logs[1], socket]);
    let mut streams = [0, 1].map(|at| Stream {
        pipe: pipes[at],
        log: logs[at],
        lost: 0,
    });
    let mut buffer = vec![0; PIECE];
    while streams.iter().any(|stream| stream.pipe >= 0) {
        let files = [socket, streams[0].pipe, streams[1].pipe];
        if os::wait_for(files, QUIET) == [false; 3] {
            os::forget_code();
            os::wait_for(files, -1);
        }
        let is_asked = is_asked(&mut socket);
        let mut most = 0;
        for stream in &mut streams {
            most = most.max(if is_asked {
                stream.drain(&mut buffer)
            } else {
                stream.copy(&mut buffer)
            });
        }
        let has_ended = streams.iter().all(|stream| stream.pipe < 0);
        if is_asked || has_ended {
            // At the end also unasked: the question may come too late.
            say(socket, &streams);
        } else if most < FEW {
            os::wait_for([socket, -1, -1], NAP);
        }
    }
    os::exit(0)
}

/// Whether the wrapper asks for what is in the pipes; a wrapper that is gone asks nothing.
fn is_asked(socket: &mut RawFd) -> bool {
    if *socket < 0 || !os::is_readable(*socket, 0) {
        return false;
    }
    let mut asked = 0_u8;
    // SAFETY: `asked` has the one byte that may be written.
    if unsafe { libc::read(*socket, (&raw mut asked).cast(), 1) } == 1 {
        return true;
    }
    os::close(*socket);
    *socket = -1;
    false
}

/// One of the job's outputs.
struct Stream {
    /// -1 when it has ended.
    pipe: RawFd,
    log: RawFd,
    /// Bytes that the log did not take and that it does not tell of yet.
    lost: u64,
}

impl Stream {
    /// Append what is in the pipe to the log, up to a piece; returns how much that was.
    fn copy(&mut self, buffer: &mut [u8]) -> usize {
        if self.pipe < 0 {
            return 0;
        }
        // SAFETY: the pointer and the length are those of a slice.
        let length = unsafe { libc::read(self.pipe, buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(length) {
            Ok(0) => {
                self.tell_lost();
                os::close(self.pipe);
                self.pipe = -1;
                0
            }
            Ok(length) => {
                self.append(&buffer[..length]);
                length
            }
            Err(_) => 0,
        }
    }

    /// Append all that is in the pipe now, and not what somebody writes meanwhile.
    fn drain(&mut self, buffer: &mut [u8]) -> usize {
        let all = os::bytes_in(self.pipe);
        let mut left = all;
        while left > 0 {
            let most = left.min(buffer.len());
            match self.copy(&mut buffer[..most]) {
                0 => break,
                copied => left -= copied,
            }
        }
        // Once more, to see whether that was the end.
        self.copy(buffer);
        self.tell_lost();
        all
    }

    fn append(&mut self, data: &[u8]) {
        self.tell_lost();
        let written = if self.lost == 0 {
            os::write_some(self.log, data)
        } else {
            0
        };
        self.lost += (data.len() - written) as u64;
    }

    /// Say in the log how much it did not take, as soon as it takes something again.
    fn tell_lost(&mut self) {
        if self.lost > 0 {
            let line = format!("\nrunbus: {} bytes could not be written here\n", self.lost);
            if os::write_some(self.log, line.as_bytes()) > 0 {
                self.lost = 0;
            }
        }
    }
}
