//! The control groups of the job: what it may use, and what all in them do use.

use std::fs;
use std::path::{Component, Path, PathBuf};

use procfs_core::{FromBufRead, ProcessCGroups};

use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::{Held, number, number_after};
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float};

/// Version 1 writes "no limit" as the largest number of pages.
const NO_LIMIT: u64 = 1 << 60;
/// Groups above this one that may limit it.
const MOST_LEVELS: usize = 64;

/// Where a controller is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Group {
    /// Its own hierarchy.
    V1(PathBuf),
    /// The one hierarchy of all.
    V2(PathBuf),
}

/// What the control groups of a job are found by.
pub(super) struct Groups {
    groups: ProcessCGroups,
    /// Where they are mounted.
    mounts: PathBuf,
}

impl Groups {
    /// Those of the first process of the job, which may have a group of its own; without it our own.
    pub(super) fn of(proc: &Path, sys: &Path, root: u32) -> Option<Self> {
        let root = root.to_string();
        let text = [&root, "self"]
            .into_iter()
            .find_map(|process| fs::read(proc.join(process).join("cgroup")).ok())?;
        Some(Self {
            groups: ProcessCGroups::from_buf_read(&*text).ok()?,
            mounts: sys.join("fs/cgroup"),
        })
    }
}

/// Where a controller of a job is, if anywhere.
///
/// In a container the path is often that of the host, while what is mounted is the group itself.
fn find(groups: &Groups, controller: &str) -> Option<Group> {
    let Groups { groups, mounts } = groups;
    let ProcessCGroups(groups) = groups;
    let named = groups
        .iter()
        .find(|group| group.controllers.iter().any(|name| name == controller));
    if let Some(group) = named {
        let mounted = [group.controllers.join(","), controller.to_owned()];
        let mount = mounted.iter().map(|name| mounts.join(name));
        return Some(Group::V1(within(
            &mount.into_iter().find(|path| path.is_dir())?,
            &group.pathname,
        )));
    }
    let unified = groups
        .iter()
        .find(|group| group.hierarchy == 0 && group.controllers.is_empty())?;
    let mount = [mounts.clone(), mounts.join("unified")]
        .into_iter()
        .find(|mount| mount.join("cgroup.controllers").exists())?;
    Some(Group::V2(within(&mount, &unified.pathname)))
}

/// The group of a whole step of Slurm, which has groups of each task and of what starts them.
fn of_step(path: &str) -> &str {
    let Some(step) = path
        .find("/step_")
        .filter(|at| path[..*at].contains("/job_"))
    else {
        return path;
    };
    let below = path[step + 1..].find('/');
    below.map_or(path, |length| &path[..=step + length])
}

/// A group below its mount; the mount itself where that group is not to be seen.
fn within(mount: &Path, path: &str) -> PathBuf {
    let path = Path::new(of_step(path).trim_start_matches('/'));
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let group = mount.join(path);
    if is_inside && group.is_dir() {
        group
    } else {
        mount.to_owned()
    }
}

/// Limits rarely change: they are read once in so many readings.
const LIMIT_READINGS: u32 = 16;

/// The least of the limits of a group and of those above it.
struct Limit {
    /// The file of each, or two that belong together.
    files: Vec<(Held, Option<Held>)>,
    read: fn(&mut (Held, Option<Held>)) -> Option<f64>,
    least: Option<f64>,
    readings: u32,
}

impl Limit {
    fn new(
        files: Vec<(Held, Option<Held>)>,
        read: fn(&mut (Held, Option<Held>)) -> Option<f64>,
    ) -> Self {
        Self {
            files,
            read,
            least: None,
            readings: 0,
        }
    }

    fn least(&mut self) -> Option<f64> {
        if self.readings.is_multiple_of(LIMIT_READINGS) {
            let limits = self.files.iter_mut().filter_map(self.read);
            self.least = limits.min_by(f64::total_cmp);
        }
        self.readings = self.readings.wrapping_add(1);
        self.least
    }
}

/// A number of bytes; "max" is none.
fn memory_limit((file, _): &mut (Held, Option<Held>)) -> Option<f64> {
    let limit = number(file.read().ok()?)?;
    (limit < NO_LIMIT).then(|| float(limit))
}

/// Percent of one processor, by a quota and its period in two files or in one; "max" and -1 are none.
fn cpu_limit((quota, period): &mut (Held, Option<Held>)) -> Option<f64> {
    let mut columns = quota.read().ok()?.split(u8::is_ascii_whitespace);
    let quota = number(columns.next()?)?;
    let period = match period {
        Some(period) => number(period.read().ok()?)?,
        None => number(columns.next()?)?,
    };
    (period > 0).then(|| 100.0 * float(quota) / float(period))
}

/// Files of the same name in a group and in those above it.
fn upward(group: &Path, name: &str) -> Vec<Held> {
    group
        .ancestors()
        .take(MOST_LEVELS)
        .map(|folder| folder.join(name))
        .take_while(|path| path.exists())
        .map(Held::new)
        .collect()
}

/// Memory.
pub(super) struct Memory {
    usage: Held,
    stat: Held,
    reclaimable: &'static str,
    cached: u64,
    /// When that was read, and what was used then.
    read_at: Option<(u64, u64)>,
    limit: Limit,
    names: [NameId; 2],
}

