//! The processes of a job, and those that use most of the machine.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::namespace;
use super::process::Stat;
use crate::mutex::lock;
use crate::os;
use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::Held;
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float};

/// More processes than this are not looked at, but counted; those of the job are looked at first.
const MOST_PROCESSES: usize = 10_000;
/// Of the job's own processes, files are kept open for so many.
const MOST_HELD: usize = 64;

/// A process that uses much.
#[derive(Clone, Debug, PartialEq)]
pub struct Heavy {
    /// Its number.
    pub pid: u32,
    /// Its name, as the kernel has it: 15 bytes.
    pub name: String,
    /// Of one processor, in percent, since the look before; 0 at the first.
    pub cpu: f64,
    /// Bytes of memory.
    pub resident: u64,
    /// Whether it is of the job.
    pub is_own: bool,
}

/// What getters of processes know together.
#[derive(Default)]
pub(super) struct Known {
    /// The processes of the job, with when they started.
    own: HashMap<u32, u64>,
    heavy: Vec<Heavy>,
    /// Whether the numbers are those that drivers use: in a container others are.
    are_hosts: bool,
    /// Whether those of the job are found by the lists of children.
    are_followed: bool,
    /// One that is none of the job, with all that it starts.
    left_out: Option<u32>,
}

/// Shared by those who look for processes and those who read them.
#[derive(Clone, Default)]
pub struct Processes(Arc<Mutex<Known>>);

impl Processes {
    /// Those that use most processor time, and most memory, at the last look.
    #[must_use]
    pub fn heaviest(&self) -> Vec<Heavy> {
        lock(&self.0).heavy.clone()
    }

    /// Whether a process is of the job.
    #[must_use]
    pub fn is_own(&self, pid: u32) -> bool {
        lock(&self.0).own.contains_key(&pid)
    }

    /// The processes of the job, with when they started.
    pub(super) fn own(&self) -> Vec<(u32, u64)> {
        let known = lock(&self.0);
        known.own.iter().map(|(pid, at)| (*pid, *at)).collect()
    }

    /// Those that the lists of children have.
    pub(super) fn follow(&self, own: HashMap<u32, u64>) {
        let mut known = lock(&self.0);
        known.own = own;
        known.are_followed = true;
    }

    /// Have a process be none of the job, wherever it is found.
    pub(super) fn leave_out(&self, pid: u32) {
        lock(&self.0).left_out = Some(pid);
    }

    pub(super) fn is_left_out(&self, pid: u32) -> bool {
        lock(&self.0).left_out == Some(pid)
    }

    fn are_followed(&self) -> bool {
        lock(&self.0).are_followed
    }

    /// The processes of the job by the numbers that drivers tell, which are those of the host: none in a
    /// container that has others, where a number of the host may be that of another process.
    pub(in crate::sampler) fn known_to_drivers(&self) -> Vec<u32> {
        let known = lock(&self.0);
        let own = known.own.keys().filter(|_| known.are_hosts);
        own.copied().collect()
    }
}

/// Looks through all processes.
pub(super) struct Look {
    proc: PathBuf,
    root: u32,
    /// When the root started, once it was seen: its number may be another process later.
    root_started: Option<u64>,
    /// Whether the job's processes have numbers of the host.
    are_hosts: bool,
    most: usize,
    processes: Processes,
    /// Ticks of each process at the look before, and when it started.
    last: HashMap<u32, (u64, u64)>,
    last_ns: u64,
    names: [NameId; 2],
}

/// All that is known of one process during a look.
struct Found {
    name: String,
    stat: Stat,
}

impl Look {
    pub(super) fn new(
        proc: &Path,
        root: u32,
        most: usize,
        processes: &Processes,
        row: &mut Row,
    ) -> Self {
        Self {
            proc: proc.to_owned(),
            root,
            root_started: None,
            are_hosts: namespace::is_hosts(proc),
            most,
            processes: processes.clone(),
            last: HashMap::new(),
            last_ns: 0,
            names: ["processes", "job/files"].map(|name| row.name(name)),
        }
    }

