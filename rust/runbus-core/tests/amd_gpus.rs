//! GPUs of AMD, by a library of ours.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp)]

mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use machine::{Hands, Machine, next};
use runbus_core::sampler::{AmdGpus, Engine, Gpus, Processes, Rhythm, Row, Standing};
use tempfile::TempDir;

/// The fake library, compiled once.
fn compiled() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("librocm_smi64.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/rocm/fake_rocm.c");
        let mut compiler = Command::new("cc");
        compiler
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library);
        assert!(compiler.arg(source).status().unwrap().success());
        (folder, library)
    });
    library
}

/// A library with a state of its own.
struct Rocm(TempDir);

impl Rocm {
    fn new(state: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::copy(compiled(), folder.path().join("librocm_smi64.so")).unwrap();
        let rocm = Self(folder);
        rocm.set(state);
        rocm
    }

    fn set(&self, state: &str) {
        fs::write(self.0.path().join("librocm_smi64.so.state"), state).unwrap();
    }

    fn finder(&self, wanted: Gpus, processes: &Processes) -> AmdGpus {
        let library = self.0.path().join("librocm_smi64.so");
        AmdGpus::new(Some(library), wanted, processes.clone())
    }

    fn engine(&self, wanted: Gpus) -> Engine {
        engine(Row::new("sys/"), self.finder(wanted, &Processes::default()))
    }
}

fn engine(row: Row, finder: AmdGpus) -> Engine {
    let rhythm = Rhythm {
        slow_every: Rhythm::default().every,
        budget: 1.0,
        ..Rhythm::default()
    };
    Engine::new(rhythm, row, Vec::new(), vec![Box::new(finder)])
}

const GPU: &str = "gpu 2af3c6d6b0dd4f1c util=37 memutil=11 total=1000000 used=250000 average=312000000 \
    clock=1700000000 memclock=900000000 edge=55000 fan=51 fanmax=255 ecc_corrected=3 ecc_uncorrected=0";

#[test]
fn what_a_gpu_has_is_read_and_what_it_does_not_have_is_asked_once() {
    let rocm = Rocm::new(&format!("{GPU} old=1\n"));
    let hands = Hands::new();
    let mut engine = rocm.engine(Gpus::All);
    engine.begin(&hands);
    let wanted = [
        ("clock/mem", 900.0),
        ("clock/sm", 1700.0),
        ("ecc/corrected", 3.0),
        ("ecc/uncorrected", 0.0),
        ("fan", 20.0),
        ("mem/total", 1e6),
        ("mem/used", 250_000.0),
        ("mem_util", 11.0),
        ("power", 312.0),
        ("temp", 55.0),
        ("util", 37.0),
    ];
    let found = next(&mut engine, &hands);
    assert!(
        found
            .keys()
            .eq(wanted.map(|(name, _)| format!("sys/gpu0/{name}")).iter()),
        "{found:?}"
    );
    for ((_, value), (name, wanted)) in found.iter().zip(wanted) {
        assert!((value - wanted).abs() <= wanted / 3e4, "{name}: {value}");
    }
    let costs = engine.costs();
    let ended = |name: &str| {
        let cost = costs.iter().find(|cost| cost.name == name).unwrap();
        matches!(cost.standing, Standing::Ended(_))
    };
    assert!(ended("gpu0/energy") && ended("gpu0/mem/temp") && !ended("gpu0/power"));
}

#[test]
fn a_card_of_a_data_center_has_its_own_sensors_and_energy() {
    let state = |energy: u64| {
        let gpu = GPU.replace("average", "socket").replace("edge", "junction");
        format!("{gpu} memtemp=61000 energy={energy}\n")
    };
    let rocm = Rocm::new(&state(1_000_000_000));
    let hands = Hands::new();
    let mut engine = rocm.engine(Gpus::All);
    engine.begin(&hands);
    rocm.set(&state(1_020_000_000));
    let found = next(&mut engine, &hands);
    let of = |name: &str| found[&format!("sys/gpu0/{name}")];
    assert_eq!(
        (of("power"), of("temp"), of("mem/temp")),
        (312.0, 55.0, 61.0)
    );
    assert_eq!(
        (of("energy"), of("power/mean"), of("clock/sm")),
        (310.0, 310.0, 1700.0)
    );
}

