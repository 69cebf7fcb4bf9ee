//! Writers and followers side by side, restarts, locks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runbus_core::Error;
use runbus_core::archive::{Wanted, read};
use runbus_core::journal::{
    BlobReader, BlobWriter, MAX_PAYLOAD_BYTES, MetricReader, MetricWriter, Options, Outcome, Steps,
};
use tempfile::tempdir;

const MAPPED: Options = Options {
    is_mapped: true,
    sync_every: Some(Duration::from_millis(100)),
    ends_with_process: false,
    is_locked: true,
};
const PLAIN: Options = Options {
    is_mapped: false,
    ..MAPPED
};

fn steps(columns: &[u8]) -> Vec<i64> {
    columns
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| i64::from_le_bytes(*bytes))
        .collect()
}

/// What a follower has seen is never more than was committed, and everything that was committed
/// before the follower looked.
fn follow(path: &Path, rows: u64, options: Options) {
    let mut writer = MetricWriter::create(path, options).unwrap();
    let committed = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let schemas: Vec<_> = (0..50)
                .map(|index| writer.layout(&[&format!("m{index}")]).unwrap())
                .collect();
            for row in 0..rows {
                let schema = &schemas[usize::try_from(row % 50).unwrap()];
                writer.log(schema, None, 0, &[0.5]).unwrap();
                committed.store(row + 1, Ordering::Release);
            }
        });
        let mut reader = MetricReader::open(path).unwrap();
        let mut seen = Vec::new();
        while (seen.len() as u64) < rows {
            let before = committed.load(Ordering::Acquire);
            let points = reader.poll(usize::MAX).unwrap();
            seen.extend(steps(&points.steps));
            assert!(seen.len() as u64 >= before, "{} of {before}", seen.len());
        }
        let rows = i64::try_from(rows).unwrap();
        assert!(seen.iter().copied().eq(0..rows));
        assert!(reader.damage().is_empty());
    });
}

#[test]
fn a_follower_sees_exactly_the_committed_prefix() {
    let folder = tempdir().unwrap();
    follow(&folder.path().join("mapped"), 300_000, MAPPED);
    follow(&folder.path().join("plain"), 30_000, PLAIN);
}

#[test]
fn a_batch_read_beside_a_writer_reports_no_damage() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..400_000 {
                writer.log(&schema, None, 0, &[0.5]).unwrap();
            }
        });
        let mut count = 0;
        while count < 400_000 {
            let mut found = read(&[vec![path.clone()]], &Wanted::All, None).unwrap();
            let found = found.pop().map(|(_, data)| data.steps).unwrap_or_default();
            assert!(found.len() >= count && found.iter().copied().eq((0..).take(found.len())));
            count = found.len();
        }
        let mut reader = MetricReader::open(&path).unwrap();
        assert!(reader.check().unwrap().is_empty());
    });
}

#[test]
fn ten_points_make_a_small_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    for _ in 0..10 {
        writer.log(&schema, None, 0, &[0.5]).unwrap();
    }
    assert!(fs::metadata(&path).unwrap().len() <= 1 << 20);
    writer.close(1).unwrap().complete().unwrap();

    assert!(fs::metadata(&path).unwrap().len() < 1000);
    assert_eq!(
        MetricReader::open(&path).unwrap().end_state().unwrap(),
        Some(1)
    );
    assert!(writer.close(1).is_none());
    assert!(matches!(
        writer.log(&schema, None, 0, &[0.5]),
        Err(Error::Closed)
    ));
}

#[test]
fn the_automatic_step_follows_the_last_one_and_stops_at_the_greatest() {
    let folder = tempdir().unwrap();
    let mut writer = MetricWriter::create(&folder.path().join("journal"), MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    for step in [None, Some(-7), None, Some(i64::MIN), None, Some(i64::MAX)] {
        assert_eq!(
            writer.log(&schema, step, 0, &[0.5]).unwrap(),
            Outcome::Accepted
        );
    }
    assert!(matches!(
        writer.log(&schema, None, 0, &[0.5]),
        Err(Error::StepOverflow)
    ));

    let mut reader = MetricReader::open(&folder.path().join("journal")).unwrap();
    let found = steps(&reader.poll(100).unwrap().steps);
    assert_eq!(found, [0, -7, -6, i64::MIN, i64::MIN + 1, i64::MAX]);
}

#[test]
fn a_clock_that_steps_back_changes_neither_order_nor_times() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    let times = [5_000, 6_000, 10, i64::MIN, -1, 7_000];
    for time_ns in times {
        writer.log(&schema, None, time_ns, &[0.5]).unwrap();
    }
    let (_, columns) = read(&[vec![path]], &Wanted::All, None).unwrap().remove(0);
    assert_eq!(&columns.times[..], times);
    assert_eq!(&columns.steps[..], [0, 1, 2, 3, 4, 5]);
}

