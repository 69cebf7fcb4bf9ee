//! GPUs, by a driver that is a library of ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp)]

mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use machine::{Hands, Machine, SECOND, next};
use runbus_core::sampler::{
    Engine, Gpus, Host, NvidiaGpus, Processes, Rhythm, Row, Sampler, Sink, Standing, SystemClock,
    Wait,
};
use tempfile::TempDir;

/// The fake driver, compiled once.
fn compiled() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libnvidia-ml.so.1");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/nvml/fake_nvml.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O2", "-shared", "-fPIC", "-pthread", "-o"])
            .arg(&library)
            .arg(source);
        assert!(compiler.status().unwrap().success());
        (folder, library)
    });
    library
}

/// A driver with a state of its own.
struct Driver {
    folder: TempDir,
    changes: u64,
}

impl Driver {
    fn new(state: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(compiled(), folder.path().join("libnvidia-ml.so.1")).unwrap();
        let mut driver = Self { folder, changes: 0 };
        driver.set(state);
        driver
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("libnvidia-ml.so.1")
    }

    fn set(&mut self, state: &str) {
        // By another name first: the driver must not see half of it. And at another time than before.
        let path = self.folder.path().join("new");
        fs::write(&path, state).unwrap();
        self.changes += 1;
        let time = std::time::UNIX_EPOCH + Duration::from_secs(self.changes);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(time)
            .unwrap();
        fs::rename(path, self.folder.path().join("libnvidia-ml.so.1.state")).unwrap();
    }

    fn engine(&self, wanted: Gpus) -> Engine {
        self.engine_beside(wanted, &Processes::default())
    }

    fn engine_beside(&self, wanted: Gpus, processes: &Processes) -> Engine {
        let rhythm = Rhythm {
            slow_every: Rhythm::default().every,
            budget: 1.0,
            ..Rhythm::default()
        };
        let finder = NvidiaGpus::new(Some(self.library()), wanted, processes.clone());
        Engine::new(rhythm, Row::new("sys/"), Vec::new(), vec![Box::new(finder)])
    }
}

const GPU: &str = "gpu Fake_H200 GPU-00000000 util=37 memutil=11 total=1000000 used=250000 power=312000 \
    clock=1755 memclock=3201 temp=55 throttle=4";

fn second(extra: &str) -> String {
    format!("{} {extra}", GPU.replace("GPU-0", "GPU-1"))
}

fn values(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
    of.iter()
        .map(|(name, value)| (format!("sys/{name}"), *value))
        .collect()
}

#[test]
fn what_a_gpu_has_is_read_and_what_it_does_not_have_is_asked_once() {
    let driver = Driver::new(&format!("{GPU}\n"));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    let wanted = values(&[
        ("gpu0/clock/mem", 3201.0),
        ("gpu0/clock/sm", 1755.0),
        ("gpu0/mem/total", 1_000_000.0),
        ("gpu0/mem/used", 250_000.0),
        ("gpu0/mem_util", 11.0),
        ("gpu0/power", 312.0),
        ("gpu0/processes", 0.0),
        ("gpu0/temp", 55.0),
        ("gpu0/throttle", 4.0),
        ("gpu0/util", 37.0),
    ]);
    let close = |found: &BTreeMap<String, f64>| {
        assert!(found.keys().eq(wanted.keys()), "{found:?}");
        found
            .iter()
            .all(|(name, value)| (value - wanted[name]).abs() <= wanted[name] / 3e4)
    };
    assert!(close(&next(&mut engine, &hands)));
    assert!(close(&next(&mut engine, &hands)));
    let costs = engine.costs();
    let fan = costs.iter().find(|cost| cost.name == "gpu0/fan").unwrap();
    assert!(matches!(fan.standing, Standing::Ended(_)), "{fan:?}");
}

#[test]
fn energy_is_counted_from_the_start_and_is_the_mean_power_of_each_interval() {
    let state = |energy: u64| format!("{GPU} energy={energy}\n");
    let mut driver = Driver::new(&state(9_000_000_000));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    driver.set(&state(9_000_250_000));
    let found = next(&mut engine, &hands);
    assert_eq!(
        (found["sys/gpu0/energy"], found["sys/gpu0/power/mean"]),
        (250.0, 250.0)
    );
    hands.pass(SECOND);
    driver.set(&state(9_000_450_500));
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/gpu0/energy"], 450.5);
    assert!((found["sys/gpu0/power/mean"] - 100.25).abs() < 0.01);
}

#[test]
fn the_drivers_ring_is_read_once() {
    let ring = "sample 0 util 100 10\nsample 0 util 200 30\n";
    let mut driver = Driver::new(&format!("{GPU}\n{ring}"));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    assert!(!next(&mut engine, &hands).contains_key("sys/gpu0/util/ring_mean"));
    driver.set(&format!(
        "{GPU}\n{ring}sample 0 util 300 80\nsample 0 util 400 100\n"
    ));
    let found = next(&mut engine, &hands);
    let ring = (
        found["sys/gpu0/util/ring_mean"],
        found["sys/gpu0/util/ring_max"],
    );
    assert_eq!(ring, (90.0, 100.0));
}