    /// Those that are looked at, and how many there are.
    fn all(&self) -> Result<(HashMap<u32, Found>, u64), Trouble> {
        let folder = fs::read_dir(&self.proc)
            .map_err(|error| Trouble::of(&self.proc.display().to_string(), &error))?;
        let own = self.processes.own().into_iter().map(|(pid, _)| pid);
        let own = own.chain([self.root]);
        let mut found: HashMap<u32, Found> =
            own.filter_map(|pid| Some((pid, self.one(pid)?))).collect();
        let mut count = 0;
        for entry in folder.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            count += 1;
            // Many end meanwhile.
            if found.len() < MOST_PROCESSES
                && let Entry::Vacant(place) = found.entry(pid)
                && let Some(process) = self.one(pid)
            {
                place.insert(process);
            }
        }
        Ok((found, count))
    }

    fn one(&self, pid: u32) -> Option<Found> {
        let bytes = fs::read(self.proc.join(format!("{pid}/stat"))).ok()?;
        let (name, stat) = Stat::parse(&bytes)?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some(Found { name, stat })
    }

    /// The root and all below it, with those that were so before: one whose parent has ended is another's
    /// child, and still of the job.
    fn own(&mut self, all: &HashMap<u32, Found>) -> HashMap<u32, u64> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for (pid, found) in all {
            children.entry(found.stat.parent).or_default().push(*pid);
        }
        let is_same = |(pid, started): (&u32, &u64)| {
            let found = all.get(pid)?;
            (found.stat.started == *started).then_some(*pid)
        };
        let mut waiting: Vec<u32> = lock(&self.processes.0)
            .own
            .iter()
            .filter_map(is_same)
            .collect();
        if let Some(root) = all.get(&self.root)
            && *self.root_started.get_or_insert(root.stat.started) == root.stat.started
        {
            waiting.push(self.root);
        }
        let mut own = HashMap::new();
        while let Some(pid) = waiting.pop() {
            let Some(found) = all.get(&pid) else { continue };
            if self.processes.is_left_out(pid) {
                continue;
            }
            if own.insert(pid, found.stat.started).is_none() {
                waiting.extend(children.get(&pid).into_iter().flatten());
            }
        }
        own
    }

    fn heaviest(
        &self,
        all: &HashMap<u32, Found>,
        own: &HashMap<u32, u64>,
        now_ns: u64,
    ) -> Vec<Heavy> {
        let seconds = float(now_ns.saturating_sub(self.last_ns)) / 1e9;
        let page = os::page_bytes();
        let mut heavy: Vec<Heavy> = all
            .iter()
            .map(|(pid, found)| {
                let before = self.last.get(pid);
                let before = before.filter(|(_, started)| *started == found.stat.started);
                let ticks =
                    before.map_or(0, |(ticks, _)| found.stat.own_ticks.saturating_sub(*ticks));
                let used = float(ticks) / float(os::ticks_per_second());
                Heavy {
                    pid: *pid,
                    name: found.name.clone(),
                    cpu: if seconds > 0.0 {
                        100.0 * used / seconds
                    } else {
                        0.0
                    },
                    resident: found.stat.resident_pages.saturating_mul(page),
                    is_own: own.contains_key(pid),
                }
            })
            .collect();
        heavy.sort_by(|one, other| other.cpu.total_cmp(&one.cpu).then(one.pid.cmp(&other.pid)));
        let rest = heavy.split_off(self.most.min(heavy.len()));
        let mut rest: Vec<Heavy> = rest;
        rest.sort_by_key(|process| std::cmp::Reverse(process.resident));
        heavy.extend(rest.into_iter().take(self.most));
        heavy
    }

    /// Count the processes, without a look into each: nobody asks which are the heaviest.
    fn count(&self, row: &mut Row) -> Result<(), Trouble> {
        let folder = fs::read_dir(&self.proc)
            .map_err(|error| Trouble::of(&self.proc.display().to_string(), &error))?;
        let is_process = |name: &OsString| name.as_bytes().iter().all(u8::is_ascii_digit);
        let names = folder.flatten().map(|entry| entry.file_name());
        row.put(
            self.names[0],
            float(names.filter(is_process).count() as u64),
        );
        let own = lock(&self.processes.0).own.clone();
        row.put_some(self.names[1], self.files(&own).map(float));
        Ok(())
    }

    /// The files that processes of the job have open; of those it may look into.
    fn files(&self, own: &HashMap<u32, u64>) -> Option<u64> {
        let mut sum = None;
        for pid in own.keys() {
            let folder = self.proc.join(format!("{pid}/fd"));
            // Since Linux 6.2 the size of the folder is the number of its entries.
            let told = fs::metadata(&folder).map_or(0, |folder| folder.size());
            let counted = || Some(fs::read_dir(&folder).ok()?.count() as u64);
            let count = if told > 0 { Some(told) } else { counted() };
            if let Some(count) = count {
                sum = Some(sum.unwrap_or(0) + count);
            }
        }
        sum
    }
}

