//! A sampler that runs for long needs no more memory than one that has just begun.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]

mod machine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::time::Duration;

use machine::{Hands, Machine};
use runbus_core::journal::Options;
use runbus_core::sampler::{Clock, Engine, JournalSink, Rhythm, Row, SharedJournal, Sink};

/// Counts the bytes that are in use.
struct Counting;

static USED: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all is done by the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        USED.fetch_add(layout.size().cast_signed(), Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size().cast_signed(), Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TICK: u64 = 10_000_000;

/// A sampler of a machine that is a folder, at a hundred ticks a second.
struct Steady {
    machine: Machine,
    hands: Hands,
    engine: Engine,
    journal: SharedJournal,
    sink: JournalSink,
}

impl Steady {
    fn new() -> Self {
        let machine = Machine::new();
        machine
            .write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 500 kB\n")
            .process(100, 1, 5, 0, 0);
        let hands = Hands::new();
        let mut row = Row::new("sys/");
        let (getters, _) = machine.host().getters(&mut row);
        let rhythm = Rhythm {
            every: Duration::from_nanos(TICK),
            ..Rhythm::default()
        };
        let mut engine = Engine::new(rhythm, row, getters, Vec::new());
        engine.begin(&hands);
        let journal = SharedJournal::waiting();
        let path = machine.path().join("sys.journal");
        let options = Options {
            is_mapped: false,
            sync_every: None,
            ..Options::default()
        };
        assert!(journal.open(&path, options).unwrap());
        Self {
            sink: JournalSink::new(journal.clone()),
            machine,
            hands,
            engine,
            journal,
        }
    }

    fn tick(&mut self, count: u64) {
        for _ in 0..count {
            self.hands.pass(TICK);
            let at = self.hands.wall_ns();
            assert!(self.sink.take(at, self.engine.tick(&self.hands, at)));
        }
    }

    fn end(self) {
        self.journal.close(0).unwrap().complete().unwrap();
        drop(self.machine);
    }
}

#[test]
fn ticks_after_the_first_minute_need_no_more_memory() {
    let mut steady = Steady::new();
    // Whatever kinds of rows there are have been by then.
    steady.tick(6_000);
    let before = USED.load(Relaxed);
    steady.tick(12_000);
    let more = USED.load(Relaxed) - before;
    assert!(more.abs() < 1024, "{more} bytes more");
    steady.end();
}

#[test]
#[ignore = "takes a minute: cargo test --release --test steady -- --ignored"]
fn an_hour_at_a_hundred_hertz_grows_the_process_by_less_than_a_megabyte() {
    let resident = || {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: i64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    let mut steady = Steady::new();
    steady.tick(6_000);
    let before = resident();
    steady.tick(360_000);
    let more = resident() - before;
    println!("{more} bytes more");
    assert!(more < 1_000_000, "{more} bytes more");
    steady.end();
}