#[test]
fn the_background_threads_tend_all_writers() {
    let keepers = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.trim() == "runbus-pages").count()
    };
    let folder = tempdir().unwrap();
    let make = |name: &str| MetricWriter::create(&folder.path().join(name), MAPPED).unwrap();
    let mut writers = [make("a"), make("b"), make("c")];
    for writer in &mut writers {
        let schema = writer.layout(&["loss"]).unwrap();
        for _ in 0..100_000 {
            writer.log(&schema, None, 0, &[0.5]).unwrap();
        }
    }
    // Other tests of this process may have writers, too. A thread has its name once it runs, and one that
    // ends still has it.
    let start = Instant::now();
    while keepers() != 1 {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{} threads",
            keepers()
        );
        thread::sleep(Duration::from_millis(5));
    }
    for mut writer in writers {
        writer.close(0).unwrap().complete().unwrap();
    }
}

/// The background thread clears pieces ahead of a fast writer, which may be there before it.
#[test]
fn what_is_cleared_ahead_is_never_what_was_written() {
    const POINTS: usize = 150_000;
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    let mut reader = MetricReader::open(&path).unwrap();
    let mut expected = 0;
    for round in 0..100_u64 {
        let values: Vec<f64> = (0..POINTS as u64)
            .map(|index| f64::from_bits(round + index))
            .collect();
        let written = writer.extend(schema.single().unwrap(), Steps::Automatic, 0, &values[..]);
        assert_eq!(written.unwrap(), POINTS);
        if round % 10 == 0 {
            // The writer is caught up with now and then, and then not.
            thread::yield_now();
        }
        expected += POINTS;
    }
    writer.close(0).unwrap().complete().unwrap();
    let mut found = 0;
    loop {
        let points = reader.poll(POINTS).unwrap();
        if points.count == 0 {
            break;
        }
        for (index, value) in steps(&points.values).into_iter().enumerate() {
            let (round, index) = ((found + index) / POINTS, (found + index) % POINTS);
            assert_eq!(usize::try_from(value).unwrap(), round + index);
        }
        found += points.count;
    }
    assert_eq!(found, expected);
    assert!(reader.damage().is_empty());
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut first = BlobWriter::open(&path, MAPPED).unwrap();
    first.append(b"one").unwrap();
    assert!(matches!(
        BlobWriter::open(&path, MAPPED),
        Err(Error::Locked(_))
    ));
    assert!(matches!(
        BlobWriter::create(&path, MAPPED),
        Err(Error::Io { .. })
    ));
    first.close().unwrap().complete().unwrap();

    BlobWriter::open(&path, MAPPED)
        .unwrap()
        .append(b"two")
        .unwrap();
    let blobs = BlobReader::open(&path, 0).unwrap().poll(10, 1000).unwrap();
    assert_eq!(
        blobs.iter().map(|(_, blob)| &blob[..]).collect::<Vec<_>>(),
        [b"one", b"two"]
    );
}

#[test]
fn appending_cuts_the_torn_tail_and_keeps_what_is_whole() {
    let folder = tempdir().unwrap();
    for options in [MAPPED, PLAIN] {
        let path = folder.path().join(format!("{options:?}"));
        let mut writer = BlobWriter::open(&path, options).unwrap();
        let last = [b"a", b"b", b"c"].map(|blob| writer.append(blob).unwrap())[2];
        drop(writer);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(last + 12).unwrap();
        let mut writer = BlobWriter::open(&path, options).unwrap();

        assert_eq!(writer.append(b"d").unwrap(), last);
        let mut reader = BlobReader::open(&path, 0).unwrap();
        let blobs = reader.poll(10, 1000).unwrap();
        assert_eq!(
            blobs.iter().map(|(_, blob)| &blob[..]).collect::<Vec<_>>(),
            [b"a", b"b", b"d"]
        );
        assert!(reader.damage().is_empty());
    }
}

#[test]
fn a_journal_that_was_only_begun_is_begun_again() {
    let folder = tempdir().unwrap();
    for length in [0_u8, 1, 30, 64] {
        let path = folder.path().join(length.to_string());
        fs::write(&path, vec![0; usize::from(length)]).unwrap();
        let mut reader = BlobReader::open(&path, 0).unwrap();
        assert!(reader.poll(10, 1000).unwrap().is_empty());
        BlobWriter::open(&path, MAPPED)
            .unwrap()
            .append(b"x")
            .unwrap();
        assert_eq!(reader.poll(10, 1000).unwrap().len(), 1);
    }
}