#[test]
fn a_lost_gpu_ends_its_series_with_an_event_and_one_that_appears_begins_its_own() {
    let second = GPU.replace("2af3", "77f3");
    let rocm = Rocm::new(&format!("{GPU}\n"));
    let hands = Hands::new();
    let mut engine = rocm.engine(Gpus::All);
    engine.begin(&hands);
    rocm.set(&format!("{GPU} err=7\n{second}\n"));
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/gpu0/lost"], 1.0);
    let found = next(&mut engine, &hands);
    assert!(!found.contains_key("sys/gpu0/util"), "{found:?}");
    assert_eq!(found["sys/gpu1/util"], 37.0);
}

#[test]
fn only_wanted_gpus_are_asked_by_number_or_id() {
    let rocm = Rocm::new(&format!(
        "{GPU}\n{}\n",
        GPU.replace("2af3", "77f3").replace("37", "73")
    ));
    let hands = Hands::new();
    let utils = |wanted: Gpus| -> Vec<f64> {
        let mut engine = rocm.engine(wanted);
        engine.begin(&hands);
        let found = next(&mut engine, &hands);
        let found = found
            .into_iter()
            .filter(|(name, _)| name.ends_with("/util"));
        found.map(|(_, value)| value).collect()
    };
    assert_eq!(utils(Gpus::Own(Some("1".into()))), [73.0]);
    assert_eq!(
        utils(Gpus::Own(Some("GPU-77f3c6d6b0dd4f1c".into()))),
        [73.0]
    );
    assert_eq!(utils(Gpus::Own(Some("-1".into()))), [0.0; 0]);
    assert_eq!(utils(Gpus::Own(None)), [37.0, 73.0]);
}

#[test]
fn memory_of_the_jobs_own_processes_is_told_apart() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine.of_host();
    machine
        .process(100, 1, 5, 0, 0)
        .process(101, 100, 6, 0, 0)
        .process(200, 1, 7, 0, 0);
    let (mut host, processes) = machine.engine();
    host.begin(&hands);
    let rocm = Rocm::new(&format!(
        "{GPU}\nproc 0 101 4096\nproc 0 100 4096\nproc 0 200 9\nproc 1 101 5\n"
    ));
    let mut engine = engine(Row::new("sys/"), rocm.finder(Gpus::All, &processes));
    engine.begin(&hands);
    assert_eq!(next(&mut engine, &hands)["sys/gpu0/job/mem"], 8192.0);
}

#[test]
fn cards_of_both_makers_have_numbers_of_their_own() {
    let rocm = Rocm::new(&format!("{GPU}\n"));
    let hands = Hands::new();
    let mut row = Row::new("sys/");
    // As the finder of the other maker's has named one.
    row.name("gpu0/util");
    let mut engine = engine(row, rocm.finder(Gpus::All, &Processes::default()));
    engine.begin(&hands);
    assert_eq!(next(&mut engine, &hands)["sys/gpu1/util"], 37.0);
}

#[test]
fn no_library_and_one_without_a_driver_are_no_errors() {
    let hands = Hands::new();
    let nowhere = AmdGpus::new(
        Some("/nowhere/librocm_smi64.so".into()),
        Gpus::All,
        Processes::default(),
    );
    let mut without = engine(Row::new("sys/"), nowhere);
    without.begin(&hands);
    assert_eq!(next(&mut without, &hands), BTreeMap::new());
    let rocm = Rocm::new(&format!("init 8\n{GPU}\n"));
    let mut engine = rocm.engine(Gpus::All);
    engine.begin(&hands);
    assert!(engine.costs().is_empty());
    rocm.set(&format!("{GPU}\n"));
    let later = (0..12).map(|_| next(&mut engine, &hands)).last().unwrap();
    assert_eq!(later["sys/gpu0/util"], 37.0);
}
