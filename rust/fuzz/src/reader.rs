//! Any bytes at all, through every reader.
#![no_main]

#[path = "../../runbus-core/tests/everything/mod.rs"]
mod everything;
mod seeds;

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};
use std::{env, fs, panic, process};

use libfuzzer_sys::fuzz_target;

/// In memory, if there is such a place.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        memory.to_owned()
    } else {
        env::temp_dir()
    };
    folder.join(format!("runbus-fuzz-{}", process::id()))
});

/// What the last panic said, and where.
static PANIC: Mutex<String> = Mutex::new(String::new());

fuzz_target!(
    init: {
        if let Some(folder) = env::var_os("FUZZ_SEEDS") {
            seeds::make(Path::new(&folder)).expect("seeds can be made");
        }
        // What the Parquet crate panics with is caught, and an error of ours: only what nobody catches
        // is worth a word.
        panic::set_hook(Box::new(|panic| {
            *PANIC.lock().expect("no panic comes of this") = panic.to_string();
        }));
    },
    |bytes: &[u8]| {
        fs::write(&*FILE, bytes).expect("there is room for a file");
        if panic::catch_unwind(|| everything::read_everything(&FILE)).is_err() {
            eprintln!("{}", PANIC.lock().expect("no panic comes of this"));
            process::abort();
        }
        fs::remove_file(&*FILE).expect("the file was just made");
    }
);