impl Memory {
    pub(super) fn new(groups: &Groups, row: &mut Row) -> Option<Self> {
        let (group, usage, limit, reclaimable) = match find(groups, "memory")? {
            Group::V1(group) => (
                group,
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "total_inactive_file",
            ),
            Group::V2(group) => (group, "memory.current", "memory.max", "inactive_file"),
        };
        Some(Self {
            usage: Held::new(group.join(usage)),
            stat: Held::new(group.join("memory.stat")),
            reclaimable,
            cached: 0,
            read_at: None,
            limit: Limit::new(alone(upward(&group, limit)), memory_limit),
            names: ["cgroup/mem", "cgroup/mem_limit"].map(|name| row.name(name)),
        })
    }
}

/// The kernel gathers what a group has from all processors: at most so often, unless much has changed.
const STAT_NS: u64 = 900_000_000;

impl Memory {
    /// What the kernel takes back before it kills is not in use.
    fn cached(&mut self, used: u64, at_ns: u64) -> u64 {
        let is_known = self.read_at.is_some_and(|(then, was)| {
            at_ns.saturating_sub(then) < STAT_NS && used.abs_diff(was) <= was / 64
        });
        if !is_known {
            let stat = self.stat.read().ok();
            let cached = stat.and_then(|bytes| number_after(bytes, self.reclaimable));
            self.cached = cached.unwrap_or(0);
            self.read_at = Some((at_ns, used));
        }
        self.cached
    }
}

impl Getter for Memory {
    fn name(&self) -> &'static str {
        "memory of the control group"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let used = number(self.usage.get()?).unwrap_or(0);
        let cached = self.cached(used, now.monotonic_ns);
        row.put(self.names[0], float(used.saturating_sub(cached)));
        row.put_some(self.names[1], self.limit.least());
        Ok(())
    }
}

/// Files that need no other.
fn alone(files: Vec<Held>) -> Vec<(Held, Option<Held>)> {
    files.into_iter().map(|file| (file, None)).collect()
}

/// Processors: 100 is one of them.
pub(super) struct Cpu {
    /// Where version 2 has everything.
    stat: Held,
    /// Where version 1 has what was used.
    usage: Option<Held>,
    limit: Limit,
    rate: Rate,
    throttled: Rate,
    names: [NameId; 3],
}

impl Cpu {
    pub(super) fn new(groups: &Groups, row: &mut Row) -> Option<Self> {
        let names = ["cgroup/cpu", "cgroup/cpu_limit", "cgroup/throttled"];
        let names = names.map(|name| row.name(name));
        let (rate, throttled) = (Rate::default(), Rate::default());
        Some(match find(groups, "cpu")? {
            Group::V2(group) => Self {
                stat: Held::new(group.join("cpu.stat")),
                usage: None,
                limit: Limit::new(alone(upward(&group, "cpu.max")), cpu_limit),
                rate,
                throttled,
                names,
            },
            Group::V1(group) => {
                let usage = match find(groups, "cpuacct") {
                    Some(Group::V1(group)) => group,
                    _ => group.clone(),
                };
                let periods = upward(&group, "cpu.cfs_period_us").into_iter().map(Some);
                let quotas = upward(&group, "cpu.cfs_quota_us").into_iter();
                Self {
                    stat: Held::new(group.join("cpu.stat")),
                    usage: Some(Held::new(usage.join("cpuacct.usage"))),
                    limit: Limit::new(quotas.zip(periods).collect(), cpu_limit),
                    rate,
                    throttled,
                    names,
                }
            }
        })
    }
}

impl Getter for Cpu {
    fn name(&self) -> &'static str {
        "processors of the control group"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let at = now.monotonic_ns;
        let limit = self.limit.least();
        // Nothing is throttled without a limit, and version 1 has what was used elsewhere.
        let stat = if self.usage.is_none() || limit.is_some() {
            self.stat.read()
        } else {
            Ok(&[][..])
        };
        let microseconds = |bytes, word| Some(number_after(bytes, word)?.saturating_mul(1_000));
        let throttled_ns = stat.as_ref().ok().and_then(|bytes| {
            microseconds(bytes, "throttled_usec").or_else(|| number_after(bytes, "throttled_time"))
        });
        let used_ns = match &mut self.usage {
            Some(usage) => number(usage.get()?),
            None => microseconds(
                stat.map_err(|error| Trouble::of("cpu.stat", &error))?,
                "usage_usec",
            ),
        };
        let used = used_ns.and_then(|count| self.rate.percent_of_time(count, at));
        row.put_some(self.names[0], used);
        let throttled = throttled_ns.and_then(|count| self.throttled.percent_of_time(count, at));
        if let Some(limit) = limit {
            row.put(self.names[1], limit);
            row.put_some(self.names[2], throttled);
        }
        Ok(())
    }
}

/// What happens seldom: processes killed for their memory, and how many there are.
pub(super) struct Events {
    killed: Held,
    pids: Option<Held>,
    names: [NameId; 2],
}

impl Events {
    pub(super) fn new(groups: &Groups, row: &mut Row) -> Option<Self> {
        let killed = match find(groups, "memory")? {
            Group::V1(group) => group.join("memory.oom_control"),
            Group::V2(group) => group.join("memory.events"),
        };
        let pids = find(groups, "pids").map(|group| match group {
            Group::V1(group) | Group::V2(group) => Held::new(group.join("pids.current")),
        });
        Some(Self {
            killed: Held::new(killed),
            pids,
            names: ["cgroup/oom_kills", "cgroup/pids"].map(|name| row.name(name)),
        })
    }
}

impl Getter for Events {
    fn name(&self) -> &'static str {
        "events of the control group"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let killed = number_after(self.killed.get()?, "oom_kill");
        row.put_some(self.names[0], killed.map(float));
        let pids = self
            .pids
            .as_mut()
            .and_then(|pids| number(pids.read().ok()?));
        row.put_some(self.names[1], pids.map(float));
        Ok(())
    }
}