#[test]
fn activity_and_links_are_told_by_two_samples() {
    let state = |bytes: u64| format!("{GPU} gpm=64 memtemp=88 nvlink_recv={bytes} nvlink_sent=0\n");
    let mut driver = Driver::new(&state(0));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    driver.set(&state(1000));
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/gpu0/active/tensor"], 64.0);
    assert_eq!(found["sys/gpu0/nvlink/recv"], 1_024_000.0);
    assert_eq!(found["sys/gpu0/mem/temp"], 88.0);
}

#[test]
fn memory_of_the_jobs_own_processes_is_told_apart() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .of_host()
        .process(100, 1, 5, 0, 0)
        .process(101, 100, 6, 0, 0)
        .process(200, 1, 7, 0, 0);
    let (mut host, processes) = machine.engine();
    host.begin(&hands);
    let lists = "proc 0 101 4096 30\nproc 0 100 4096 20\nproc 0 200 65536 50\nproc 0 999999 1 1\n";
    let driver = Driver::new(&format!("{GPU}\n{lists}"));
    let mut engine = driver.engine_beside(Gpus::All, &processes);
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert_eq!(
        (found["sys/gpu0/processes"], found["sys/gpu0/job/mem"]),
        (4.0, 8192.0)
    );
    assert_eq!(found["sys/gpu0/job/util"], 50.0);
}

#[test]
fn in_a_container_a_number_of_the_host_is_not_taken_for_an_own_process() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine.process(100, 1, 5, 0, 0);
    let (mut host, processes) = machine.engine();
    host.begin(&hands);
    assert!(processes.is_own(100));
    let driver = Driver::new(&format!("{GPU}\nproc 0 100 4096 20\n"));
    let mut engine = driver.engine_beside(Gpus::All, &processes);
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/gpu0/processes"], 1.0);
    assert!(!found.contains_key("sys/gpu0/job/mem") && !found.contains_key("sys/gpu0/job/util"));
}

#[test]
fn a_container_that_is_shown_its_hosts_processes_finds_its_own_among_them() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .of_host()
        .process(100, 1, 3, 0, 0)
        .process(4240, 1, 5, 0, 0)
        .process(4241, 4240, 6, 0, 0)
        // The first of the job is 100 in the container, and has started the one that samples.
        .write("proc/4240/status", "PPid:\t1\nNSpid:\t4240\t100\n")
        .write("proc/4241/status", "PPid:\t4240\nNSpid:\t4241\t101\n")
        .link("proc/self", "4241");
    let (mut host, processes) = machine.engine();
    host.begin(&hands);
    assert!(processes.is_own(4240) && processes.is_own(4241) && !processes.is_own(100));
    let driver = Driver::new(&format!("{GPU}\nproc 0 100 1 20\nproc 0 4241 4096 20\n"));
    let mut engine = driver.engine_beside(Gpus::All, &processes);
    engine.begin(&hands);
    assert_eq!(next(&mut engine, &hands)["sys/gpu0/job/mem"], 4096.0);
}

#[test]
fn instances_of_a_divided_gpu_have_memory_of_their_own() {
    let state = "gpu A100 GPU-00000000 total=100 used=40\nmig 0 10 50\nmig 0 30 50\n";
    let driver = Driver::new(state);
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert!(!found.contains_key("sys/gpu0/util"));
    assert!(!found.contains_key("sys/gpu0/mig0/active/sm"));
    let used = (
        found["sys/gpu0/mig0/mem/used"],
        found["sys/gpu0/mig1/mem/used"],
    );
    assert_eq!(used, (10.0, 30.0));
}

#[test]
fn instances_that_are_made_later_appear_and_one_of_an_old_number_appears_again() {
    let gpu = "gpu A100 GPU-00000000 total=100 used=40\n";
    let mut driver = Driver::new(gpu);
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    let mut read = |driver: &mut Driver, instances: &str| {
        driver.set(&format!("{gpu}{instances}"));
        // As many as a getter may fail before it is asked seldom; each is a slow tick.
        for _ in 0..12 {
            next(&mut engine, &hands);
        }
        let found = next(&mut engine, &hands);
        [0, 1].map(|number| {
            found
                .get(&format!("sys/gpu0/mig{number}/mem/used"))
                .copied()
        })
    };
    assert_eq!(read(&mut driver, ""), [None, None]);
    assert_eq!(read(&mut driver, "mig 0 10 50\n"), [Some(10.0), None]);
    assert_eq!(
        read(&mut driver, "mig 0 10 50\nmig 0 30 50\n"),
        [Some(10.0), Some(30.0)]
    );
    assert_eq!(read(&mut driver, ""), [None, None]);
    assert_eq!(read(&mut driver, "mig 0 20 50\n"), [Some(20.0), None]);
}

