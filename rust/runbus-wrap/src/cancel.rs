//! Asking for the end of the attempt in the current folder, whether or not its wrapper lives.

use crate::cgroup::Cgroup;
use crate::clock;
use crate::machine;
use crate::os::{self, Process};
use crate::reach::Reach;
use crate::record::field;

/// How long a wrapper may take beyond the grace before its work is done for it, in seconds.
const SLACK: f64 = 2.0;
const LOOK: f64 = 0.02;

/// End the job; returns 0 also where there was nothing to end.
pub(crate) fn cancel(folder: &[u8], grace: f64) -> i32 {
    // The grace is in the file: a wrapper on another machine finds it there, too.
    write_grace(grace);
    let Some(mut reach) = look(folder) else {
        return 0;
    };
    let asked = clock::now();
    if let Some(wrapper) = reach.wrapper.filter(|wrapper| !is_stopped(*wrapper))
        && os::signal(wrapper, libc::SIGTERM)
    {
        while clock::now() < asked + grace + SLACK && lives(wrapper) {
            clock::sleep(LOOK);
        }
        if has_ended() {
            return 0;
        }
        // One that was killed meanwhile has left its work.
        reach.wrapper = reach.wrapper.filter(|wrapper| lives(*wrapper));
    }
    if clock::now() < asked + grace {
        reach.terminate();
        while clock::now() < asked + grace && !reach.members().is_empty() {
            clock::sleep(LOOK);
        }
    }
    let until = clock::now() + SLACK;
    while !reach.members().is_empty() && clock::now() < until {
        reach.kill();
        clock::sleep(LOOK);
    }
    if let Some(cgroup) = &reach.cgroup {
        cgroup.remove();
    }
    0
}

/// Whether a process is there, and not only because its launcher has not waited for it yet.
fn lives(process: Process) -> bool {
    os::stat(process.pid).is_some_and(|stat| stat.process == process && !stat.is_dead())
}

fn is_stopped(process: Process) -> bool {
    os::stat(process.pid).is_some_and(|stat| matches!(stat.state, b'T' | b't'))
}

fn has_ended() -> bool {
    os::read("exit.json").starts_with(b"{")
}

/// Say in the file how much grace there is, at once: a wrapper that looked at a part of it would take
/// another one. Where there is no room, its name alone asks for the end.
fn write_grace(grace: f64) {
    let new = format!(".cancel-{}", os::own_pid());
    let written = std::fs::write(&new, format!("{grace}\n"));
    if written
        .and_then(|()| std::fs::rename(&new, "cancel"))
        .is_err()
    {
        let _ = std::fs::remove_file(&new);
        let _ = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open("cancel");
    }
}

/// What the records say of a job of this boot that has not ended.
fn look(folder: &[u8]) -> Option<Reach> {
    if has_ended() {
        return None;
    }
    let line = os::read("pid.json");
    let line = std::str::from_utf8(&line).ok()?;
    let number = |name| field(line, name)?.parse::<u64>().ok();
    let process = |pid, start| {
        Some(Process {
            pid: i32::try_from(number(pid)?).ok()?,
            start: number(start)?,
        })
    };
    let job = process("pid", "start").filter(|job| job.pid > 1)?;
    let here = machine::here();
    if field(line, "boot")? != here.boot {
        return None;
    }
    // In another namespace the numbers are those of others.
    if field(line, "ns").is_some_and(|ns| !ns.is_empty() && ns != here.pid_namespace) {
        return None;
    }
    Some(Reach {
        job,
        // Its number may be another's by now, and one that was killed does not hear: then only what
        // belongs to the job for certain is ended.
        wrapper: process("wrapper", "wrapper_start").filter(|one| one.pid > 1 && lives(*one)),
        mark: folder.to_vec(),
        cgroup: field(line, "cgroup").and_then(Cgroup::named),
    })
}
