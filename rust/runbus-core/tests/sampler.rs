//! How a sampler reads: what it costs, what it gives up, and how it ends.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp)]

mod machine;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use machine::{Hands, SECOND, next};
use runbus_core::archive::{Wanted, read};
use runbus_core::journal::Options;
use runbus_core::sampler::{
    Clock, Engine, Getter, JournalSink, Moment, NameId, Place, Rhythm, Row, Sampler, SharedJournal,
    Sink, Standing, SystemClock, Tier, Trouble, Wait,
};

type Reading = Box<dyn FnMut(u64) -> Result<f64, Trouble> + Send>;

/// A getter that does what a test wants, and counts.
struct Given {
    name: &'static str,
    tier: Tier,
    device: Option<&'static str>,
    value: NameId,
    readings: Arc<AtomicU64>,
    reading: Reading,
}

impl Getter for Given {
    fn name(&self) -> &str {
        self.name
    }

    fn tier(&self) -> Tier {
        self.tier
    }

    fn device(&self) -> Option<&str> {
        self.device
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        // What a getter put before it fails must not be seen.
        row.put(self.value, -1.0);
        let value = (self.reading)(self.readings.fetch_add(1, SeqCst))?;
        row.truncate(row.len() - 1);
        row.put(self.value, value);
        Ok(())
    }
}

struct Getters {
    row: Row,
    all: Vec<Box<dyn Getter>>,
}

impl Getters {
    fn new() -> Self {
        Self {
            row: Row::new("sys/"),
            all: Vec::new(),
        }
    }

    fn add(
        &mut self,
        name: &'static str,
        tier: Tier,
        device: Option<&'static str>,
        reading: impl FnMut(u64) -> Result<f64, Trouble> + Send + 'static,
    ) -> Arc<AtomicU64> {
        let readings = Arc::new(AtomicU64::new(0));
        self.all.push(Box::new(Given {
            name,
            tier,
            device,
            value: self.row.name(name),
            readings: readings.clone(),
            reading: Box::new(reading),
        }));
        readings
    }

    fn engine(self, rhythm: Rhythm) -> Engine {
        Engine::new(rhythm, self.row, self.all, Vec::new())
    }
}

fn standing(engine: &Engine, name: &str) -> Standing {
    engine
        .costs()
        .into_iter()
        .find(|cost| cost.name == name)
        .unwrap()
        .standing
}

#[test]
fn the_slow_tier_is_read_at_its_own_ticks() {
    let hands = Hands::new();
    let mut getters = Getters::new();
    let fast = getters.add("fast", Tier::Fast, None, |_| Ok(1.0));
    let slow = getters.add("slow", Tier::Slow, None, |_| Ok(2.0));
    let mut engine = getters.engine(Rhythm::default());
    engine.begin(&hands);
    let rows: Vec<_> = (0..20).map(|_| next(&mut engine, &hands)).collect();
    assert_eq!((fast.load(SeqCst), slow.load(SeqCst)), (21, 3));
    let with_slow = rows
        .iter()
        .filter(|row| row.contains_key("sys/slow"))
        .count();
    assert_eq!(
        (
            with_slow,
            rows.iter().filter(|row| row["sys/fast"] == 1.0).count()
        ),
        (2, 20)
    );
}

#[test]
fn what_is_steady_is_read_once_a_second_and_never_more_seldom_than_what_is_slow() {
    let tenth = Rhythm {
        every: Duration::from_millis(100),
        ..Rhythm::default()
    };
    let often = Rhythm {
        slow_every: Duration::from_millis(500),
        ..tenth
    };
    for (rhythm, readings) in [(Rhythm::default(), 21), (tenth, 3), (often, 5)] {
        let hands = Hands::new();
        let mut getters = Getters::new();
        let steady = getters.add("pressure", Tier::Steady, None, |_| Ok(1.0));
        let mut engine = getters.engine(rhythm);
        engine.begin(&hands);
        for _ in 0..20 {
            hands.pass(engine.tick_ns());
            engine.tick(&hands, hands.wall_ns());
        }
        assert_eq!(steady.load(SeqCst), readings);
    }
}

