//! The processes of a job, by the kernel's lists of children: what that costs, other processes do not add to.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::process::Stat;
use super::tree::Processes;
use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::row::Row;

/// More processes than this are not followed.
const MOST_PROCESSES: usize = 10_000;

/// Follows the processes of the job, also while looking through all of the machine is too dear to be done often.
pub(super) struct Children {
    proc: PathBuf,
    root: u32,
    /// When the root started, once it was seen: its number may be another process later.
    root_started: Option<u64>,
    processes: Processes,
}

impl Children {
    pub(super) fn new(proc: &Path, root: u32, processes: &Processes) -> Self {
        Self {
            proc: proc.to_owned(),
            root,
            root_started: None,
            processes: processes.clone(),
        }
    }

    fn started(&self, pid: u32) -> Option<u64> {
        let bytes = fs::read(self.proc.join(format!("{pid}/stat"))).ok()?;
        Some(Stat::parse(&bytes)?.1.started)
    }

    /// The children of a process, which each of its threads may have.
    fn of(&self, pid: u32) -> Vec<u32> {
        let threads = fs::read_dir(self.proc.join(format!("{pid}/task")));
        let threads = threads.into_iter().flatten().flatten();
        let lists = threads.filter_map(|thread| fs::read(thread.path().join("children")).ok());
        lists
            .flat_map(|list| {
                let words = list.split(u8::is_ascii_whitespace);
                let numbers = words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok());
                numbers.collect::<Vec<u32>>()
            })
            .collect()
    }
}

impl Getter for Children {
    fn name(&self) -> &'static str {
        "children"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, _row: &mut Row) -> Result<(), Trouble> {
        if self.root_started.is_none() {
            let list = self.proc.join(format!("{0}/task/{0}/children", self.root));
            if !list.exists() {
                let reason = format!("{}: not there", list.display());
                return Err(Trouble::NotSupported(reason));
            }
            self.root_started = self.started(self.root);
        }
        // Those below the first are followed until they end.
        let mut waiting = self.processes.own();
        waiting.extend(self.root_started.map(|started| (self.root, started)));
        let mut own = HashMap::new();
        while let Some((pid, started)) = waiting.pop() {
            if own.len() >= MOST_PROCESSES
                || self.processes.is_left_out(pid)
                || self.started(pid) != Some(started)
            {
                continue;
            }
            if own.insert(pid, started).is_none() {
                let children = self.of(pid).into_iter();
                waiting.extend(children.filter_map(|child| Some((child, self.started(child)?))));
            }
        }
        self.processes.follow(own);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Proc(tempfile::TempDir);

    impl Proc {
        fn process(&self, pid: u32, started: u64, threads: &[(u32, &str)]) {
            let folder = self.0.path().join(pid.to_string());
            for (thread, children) in threads {
                let task = folder.join("task").join(thread.to_string());
                fs::create_dir_all(&task).unwrap();
                fs::write(task.join("children"), children).unwrap();
            }
            let stat =
                format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {started} 1 10\n");
            fs::write(folder.join("stat"), stat).unwrap();
        }

        fn end(&self, pid: u32) {
            fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
        }
    }

    fn own(processes: &Processes) -> Vec<u32> {
        let mut own: Vec<u32> = processes.own().into_iter().map(|(pid, _)| pid).collect();
        own.sort_unstable();
        own
    }

    #[test]
    fn children_of_all_threads_are_followed_and_a_number_that_is_another_process_is_not() {
        let proc = Proc(tempfile::tempdir().unwrap());
        let mut row = Row::new("");
        let now = Moment { monotonic_ns: 0 };
        proc.process(100, 5, &[(100, "101 "), (107, "102 103 ")]);
        for pid in 101..=103 {
            proc.process(pid, 6, &[(pid, "")]);
        }
        proc.process(200, 7, &[(200, "201 ")]);
        let processes = Processes::default();
        let mut children = Children::new(proc.0.path(), 100, &processes);
        children.read(now, &mut row).unwrap();
        assert_eq!(own(&processes), [100, 101, 102, 103]);
        // One has ended, its number is another's; one whose parent has ended stays, with what it starts.
        proc.end(101);
        proc.process(101, 9, &[(101, "")]);
        proc.process(100, 5, &[(100, "")]);
        proc.process(103, 6, &[(103, "104 ")]);
        proc.process(104, 8, &[(104, "")]);
        children.read(now, &mut row).unwrap();
        assert_eq!(own(&processes), [100, 102, 103, 104]);
        proc.end(100);
        children.read(now, &mut row).unwrap();
        assert_eq!(own(&processes), [102, 103, 104]);
        assert!(row.is_empty());
    }

    #[test]
    fn a_kernel_without_lists_of_children_is_not_asked_again() {
        let proc = Proc(tempfile::tempdir().unwrap());
        fs::create_dir(proc.0.path().join("100")).unwrap();
        proc.process(100, 5, &[]);
        let mut children = Children::new(proc.0.path(), 100, &Processes::default());
        let read = children.read(Moment { monotonic_ns: 0 }, &mut Row::new(""));
        assert!(matches!(read, Err(Trouble::NotSupported(_))), "{read:?}");
    }
}
