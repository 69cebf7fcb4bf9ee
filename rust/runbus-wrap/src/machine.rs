//! What is the same for every process here for as long as the machine runs.

use std::sync::OnceLock;

use crate::os;

pub(crate) struct Machine {
    pub(crate) boot: String,
    /// Empty where the kernel does not tell.
    pub(crate) pid_namespace: String,
}

/// Look once: what is forked from a process that has looked need not.
pub(crate) fn here() -> &'static Machine {
    static HERE: OnceLock<Machine> = OnceLock::new();
    HERE.get_or_init(|| {
        let boot = os::read("/proc/sys/kernel/random/boot_id");
        Machine {
            boot: String::from_utf8_lossy(boot.trim_ascii()).into_owned(),
            pid_namespace: os::pid_namespace(),
        }
    })
}