#[test]
fn what_a_machine_does_not_have_is_asked_once_and_what_fails_is_asked_again() {
    let hands = Hands::new();
    let mut getters = Getters::new();
    let absent = getters.add("fan", Tier::Fast, None, |_| {
        Err(Trouble::NotSupported("no fan".into()))
    });
    let failing = getters.add("busy", Tier::Fast, None, |reading| match reading {
        0..3 => Err(Trouble::Failed("EBUSY".into())),
        _ => Ok(7.0),
    });
    let broken = getters.add("broken", Tier::Fast, None, |_| panic!("a mistake of ours"));
    let mut engine = getters.engine(Rhythm::default());
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    engine.begin(&hands);
    std::panic::set_hook(told);
    assert_eq!(standing(&engine, "busy"), Standing::Failing("EBUSY".into()));
    let rows: Vec<_> = (0..4).map(|_| next(&mut engine, &hands)).collect();
    assert_eq!(
        (
            absent.load(SeqCst),
            broken.load(SeqCst),
            failing.load(SeqCst)
        ),
        (1, 1, 5)
    );
    assert_eq!(standing(&engine, "fan"), Standing::Ended("no fan".into()));
    assert_eq!(
        standing(&engine, "broken"),
        Standing::Ended("it panicked: a mistake of ours".into())
    );
    assert_eq!(standing(&engine, "busy"), Standing::Read);
    let seven = BTreeMap::from([("sys/busy".to_owned(), 7.0)]);
    assert_eq!(
        rows,
        [BTreeMap::new(), BTreeMap::new(), seven.clone(), seven]
    );
}

#[test]
fn a_getter_that_costs_more_than_its_budget_is_read_as_seldom_as_keeps_it() {
    let hands = Hands::new();
    let clock = hands.clone();
    let mut getters = Getters::new();
    // Four milliseconds until the twentieth reading, then a microsecond.
    let dear = getters.add("processes", Tier::Fast, None, move |reading| {
        clock.pass(if reading < 20 { 4_000_000 } else { 1_000 });
        Ok(1.0)
    });
    let cheap = getters.add("util", Tier::Fast, None, |_| Ok(1.0));
    let mut engine = getters.engine(Rhythm::default());
    engine.begin(&hands);
    let cost = &engine.costs()[0];
    assert_eq!(
        (cost.first_ns, cost.usual_ns, cost.every_ns),
        (4_000_000, 4_000_000, 4 * SECOND)
    );
    assert!(cost.is_slowed);
    let start = hands.wall_ns() / 1_000_000_000 * 1_000_000_000;
    for second in 1..=76 {
        engine.tick(&hands, start + second * 1_000_000_000);
    }
    assert_eq!((dear.load(SeqCst), cheap.load(SeqCst)), (20, 77));
    for second in 77..=120 {
        engine.tick(&hands, start + second * 1_000_000_000);
    }
    let cost = &engine.costs()[0];
    assert_eq!(
        (cost.every_ns, cost.is_slowed, cost.most_ns),
        (SECOND, false, 4_000_000)
    );
}

#[test]
fn a_first_reading_that_was_interrupted_does_not_count_for_long() {
    let hands = Hands::new();
    let clock = hands.clone();
    let mut getters = Getters::new();
    let read = getters.add("memory", Tier::Fast, None, move |reading| {
        clock.pass(if reading == 0 { 5_000_000_000 } else { 1_000 });
        Ok(1.0)
    });
    let mut engine = getters.engine(Rhythm::default());
    engine.begin(&hands);
    let start = hands.wall_ns() / 8_000_000_000 * 8_000_000_000;
    for second in 1..=8 {
        engine.tick(&hands, start + second * 1_000_000_000);
    }
    // At the fourth second, and then at each.
    assert_eq!(read.load(SeqCst), 6);
    assert!(!engine.costs()[0].is_slowed);
}

