//! Which numbers processes have in `/proc`: in containers, and where a container is shown another's `/proc`.

use std::fs;
use std::path::Path;

use super::process::Stat;

/// Of the namespace that the kernel starts with: this number never changes.
const FIRST: &str = "pid:[4026531836]";
/// The process of the host that starts the kernel's threads.
const KERNEL_THREADS: &[u8] = b"2 (kthreadd) ";
/// Processes between one and the first of its job.
const MOST_LEVELS: usize = 256;

/// Whether `/proc` has the numbers of the host, which drivers tell.
pub(super) fn is_hosts(proc: &Path) -> bool {
    let namespace = fs::read_link(proc.join("self/ns/pid"));
    let is_first = namespace.is_ok_and(|namespace| namespace == Path::new(FIRST));
    let second = || fs::read(proc.join("2/stat"));
    is_first || second().is_ok_and(|stat| stat.starts_with(KERNEL_THREADS))
}

/// The number in `/proc` of a process that has this number for us.
///
/// A container may be shown the `/proc` of its host. There we and those above us are looked for.
pub(super) fn shown(proc: &Path, pid: u32) -> u32 {
    let own = fs::read_link(proc.join("self"));
    let Some(own) = own.ok().and_then(|own| own.to_str()?.parse().ok()) else {
        return pid;
    };
    if own == std::process::id() {
        return pid;
    }
    let mut here = own;
    for _ in 0..MOST_LEVELS {
        let Some(status) = Status::read(proc, here) else {
            break;
        };
        if status.innermost == pid {
            return here;
        }
        here = status.parent;
    }
    own
}

/// The first above us of the processes of our session, by its number in `/proc`.
///
/// That is who leads it, unless a launcher has left the session to the process that starts its tasks.
pub(super) fn first_of_session(proc: &Path) -> Option<u32> {
    let stat = |pid: u32| {
        let bytes = fs::read(proc.join(format!("{pid}/stat"))).ok()?;
        Some(Stat::parse(&bytes)?.1)
    };
    let mut first = fs::read_link(proc.join("self"))
        .ok()?
        .to_str()?
        .parse()
        .ok()?;
    let mut known = stat(first)?;
    for _ in 0..MOST_LEVELS {
        match stat(known.parent) {
            Some(above) if above.session == known.session => {
                first = known.parent;
                known = above;
            }
            _ => break,
        }
    }
    Some(first)
}

struct Status {
    parent: u32,
    /// In the namespace that the process itself is in.
    innermost: u32,
}

impl Status {
    fn read(proc: &Path, pid: u32) -> Option<Self> {
        let text = fs::read(proc.join(format!("{pid}/status"))).ok()?;
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            parent: field("PPid:")?.trim().parse().ok()?,
            innermost: field("NSpid:")?.split_whitespace().last()?.parse().ok()?,
        })
    }
}