#[test]
fn instances_of_a_chip_that_counts_have_activity_of_their_own() {
    let state = |of_first: &str| {
        format!(
            "gpu H100 GPU-00000000 total=100 used=40 gpm=9\nmig 0 10 50 {of_first}\nmig 0 30 50 7 60\n"
        )
    };
    let mut driver = Driver::new(&state("3 20"));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    let active = |found: &BTreeMap<String, f64>, number: u32| {
        found
            .get(&format!("sys/gpu0/mig{number}/active/tensor"))
            .copied()
    };
    assert_eq!(
        (active(&found, 0), active(&found, 1)),
        (Some(20.0), Some(60.0))
    );
    // One that was made anew in its place has counts of its own.
    driver.set(&state("5 80"));
    let found = next(&mut engine, &hands);
    assert_eq!((active(&found, 0), active(&found, 1)), (None, Some(60.0)));
    let found = next(&mut engine, &hands);
    assert_eq!(active(&found, 0), Some(80.0));
}

#[test]
fn a_lost_gpu_ends_its_series_with_an_event_and_one_that_appears_begins_its_own() {
    let mut driver = Driver::new(&format!("{GPU}\n{}\n", second("")));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    driver.set(&format!("{GPU}\n{}\n", second("err=15")));
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/gpu1/lost"], 1.0);
    assert!(!found.contains_key("sys/gpu1/util") && found.contains_key("sys/gpu0/util"));
    let third = GPU.replace("GPU-0", "GPU-2");
    driver.set(&format!("{GPU}\n{}\n{third}\n", second("err=15")));
    next(&mut engine, &hands);
    let found = next(&mut engine, &hands);
    let gpus = |number: u32| {
        found
            .keys()
            .any(|name| name.starts_with(&format!("sys/gpu{number}/")))
    };
    assert_eq!(
        (gpus(0), gpus(1), gpus(2)),
        (true, false, true),
        "{found:?}"
    );
}

#[test]
fn only_wanted_gpus_are_asked() {
    let driver = Driver::new(&format!("{GPU}\n{}\n", second("")));
    let hands = Hands::new();
    let seen = |wanted: Gpus| -> Vec<String> {
        let mut engine = driver.engine(wanted);
        engine.begin(&hands);
        let found = next(&mut engine, &hands);
        let names = found.into_keys().filter(|name| name.ends_with("/util"));
        names
            .filter(|name| name.matches('/').count() == 2)
            .collect()
    };
    assert_eq!(seen(Gpus::Own(Some("1".into()))), ["sys/gpu1/util"]);
    assert_eq!(seen(Gpus::Own(Some(String::new()))), [""; 0]);
    assert_eq!(seen(Gpus::These(vec![0])), ["sys/gpu0/util"]);
    assert_eq!(seen(Gpus::Own(None)).len(), 2);
}

#[test]
fn no_driver_is_no_error_and_one_that_is_loaded_later_is_found() {
    let mut driver = Driver::new(&format!("init 9\n{GPU}\n"));
    let hands = Hands::new();
    let mut engine = driver.engine(Gpus::All);
    engine.begin(&hands);
    assert!(engine.costs().is_empty());
    driver.set(&format!("{GPU}\n"));
    let later = (0..12).map(|_| next(&mut engine, &hands)).last().unwrap();
    assert_eq!(later["sys/gpu0/util"], 37.0);
    let nowhere = NvidiaGpus::new(
        Some("/nowhere/libnvidia-ml.so.1".into()),
        Gpus::All,
        Processes::default(),
    );
    let mut engine = Engine::new(
        Rhythm::default(),
        Row::new(""),
        Vec::new(),
        vec![Box::new(nowhere)],
    );
    engine.begin(&hands);
    assert!(next(&mut engine, &hands).is_empty());
}

#[test]
fn a_slow_driver_is_asked_seldom_and_does_not_keep_who_stops() {
    struct Nowhere;
    impl Sink for Nowhere {
        fn take(&mut self, _wall_ns: i64, _row: &Row) -> bool {
            true
        }
    }
    let driver = Driver::new(&format!("{GPU}\ndelay 20\n"));
    let library = driver.library();
    let make = move |_: &dyn Wait| {
        let mut row = Row::new("sys/");
        let (getters, processes) = Host::default().getters(&mut row);
        let rhythm = Rhythm {
            every: Duration::from_millis(20),
            slow_every: Duration::from_secs(10),
            budget: 0.01,
            ..Rhythm::default()
        };
        let finder = NvidiaGpus::new(Some(library), Gpus::All, processes);
        let sink: Box<dyn Sink> = Box::new(Nowhere);
        let engine = Engine::new(rhythm, row, getters, vec![Box::new(finder)]);
        Some((engine, sink))
    };
    let sampler = Sampler::start(make, SystemClock).unwrap();
    assert!(sampler.wait_for_rows(2, Duration::from_secs(60)));
    let costs = sampler.costs();
    let util = costs.iter().find(|cost| cost.name == "gpu0/util").unwrap();
    assert!(util.is_slowed && util.every_ns >= 2 * SECOND, "{util:?}");
    let start = Instant::now();
    sampler.stop(Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(30));
    // It is not unloaded while the thread may be in it.
    assert!(sampler.stop(Duration::from_secs(60)));
}