#[test]
fn a_lost_device_ends_all_that_is_read_of_it_with_an_event_and_nothing_else() {
    let hands = Hands::new();
    let mut getters = Getters::new();
    getters.add("gpu0/util", Tier::Fast, Some("gpu0"), |_| Ok(50.0));
    getters.add(
        "gpu1/util",
        Tier::Fast,
        Some("gpu1"),
        |reading| match reading {
            0..2 => Ok(50.0),
            _ => Err(Trouble::Lost("GPU is lost".into())),
        },
    );
    let other = getters.add("gpu1/temp", Tier::Fast, Some("gpu1"), |_| Ok(60.0));
    let mut engine = getters.engine(Rhythm::default());
    engine.begin(&hands);
    let rows: Vec<_> = (0..3).map(|_| next(&mut engine, &hands)).collect();
    let names = |row: &BTreeMap<String, f64>| row.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&rows[0]),
        ["sys/gpu0/util", "sys/gpu1/temp", "sys/gpu1/util"]
    );
    assert_eq!(names(&rows[1]), ["sys/gpu0/util", "sys/gpu1/lost"]);
    assert_eq!(names(&rows[2]), ["sys/gpu0/util"]);
    assert_eq!(other.load(SeqCst), 2);
    assert_eq!(
        standing(&engine, "gpu1/temp"),
        Standing::Ended("GPU is lost".into())
    );
}

fn quick() -> Rhythm {
    Rhythm {
        every: Duration::from_millis(5),
        slow_every: Duration::from_millis(5),
        budget: 1.0,
        ..Rhythm::default()
    }
}

const LONG_NS: u64 = 20 * SECOND;
const LONG: Duration = Duration::from_nanos(LONG_NS);

#[test]
fn rows_are_metrics_of_a_journal_at_the_ticks_of_the_wall_clock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sys.journal");
    let journal = SharedJournal::waiting();
    assert!(journal.open(&path, Options::default()).unwrap());
    let theirs = journal.clone();
    let make = move |_: &dyn Wait| {
        let mut getters = Getters::new();
        getters.add("gpu0/util", Tier::Fast, None, |_| Ok(37.0));
        let sink: Box<dyn Sink> = Box::new(JournalSink::new(theirs));
        Some((getters.engine(quick()), sink))
    };
    let sampler = Sampler::start(make, SystemClock).unwrap();
    assert!(sampler.wait_for_rows(3, LONG));
    assert!(sampler.stop(LONG));
    journal.close(0).unwrap().complete().unwrap();
    assert!(journal.close(0).is_none());
    let series = read(&[vec![path]], &Wanted::All, None).unwrap();
    let names: Vec<&str> = series.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["sys/gpu0/util", "sys/self/cpu"]);
    let points = &series[0].1;
    assert!(points.times.len() >= 3);
    assert!(
        points.times.iter().all(|time| time % 5_000_000 == 0),
        "{:?}",
        points.times
    );
    assert!(points.values.iter().all(|value| *value == 37.0));
}

/// The clock of the machine, which somebody sets.
#[derive(Clone, Default)]
struct Stepped(Arc<AtomicI64>);

