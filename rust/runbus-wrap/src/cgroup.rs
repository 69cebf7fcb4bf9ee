//! A control group of the job's own, where one can be made, and what the kernel counts in them.

use std::sync::OnceLock;

use crate::os::{self, Process};

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "runbus-";

/// A group below this process's own, of version 2: it holds everything the job starts.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: String,
}

impl Cgroup {
    /// Make a group with a name that no other attempt has; None where that is not allowed.
    pub(crate) fn make(own: Process) -> Option<Self> {
        // Slurm looks for the processes of a step in the step's own group only.
        if std::env::var_os("SLURM_JOB_ID").is_some() {
            return None;
        }
        let path = format!("{}/{PREFIX}{}-{}", above()?, own.pid, own.start);
        std::fs::create_dir(&path).ok()?;
        let group = Self { path };
        // Without `cgroup.kill` (Linux 5.14) it would be of no use.
        os::exists(&group.file("cgroup.kill")).then_some(group)
    }

    /// The group that a record names, if it is one that `make` could have made.
    pub(crate) fn named(path: &str) -> Option<Self> {
        let is_own = path.starts_with(ROOT)
            && !path.split('/').any(|part| part == "..")
            && path
                .rsplit('/')
                .next()
                .is_some_and(|name| name.starts_with(PREFIX));
        // A group that is only looked up is not this value's to remove.
        (is_own && os::exists(&format!("{path}/cgroup.kill"))).then(|| Self {
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Fork a child that is in the group; -1 if that is not possible.
    ///
    /// It begins there. To move it would make every fork and exec of the machine wait for
    /// milliseconds: that is for where a sandbox forbids the other call.
    pub(crate) fn fork(&self) -> i32 {
        let path = os::c_string(self.path.as_bytes());
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: the path is a C string.
        let folder = unsafe { libc::open(path.as_ptr(), flags) };
        let mut pid = os::fork_into(folder);
        if pid != 0 {
            // A call that succeeds leaves the number of the error as it is.
            os::close(folder);
        }
        if pid < 0 && !os::is_scarce(os::errno()) {
            pid = os::fork();
            if pid > 0 {
                let _ = std::fs::write(self.file("cgroup.procs"), pid.to_string());
            }
        }
        pid
    }

    /// The processes in it, and in what groups the job has made below it no more than the kernel
    /// kills with it.
    pub(crate) fn members(&self) -> Vec<i32> {
        let text = os::read(&self.file("cgroup.procs"));
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kill everything in it at once, whatever forks meanwhile.
    pub(crate) fn kill(&self) {
        let _ = std::fs::write(self.file("cgroup.kill"), "1");
    }

    /// How often the kernel killed in it because memory ran out; None if that is not counted here.
    pub(crate) fn kills(&self) -> Option<u64> {
        oom_kills(&os::read(&self.file("memory.events")))
    }

    /// Remove the group, if nothing is left in it.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir(&self.path);
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// The groups that this process is in.
struct Own {
    /// The folder of the one of version 2; None where there is none.
    above: Option<String>,
    /// The file in which the kernel counts what it killed because memory ran out.
    counts: Option<String>,
}

/// Look once: what is forked from a process that has looked need not.
fn own() -> &'static Own {
    static FOUND: OnceLock<Own> = OnceLock::new();
    FOUND.get_or_init(|| {
        let groups = String::from_utf8_lossy(&os::read("/proc/self/cgroup")).into_owned();
        let (mut v1, mut v2) = ("/", None);
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next(), fields.next()) {
                (Some(""), Some(path)) => v2 = Some(path),
                (Some("memory"), Some(path)) => v1 = path,
                _ => {}
            }
        }
        let above = v2.and_then(|own| Some(format!("{}{}", root()?, own.trim_end_matches('/'))));
        // A container may see its own group as the root, whatever it is called here.
        let counts = [
            format!("{ROOT}{}/memory.events", v2.unwrap_or("/")),
            format!("{ROOT}/memory.events"),
            format!("{ROOT}/memory{v1}/memory.oom_control"),
            format!("{ROOT}/memory/memory.oom_control"),
        ];
        let counts = counts.into_iter().find(|path| !os::read(path).is_empty());
        Own { above, counts }
    })
}

/// The folder of the group of version 2.
fn above() -> Option<&'static str> {
    own().above.as_deref()
}

/// Where the groups of version 2 are.
fn root() -> Option<&'static str> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .find(|root| {
            os::exists(&format!("{root}/cgroup.procs")) && !os::exists(&format!("{root}/tasks"))
        })
}

/// Remove the empty groups of wrappers that were killed before they could.
pub(crate) fn sweep() {
    let entries = above().and_then(|above| std::fs::read_dir(above).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some((pid, start)) = maker.and_then(|maker| maker.split_once('-')) else {
            continue;
        };
        let (Ok(pid), Ok(start)) = (pid.parse(), start.parse()) else {
            continue;
        };
        let maker = Process { pid, start };
        if os::stat(pid).is_none_or(|stat| stat.process != maker) {
            // The kernel refuses while a process is in it.
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}

/// How often the kernel killed in the groups of this process because memory ran out.
pub(crate) fn kills() -> u64 {
    let counts = own().counts.as_deref();
    counts
        .and_then(|path| oom_kills(&os::read(path)))
        .unwrap_or(0)
}

fn oom_kills(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}
