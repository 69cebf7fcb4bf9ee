//! Machines that are folders: files of `/proc` and `/sys` as a test writes them.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::must_use_candidate,
    clippy::new_without_default
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

use runbus_core::sampler::{Clock, Engine, Host, Processes, Rhythm, Row};
use tempfile::TempDir;

/// A machine in a folder.
pub(crate) struct Machine(TempDir);

impl Machine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("proc")).unwrap();
        fs::create_dir(folder.path().join("sys")).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// A process: its number, that of its parent, when it started, its ticks and those waited for.
    pub(crate) fn process(
        &self,
        pid: u32,
        parent: u32,
        started: u64,
        own: u64,
        waited: u64,
    ) -> &Self {
        let text = format!(
            "{pid} (worker {pid}) S {parent} 1 1 0 -1 0 5 0 2 0 {own} 0 {waited} 0 20 0 3 0 {started} 1 10 0\n"
        );
        self.write(&format!("proc/{pid}/stat"), &text)
    }

    /// Processes have the numbers of the host here.
    pub(crate) fn of_host(&self) -> &Self {
        self.write(
            "proc/2/stat",
            "2 (kthreadd) S 0 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0 0\n",
        )
    }

    /// A link, as `/proc/self` is one.
    pub(crate) fn link(&self, name: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.0.path().join(name)).unwrap();
        self
    }

    /// A process is gone: a reader that has its file open gets no more from it.
    pub(crate) fn end_process(&self, pid: u32) -> &Self {
        self.write(&format!("proc/{pid}/stat"), "");
        self.remove(&format!("proc/{pid}"))
    }

    pub(crate) fn remove(&self, folder: &str) -> &Self {
        fs::remove_dir_all(self.0.path().join(folder)).unwrap();
        self
    }

    pub(crate) fn host(&self) -> Host {
        Host {
            proc: self.0.path().join("proc"),
            sys: self.0.path().join("sys"),
            folder: None,
            root: Some(100),
            is_beside: false,
            heaviest: 2,
        }
    }

    /// An engine that reads everything once a second.
    pub(crate) fn engine(&self) -> (Engine, Processes) {
        engine_of(&self.host())
    }
}

pub(crate) fn engine_of(host: &Host) -> (Engine, Processes) {
    let rhythm = Rhythm {
        slow_every: Rhythm::default().every,
        budget: 1.0,
        ..Rhythm::default()
    };
    let mut row = Row::new("sys/");
    let (getters, processes) = host.getters(&mut row);
    (Engine::new(rhythm, row, getters, Vec::new()), processes)
}

/// Clocks that stand still until a test moves them.
#[derive(Clone, Default)]
pub(crate) struct Hands {
    wall: Arc<AtomicI64>,
    monotonic: Arc<AtomicU64>,
}

impl Hands {
    pub(crate) fn new() -> Self {
        let hands = Self::default();
        hands.set(1_790_000_000_000_000_000);
        hands
    }

    /// Somebody sets the clock of the machine.
    pub(crate) fn set(&self, wall_ns: i64) {
        self.wall.store(wall_ns, SeqCst);
    }

    /// Time passes.
    pub(crate) fn pass(&self, nanoseconds: u64) {
        self.wall
            .fetch_add(i64::try_from(nanoseconds).unwrap(), SeqCst);
        self.monotonic.fetch_add(nanoseconds, SeqCst);
    }
}

impl Clock for Hands {
    fn wall_ns(&self) -> i64 {
        self.wall.load(SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic.load(SeqCst)
    }
}

pub(crate) const SECOND: u64 = 1_000_000_000;

/// The values of a tick, a second after the one before; without what the thread itself costs.
pub(crate) fn next(engine: &mut Engine, hands: &Hands) -> BTreeMap<String, f64> {
    hands.pass(SECOND);
    let row = engine.tick(hands, hands.wall_ns());
    let values = row
        .iter()
        .filter(|(name, _)| !name.starts_with("sys/self/"));
    values
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
