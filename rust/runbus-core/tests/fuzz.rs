//! Readers against files that were changed at random, for `FUZZ_SECONDS`. `make fuzz` looks for more.
#![allow(missing_docs, clippy::unwrap_used)]

mod everything;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use std::fs;
use std::time::{Duration, Instant};

use everything::read_everything;

/// Marsaglia's xorshift: the seed is printed, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap()
    }
}

/// Overwrite, move or cut some bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        // The last bytes of a segment are its footer: half of all changes go there.
        let tail = bytes.len().min(2_000);
        let at = match random.below(2) {
            0 => random.below(bytes.len()),
            _ => bytes.len() - tail + random.below(tail),
        };
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => {
                let from = random.below(bytes.len());
                let length = random.below(200).min(bytes.len() - at.max(from));
                bytes.copy_within(from..from + length, at);
            }
            2 => bytes[at] = 0xFF,
            3 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.next().to_le_bytes()[3],
        }
        if bytes.is_empty() {
            return;
        }
    }
}

#[test]
fn changed_files_never_crash_a_reader() {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(1, |text| text.parse().unwrap());
    let seed = std::env::var("FUZZ_SEED").map_or(0x9E37_79B9, |text| text.parse().unwrap());
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    seeds::make(folder.path()).unwrap();
    let entries = fs::read_dir(folder.path()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let originals: Vec<_> = paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert_eq!(originals.len(), 5);
    let (start, mut rounds) = (Instant::now(), 0_u64);
    while start.elapsed() < Duration::from_secs(seconds) {
        for (path, bytes) in &originals {
            let mut changed = bytes.clone();
            mutate(&mut changed, &mut random);
            fs::write(path, &changed).unwrap();
            read_everything(path);
            rounds += 1;
        }
    }
    eprintln!("{rounds} files from seed {seed}");
}