impl Getter for Look {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        if self.most == 0 && self.processes.are_followed() {
            return self.count(row);
        }
        let (all, count) = self.all()?;
        if all.is_empty() {
            let reason = format!("{}: no processes are shown", self.proc.display());
            return Err(Trouble::NotSupported(reason));
        }
        let own = self.own(&all);
        let heavy = self.heaviest(&all, &own, now.monotonic_ns);
        row.put(self.names[0], float(count));
        row.put_some(self.names[1], self.files(&own).map(float));
        let ticks =
            |(pid, found): (&u32, &Found)| (*pid, (found.stat.own_ticks, found.stat.started));
        self.last = all.iter().map(ticks).collect();
        self.last_ns = now.monotonic_ns;
        let mut known = lock(&self.processes.0);
        known.own = own;
        known.heavy = heavy;
        known.are_hosts = self.are_hosts;
        Ok(())
    }
}

/// Reads the processes of the job.
pub(super) struct Job {
    proc: PathBuf,
    processes: Processes,
    held: HashMap<u32, One>,
    ticks: Rate,
    /// Ticks that were counted, of processes that may have ended since.
    counted: u64,
    /// Ticks of processes that have ended, which are about to be those of their parents.
    handed_on: u64,
    faults: Rate,
    faults_counted: u64,
    names: [NameId; 5],
}

/// One process of the job.
struct One {
    started: u64,
    /// Kept open, if not too many are.
    file: Option<Held>,
    last: Option<Stat>,
}

impl Job {
    pub(super) fn new(proc: &Path, processes: &Processes, row: &mut Row) -> Self {
        let names = ["cpu", "rss", "threads", "processes", "faults"];
        Self {
            proc: proc.to_owned(),
            processes: processes.clone(),
            held: HashMap::new(),
            ticks: Rate::default(),
            counted: 0,
            handed_on: 0,
            faults: Rate::default(),
            faults_counted: 0,
            names: names.map(|name| row.name(&format!("job/{name}"))),
        }
    }

    /// Have files for the processes that the last look has found.
    fn follow(&mut self) {
        let known = lock(&self.processes.0);
        for (pid, started) in &known.own {
            let is_few = self.held.len() < MOST_HELD;
            self.held.entry(*pid).or_insert_with(|| One {
                started: *started,
                file: is_few.then(|| Held::new(self.proc.join(format!("{pid}/stat")))),
                last: None,
            });
        }
    }
}

impl One {
    fn read(&mut self, proc: &Path, pid: u32) -> Option<Stat> {
        let stat = match &mut self.file {
            Some(file) => Stat::parse(file.read().ok()?)?.1,
            None => Stat::parse(&fs::read(proc.join(format!("{pid}/stat"))).ok()?)?.1,
        };
        // The number may be that of another process by now.
        (stat.started == self.started).then_some(stat)
    }
}

impl Getter for Job {
    fn name(&self) -> &'static str {
        "processes of the job"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        self.follow();
        let (mut ticks, mut gone, mut faults) = (0u64, 0u64, 0u64);
        let (mut pages, mut threads, mut count) = (0u64, 0u64, 0u64);
        self.held.retain(|pid, one| {
            let Some(stat) = one.read(&self.proc, *pid) else {
                // Its parent has its time now, if it has waited for it.
                gone += one.last.map_or(0, |last| last.ticks());
                return false;
            };
            // What one that is seen for the first time did before was not done now.
            let last = one.last.replace(stat).unwrap_or(stat);
            ticks += stat.ticks().saturating_sub(last.ticks());
            faults += stat.major_faults.saturating_sub(last.major_faults);
            pages = pages.saturating_add(stat.resident_pages);
            threads += stat.threads;
            count += 1;
            true
        });
        if count == 0 {
            return Ok(());
        }
        let owed = self.handed_on + gone;
        self.counted += ticks.saturating_sub(owed);
        // A parent that has not taken it over by the next look never will.
        self.handed_on = owed.saturating_sub(ticks).min(gone);
        self.faults_counted += faults;
        let [cpu, resident, threads_name, processes, faults_name] = self.names;
        let rate = self.ticks.per_second(self.counted, now.monotonic_ns);
        row.put_some(
            cpu,
            rate.map(|rate| 100.0 * rate / float(os::ticks_per_second())),
        );
        row.put(resident, float(pages.saturating_mul(os::page_bytes())));
        row.put(threads_name, float(threads));
        row.put(processes, float(count));
        row.put_some(
            faults_name,
            self.faults
                .per_second(self.faults_counted, now.monotonic_ns),
        );
        Ok(())
    }
}
