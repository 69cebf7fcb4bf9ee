//! What a row costs from Rust: `cargo bench -p runbus-core`. Median of batches of 1,000, in ns.
#![allow(missing_docs, clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use runbus_core::clock::unix_ns;
use runbus_core::journal::{MetricWriter, Options};
use xxhash_rust::xxh3::xxh3_64;

const BATCH: i64 = 1_000;
const BATCHES: usize = 400;

fn median_ns(name: &str, mut call: impl FnMut(i64)) {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            (0..BATCH).for_each(&mut call);
            start.elapsed().as_secs_f64() * 1e9 / 1e3
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    println!(
        "{name:34} {:7.1}   min {:7.1}",
        batches[BATCHES / 2],
        batches[0]
    );
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let values = [0.5_f64; 20];
    for (mode, is_mapped) in [("mapped", true), ("pwrite", false)] {
        let path = folder.path().join(mode);
        let mut writer = MetricWriter::create(
            &path,
            Options {
                is_mapped,
                ..Options::default()
            },
        )?;
        let one = writer.layout(&["loss"])?;
        let names: Vec<String> = (0..20).map(|index| format!("metric_{index}")).collect();
        let twenty = writer.layout(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        median_ns(&format!("{mode}: row of 1, no clock"), |step| {
            black_box(writer.log(&one, Some(step), step, &values[..1]).is_ok());
        });
        median_ns(&format!("{mode}: row of 1"), |step| {
            black_box(
                writer
                    .log(&one, Some(step), unix_ns(), &values[..1])
                    .is_ok(),
            );
        });
        median_ns(&format!("{mode}: row of 20, no clock"), |step| {
            black_box(writer.log(&twenty, Some(step), step, &values).is_ok());
        });
    }
    median_ns("clock", |_| {
        black_box(unix_ns());
    });
    let bytes = [7_u8; 184];
    median_ns("xxh3 of 32 bytes", |_| {
        black_box(xxh3_64(black_box(&bytes[..32])));
    });
    median_ns("xxh3 of 184 bytes", |_| {
        black_box(xxh3_64(black_box(&bytes)));
    });
    Ok(())
}
