//! Readers against files that were changed at random, for `FUZZ_SECONDS`. `make fuzz` looks for more.
#![allow(missing_docs, clippy::unwrap_used)]

mod everything;
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use std::fs;
use std::time::{Duration, Instant};

use everything::read_everything;
use xxhash_rust::xxh3::xxh3_64;

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

/// How a journal begins.
const JOURNAL: &[u8] = b"\x89RUNBUS\n";

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

/// Give the records of a journal the checks that they would have: what lies behind is reached only so.
fn check_anew(bytes: &mut [u8]) -> u64 {
    let (mut at, mut records) = (64, 0);
    while let Some(word) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let bits = u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
        let end = at + 8 * (1 + usize::try_from(bits >> 8).unwrap());
        let Some(payload) = bytes.get(at + 8..end) else {
            break;
        };
        let place = (at as u64 ^ bits.rotate_left(32)).wrapping_mul(0x9E37_79B1_85EB_CA87);
        let mixed = xxh3_64(payload) ^ place;
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        let check = u32::try_from(mixed >> 32).unwrap();
        bytes[at + 4..at + 8].copy_from_slice(&check.to_le_bytes());
        (at, records) = (end, records + 1);
    }
    records
}

#[test]
fn checks_that_are_made_anew_are_those_that_were_there() {
    let folder = tempfile::tempdir().unwrap();
    seeds::make(folder.path()).unwrap();
    let journal = fs::read(folder.path().join("long-journal")).unwrap();
    let mut again = journal.clone();

    assert!(check_anew(&mut again) > 80);
    assert_eq!(again, journal);
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
            if random.below(2) == 0 && changed.starts_with(JOURNAL) {
                check_anew(&mut changed);
            }
            fs::write(path, &changed).unwrap();
            read_everything(path);
            rounds += 1;
        }
    }
    eprintln!("{rounds} files from seed {seed}");
}