#[test]
fn other_files_are_refused_and_left_alone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "not a journal ".repeat(10);
    fs::write(&path, &text).unwrap();
    assert!(matches!(
        BlobWriter::open(&path, MAPPED),
        Err(Error::NotAJournal(_))
    ));
    assert!(matches!(
        MetricReader::open(&path),
        Err(Error::NotAJournal(_))
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let path = folder.path().join("metrics");
    drop(MetricWriter::create(&path, MAPPED).unwrap());
    assert!(matches!(
        BlobReader::open(&path, 0),
        Err(Error::WrongKind { .. })
    ));
    assert!(matches!(
        BlobWriter::open(&path, MAPPED),
        Err(Error::WrongKind { .. })
    ));
}

#[test]
fn an_event_journal_of_which_no_record_can_be_read_is_left_alone() {
    let folder = tempdir().unwrap();
    for (name, from) in [("whole header", 64), ("no header", 0), ("cut header", 8)] {
        let path = folder.path().join(name);
        let mut writer = BlobWriter::open(&path, MAPPED).unwrap();
        writer.append(b"the only record").unwrap();
        drop(writer);
        let mut bytes = fs::read(&path).unwrap();
        bytes[from..64].fill(0);
        bytes[80] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let result = BlobWriter::open(&path, MAPPED);
        assert!(matches!(result, Err(Error::Kept { .. })), "{name}");
        assert!(fs::read(&path).unwrap() == bytes, "{name}");
    }
}

#[test]
fn large_records_get_a_piece_of_their_own() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let sizes = [10, 70_000, 3, 9_000_000, 5_000_000, 1];
    let mut writer = BlobWriter::open(&path, MAPPED).unwrap();
    for size in sizes {
        writer.append(&vec![1; size]).unwrap();
    }
    let mut reader = BlobReader::open(&path, 0).unwrap();
    let found = reader.poll(10, usize::MAX).unwrap();
    assert_eq!(
        found.iter().map(|(_, blob)| blob.len()).collect::<Vec<_>>(),
        sizes
    );

    let result = writer.append(&vec![0; MAX_PAYLOAD_BYTES - 7]);
    assert!(matches!(result, Err(Error::TooLarge { .. })));
}

#[test]
fn a_hole_is_stepped_over_when_all_is_read() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, PLAIN).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    for _ in 0..1000 {
        writer.log(&schema, None, 0, &[0.5]).unwrap();
    }
    drop(writer);
    // A page that never reached the disk.
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&[0; 4096], 8192)
        .unwrap();
    let mut reader = MetricReader::open(&path).unwrap();
    let count = reader.frames(&|_| true).unwrap().long.values.len();
    assert!((890..900).contains(&count), "{count}");
    assert_eq!(reader.damage().len(), 1);
}

#[test]
fn a_damaged_schema_is_found_again_in_a_later_piece() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["loss"]).unwrap();
    for _ in 0..5000 {
        writer.log(&schema, None, 0, &[0.5]).unwrap();
    }
    drop(writer);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_all_at(&[0xFF], 80)
        .unwrap();
    let mut reader = MetricReader::open(&path).unwrap();
    assert_eq!(reader.frames(&|_| true).unwrap().long.values.len(), 5000);
    assert_eq!(reader.damage().len(), 1);
}

#[test]
fn a_cursor_can_be_kept_and_taken_up_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let schema = writer.layout(&["a", "b"]).unwrap();
    for _ in 0..100 {
        writer.log(&schema, None, 0, &[0.5, 1.5]).unwrap();
    }
    let mut reader = MetricReader::open(&path).unwrap();
    assert_eq!(reader.poll(59).unwrap().count, 60);
    let position = reader.position();

    let mut other = MetricReader::open(&path).unwrap();
    other.seek(position).unwrap();
    assert_eq!(steps(&other.poll(2).unwrap().steps), [30, 30]);
    assert_eq!(other.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(matches!(
        other.seek(position + 8),
        Err(Error::BadPosition { .. })
    ));
    assert!(matches!(
        other.seek(1 << 40),
        Err(Error::BadPosition { .. })
    ));
    other.seek(0).unwrap();
    assert_eq!(other.poll(usize::MAX).unwrap().count, 200);
}

#[test]
fn a_writer_is_live_until_it_is_closed_or_gone() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, MAPPED).unwrap();
    let reader = MetricReader::open(&path).unwrap();
    assert_eq!(reader.writer_pid(), Some(std::process::id()));
    assert!(reader.is_live().unwrap());
    writer.close(0).unwrap().complete().unwrap();
    assert!(!reader.is_live().unwrap());
}

#[test]
fn behind_a_damaged_record_a_column_is_found_again() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut writer = MetricWriter::create(&path, PLAIN).unwrap();
    let name = writer.name("x").unwrap().unwrap();
    let layout = writer.layout(&["x"]).unwrap();
    writer.log(&layout, Some(7), 0, &[0.25]).unwrap();
    writer
        .extend(name, Steps::Automatic, 0, &[0.5; 10][..])
        .unwrap();
    drop(writer);
    // The step of the row, behind header and schema.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xFF], 64 + 24 + 16).unwrap();
    let mut reader = MetricReader::open(&path).unwrap();
    assert_eq!(reader.poll(100).unwrap().count, 10);
    assert_eq!(reader.damage().len(), 1);
}
