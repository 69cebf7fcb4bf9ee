//! Everything a job has started, wherever it has gone, and how it is ended.
//!
//! Four nets, since a process can leave each of the first three: the control group, the session, the
//! descent (this wrapper is a subreaper, so an orphan becomes its child), and the variable
//! `RUNBUS_ATTEMPT` that every process of the attempt carries.

use std::collections::HashSet;

use crate::cgroup::Cgroup;
use crate::os::{self, Process};
use crate::request::MARK;

/// What is known of a job whose end is asked for.
pub(crate) struct Reach {
    pub(crate) job: Process,
    /// The wrapper, while it lives: what descends from it is the job's.
    pub(crate) wrapper: Option<Process>,
    pub(crate) mark: Vec<u8>,
    pub(crate) cgroup: Option<Cgroup>,
}

impl Reach {
    /// The processes of the job that live now, as far as they descend from the wrapper or are in the
    /// control group, which all do while it lives.
    ///
    /// This costs what the job has, and not what the machine has: a thousand jobs may end at once.
    /// What forks or ends meanwhile may be missed.
    pub(crate) fn members(&self) -> Vec<Process> {
        let own = os::own_pid();
        let wrapper = self.wrapper.filter(|wrapper| wrapper.pid == own);
        let Some(mut inside) = wrapper.and_then(|wrapper| os::descendants(wrapper.pid)) else {
            return self.all_members();
        };
        if let Some(cgroup) = &self.cgroup {
            inside.extend(cgroup.members());
        }
        inside.sort_unstable();
        inside.dedup();
        inside
            .into_iter()
            .filter_map(os::stat)
            // The reader of the job's output is the wrapper's, until all has been read.
            .filter(|stat| !stat.is_dead() && (stat.is_told || stat.parent != own))
            .map(|stat| stat.process)
            .collect()
    }

    /// The same, of all processes that can be seen from here.
    fn all_members(&self) -> Vec<Process> {
        let own = os::own_pid();
        let all = os::processes();
        let mut inside: HashSet<i32> = HashSet::new();
        if let Some(cgroup) = &self.cgroup {
            inside.extend(cgroup.members());
        }
        let there = |process: &Process| all.iter().any(|stat| stat.process == *process);
        if there(&self.job) {
            inside.insert(self.job.pid);
        }
        let wrapper = self.wrapper.filter(there).map(|wrapper| wrapper.pid);
        // The number of a session is given to no process while one is left in it: where another
        // process has the job's number, nothing is left.
        let given_again = all
            .iter()
            .any(|stat| stat.process.pid == self.job.pid && stat.process != self.job);
        for stat in &all {
            let pid = stat.process.pid;
            let in_session = stat.session == self.job.pid && !given_again;
            // The reader of the job's output is the wrapper's, until all has been read.
            let is_left = Some(stat.parent) == wrapper && stat.is_told;
            if in_session || is_left || self.is_marked(pid) {
                inside.insert(pid);
            }
        }
        let mut before = 0;
        while inside.len() != before {
            before = inside.len();
            for stat in &all {
                if inside.contains(&stat.parent) {
                    inside.insert(stat.process.pid);
                }
            }
        }
        all.iter()
            .filter(|stat| inside.contains(&stat.process.pid) && !stat.is_dead())
            .map(|stat| stat.process)
            .filter(|process| process.pid != own && Some(process.pid) != wrapper)
            .collect()
    }

    /// Ask everything to end; what is stopped continues, to hear it.
    ///
    /// What began first hears it first, whatever the numbers are: a shell that saw its child end before
    /// would take that for an end by itself.
    pub(crate) fn terminate(&self) {
        let mut members = self.all_members();
        members.sort_by_key(|process| (process.start, process.pid != self.job.pid));
        for process in members {
            os::signal(process, libc::SIGTERM);
            os::signal(process, libc::SIGCONT);
        }
    }

    /// Kill everything, once; what forks faster needs another call.
    pub(crate) fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let members = self.members();
        // What is stopped cannot fork before its turn comes.
        for process in &members {
            os::signal(*process, libc::SIGSTOP);
        }
        for process in &members {
            os::signal(*process, libc::SIGKILL);
        }
    }

    fn is_marked(&self, pid: i32) -> bool {
        if self.mark.is_empty() || self.wrapper.is_some() {
            return false;
        }
        let wanted = [MARK.as_bytes(), b"=", &self.mark].concat();
        let environment = os::read(&format!("/proc/{pid}/environ"));
        environment
            .split(|byte| *byte == 0)
            .any(|pair| pair == wanted)
    }
}