impl Clock for Stepped {
    fn wall_ns(&self) -> i64 {
        SystemClock.wall_ns() + self.0.load(SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        SystemClock.monotonic_ns()
    }
}

#[test]
fn rows_go_on_at_ticks_of_a_clock_that_is_set_back_or_forward() {
    struct Times(mpsc::Sender<i64>);
    impl Sink for Times {
        fn take(&mut self, wall_ns: i64, _row: &Row) -> bool {
            self.0.send(wall_ns).is_ok()
        }
    }
    let (send, times) = mpsc::channel();
    let make = move |_: &dyn Wait| {
        let mut getters = Getters::new();
        getters.add("util", Tier::Fast, None, |_| Ok(1.0));
        let sink: Box<dyn Sink> = Box::new(Times(send));
        Some((getters.engine(quick()), sink))
    };
    let clock = Stepped::default();
    let sampler = Sampler::start(make, clock.clone()).unwrap();
    let hour = 3_600_000_000_000;
    for step in [0, -hour - 1_234_567, 24 * hour + 7] {
        clock.0.store(step, SeqCst);
        let mut next = || times.recv_timeout(LONG).unwrap();
        // What was begun before may still come.
        let at = std::iter::repeat_with(&mut next)
            .find(|at| at.abs_diff(clock.wall_ns()) < LONG_NS)
            .unwrap();
        for at in [at, next(), next()] {
            assert_eq!(at % 5_000_000, 0);
            assert!(at.abs_diff(clock.wall_ns()) < LONG_NS);
        }
    }
    assert!(sampler.stop(LONG));
}

#[test]
fn a_driver_that_hangs_keeps_neither_who_stops_nor_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sys.journal");
    let journal = SharedJournal::waiting();
    assert!(journal.open(&path, Options::default()).unwrap());
    let theirs = journal.clone();
    let (hangs, told) = mpsc::channel();
    let (answer, answered) = mpsc::channel::<()>();
    let make = move |_: &dyn Wait| {
        let mut getters = Getters::new();
        getters.add("gpu0/util", Tier::Fast, None, move |reading| {
            if reading == 2 {
                hangs.send(()).unwrap();
                answered.recv().unwrap();
            }
            Ok(1.0)
        });
        let sink: Box<dyn Sink> = Box::new(JournalSink::new(theirs));
        Some((getters.engine(quick()), sink))
    };
    let sampler = Sampler::start(make, SystemClock).unwrap();
    told.recv_timeout(LONG).unwrap();
    let start = Instant::now();
    assert!(!sampler.stop(Duration::from_millis(30)));
    journal.close(0).unwrap().complete().unwrap();
    assert!(start.elapsed() < LONG);
    // The driver answers after all: the thread finds no journal, and ends.
    answer.send(()).unwrap();
    assert!(sampler.stop(LONG));
}

#[test]
fn a_run_that_is_shorter_than_an_interval_has_a_row_all_the_same() {
    struct Rows(mpsc::Sender<Option<f64>>);
    impl Sink for Rows {
        fn take(&mut self, _wall_ns: i64, row: &Row) -> bool {
            let util = row.iter().find(|(name, _)| *name == "sys/util");
            self.0.send(util.map(|(_, value)| value)).is_ok()
        }
    }
    let (send, rows) = mpsc::channel();
    // Half an hour from the next tick, whatever time it is.
    let clock = Stepped::default();
    let hour_ns = 3_600_000_000_000;
    let to_middle = hour_ns / 2 - clock.wall_ns().rem_euclid(hour_ns);
    clock.0.store(to_middle, SeqCst);
    let make = move |_: &dyn Wait| {
        let mut getters = Getters::new();
        getters.add("util", Tier::Fast, None, |_| Ok(1.0));
        let hour = Rhythm {
            every: Duration::from_secs(3600),
            ..Rhythm::default()
        };
        let sink: Box<dyn Sink> = Box::new(Rows(send));
        Some((getters.engine(hour), sink))
    };
    let sampler = Sampler::start(make, clock).unwrap();
    while sampler.costs().is_empty() {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(25) {
        std::thread::yield_now();
    }
    assert!(sampler.stop(LONG));
    assert_eq!(rows.iter().collect::<Vec<_>>(), [Some(1.0)]);
}

#[test]
fn a_process_has_the_place_until_it_lets_go_and_then_the_next_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".sampler");
    let place = Place::take(&path).unwrap().unwrap();
    let others = |path: &std::path::Path| {
        // Another process, since the lock is one of processes.
        let script = "import fcntl,sys\nf=open(sys.argv[1],'a')\ntry: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: sys.exit(3)";
        let mut python = std::process::Command::new("python3");
        python
            .args(["-c", script])
            .arg(path)
            .status()
            .unwrap()
            .code()
    };
    assert_eq!(others(&path), Some(3));
    drop(place);
    assert!(!path.exists());
    assert_eq!(others(&path), Some(0));
    assert!(Place::take(&path).unwrap().is_some());
}

#[test]
fn a_journal_that_was_closed_before_the_sampler_began_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sys.journal");
    let journal = SharedJournal::waiting();
    assert!(journal.close(0).is_none());
    assert!(!journal.open(&path, Options::default()).unwrap());
    assert!(!path.exists());
}
