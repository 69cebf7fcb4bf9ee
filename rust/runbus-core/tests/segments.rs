//! A sealed journal tells what the journal told, whatever happens on the way.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use parquet::file::metadata::ParquetMetaDataWriter;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use proptest::prelude::*;
use runbus_core::Error;
use runbus_core::archive::{Wanted, aggregates, names, read};
use runbus_core::journal::{MetricReader, MetricWriter, Options, Span};
use runbus_core::segment::{Sealing, Segment, seal};
use runbus_core::series::{SeriesData, Steps};
use tempfile::TempDir;

/// Name, then step, time and bits of the value of each point.
type Told = Vec<(String, Vec<(i64, i64, u64)>)>;

fn told(files: &[PathBuf]) -> Told {
    let mut series = read(&[files.to_vec()], &Wanted::All, None).unwrap();
    // Names that first turn up in one row may change places when they have other rows, too.
    series.sort_by(|a, b| a.0.cmp(&b.0));
    let series = series.into_iter().map(|(name, data)| {
        let points = (0..data.len())
            .map(|at| (data.steps[at], data.times[at], data.values[at].to_bits()))
            .collect();
        (name.into_string(), points)
    });
    series.collect()
}

/// What each series amounts to, by name.
fn amounts(files: &[PathBuf]) -> Vec<String> {
    let series = aggregates(&[files.to_vec()]).unwrap();
    let mut texts: Vec<String> = series.iter().map(|one| format!("{one:?}")).collect();
    texts.sort();
    texts
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -5_i64..5,
        2 => any::<i64>(),
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
    ]
}

fn bits() -> impl Strategy<Value = u64> {
    let special = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        f64::MIN_POSITIVE / 3.0,
    ];
    prop_oneof![
        2 => any::<u64>(),
        1 => prop::sample::select(special.to_vec()).prop_map(f64::to_bits),
        1 => Just(0x7FF0_0000_0000_0001), // a signalling NaN
    ]
}

#[derive(Clone, Debug)]
struct Batch {
    names: Vec<String>,
    rows: Vec<(i64, i64, u64)>,
    /// Repeated so often that the rows get a file of their own, or not.
    times: usize,
}

fn rows() -> impl Strategy<Value = Vec<Batch>> {
    let names = prop::sample::select(vec![
        vec!["a"],
        vec!["b"],
        vec!["a", "b", "c"],
        vec!["c", "b"],
        vec!["step", "time"],
        vec!["Loss", "loss"],
        vec!["größe", "x y.z", "\n"],
    ]);
    let times = prop_oneof![3 => Just(1_usize), 1 => Just(300_usize)];
    let row = (number(), number(), bits());
    let rows = (names, prop::collection::vec(row, 0..6), times);
    let rows = rows.prop_map(|(names, rows, times)| Batch {
        names: names.into_iter().map(String::from).collect(),
        rows,
        times,
    });
    prop::collection::vec(rows, 0..12)
}

fn write(path: &Path, all: &[Batch], is_closed: bool) {
    let mut writer = MetricWriter::create(path, Options::default()).unwrap();
    for Batch { names, rows, times } in all {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let schema = writer.layout(&names).unwrap();
        for _ in 0..*times {
            for (step, time, bits) in rows {
                let values: Vec<f64> = (0..names.len() as u64)
                    .map(|column| f64::from_bits(bits.wrapping_add(column)))
                    .collect();
                writer.log(&schema, Some(*step), *time, &values).unwrap();
            }
        }
    }
    if is_closed {
        writer.close(1).unwrap().complete().unwrap();
    }
}

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("0f-7.journal");
    (folder, journal)
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn segments_tell_what_the_journal_told_bit_for_bit(rows in rows(), is_closed: bool) {
        let (_folder, journal) = place();
        write(&journal, &rows, is_closed);
        let before = told(std::slice::from_ref(&journal));
        let amounts = amounts(std::slice::from_ref(&journal));
        let segments = vec![seal(&journal).unwrap()];
        prop_assert!(!journal.exists());
        prop_assert_eq!(told(&segments), before);
        prop_assert_eq!(self::amounts(&segments), amounts);
        let about = Segment::open(&segments[0]).unwrap().about().clone();
        prop_assert_eq!(about.end_state, is_closed.then_some(1));
        prop_assert_eq!(about.writer_pid, std::process::id());
        prop_assert_eq!(about.segments, 1);
    }

    #[test]
    fn a_name_is_read_alone_as_among_all(rows in rows()) {
        let (_folder, journal) = place();
        write(&journal, &rows, true);
        let all = told(std::slice::from_ref(&journal));
        let segments = vec![seal(&journal).unwrap()];
        for (name, points) in all {
            let wanted = Wanted::Matching(vec![name]);
            let found = read(std::slice::from_ref(&segments), &wanted, None).unwrap();
            prop_assert_eq!(found.len(), 1);
            let steps: Vec<i64> = points.iter().map(|point| point.0).collect();
            prop_assert_eq!(&*found[0].1.steps, steps.as_slice());
        }
    }

    #[test]
    fn a_damaged_segment_is_an_error_or_other_values_but_never_a_crash(
        rows in rows(), at: prop::sample::Index, byte: u8, cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (_folder, journal) = place();
        write(&journal, &rows, true);
        let path = seal(&journal).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, &bytes).unwrap();
        let _ = read(&[vec![path]], &Wanted::All, None);
    }

    #[test]
    fn arbitrary_bytes_are_no_segment(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (folder, _) = place();
        let path = folder.path().join("x.0.parquet");
        let mut framed = b"PAR1".to_vec();
        framed.extend(&bytes);
        framed.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        framed.extend(b"PAR1");
        for content in [bytes, framed] {
            fs::write(&path, &content).unwrap();
            let is_refused = matches!(Segment::open(&path), Err(Error::BadSegment { .. }));
            prop_assert!(is_refused);
        }
    }
}

#[test]
fn large_series_read_back_across_row_groups_and_pages() {
    let (_folder, journal) = place();
    let mut writer = MetricWriter::create(&journal, Options::default()).unwrap();
    let schemas = [
        writer.layout(&["a"]).unwrap(),
        writer.layout(&["b"]).unwrap(),
    ];
    for step in 0..1_300_000 {
        let schema = &schemas[usize::from(step % 3 == 0)];
        #[allow(clippy::cast_precision_loss)]
        let value = step as f64 / 7.0;
        writer
            .log(schema, Some(step), step * 1_001, &[value])
            .unwrap();
    }
    drop(writer);
    let before = told(std::slice::from_ref(&journal));
    let segments = vec![seal(&journal).unwrap()];
    assert!(told(&segments) == before);
    for name in ["a", "b"] {
        let wanted = Wanted::Matching(vec![name.into()]);
        let found = read(std::slice::from_ref(&segments), &wanted, None).unwrap();
        let expected = before.iter().find(|(other, _)| other == name).unwrap();
        assert!(
            found[0]
                .1
                .steps
                .iter()
                .eq(expected.1.iter().map(|point| &point.0))
        );
    }
}

#[test]
fn names_keep_the_order_of_their_first_points() {
    for times in [1, 300] {
        let (_folder, journal) = place();
        let names = ["z", "a", "m"].map(String::from).to_vec();
        let rows = vec![(0, 0, 1); 6];
        write(&journal, &[Batch { names, rows, times }], true);
        let segments = vec![seal(&journal).unwrap()];
        let found = read(std::slice::from_ref(&segments), &Wanted::All, None).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["z", "a", "m"]);
        let found = aggregates(&[segments]).unwrap();
        let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["z", "a", "m"]);
    }
}

#[test]
fn a_journal_that_is_being_written_is_refused_and_left_alone() {
    let (folder, journal) = place();
    let mut writer = MetricWriter::create(&journal, Options::default()).unwrap();
    let schema = writer.layout(&["a"]).unwrap();
    writer.log(&schema, None, 0, &[0.5]).unwrap();
    assert!(matches!(seal(&journal), Err(Error::Locked(_))));
    assert_eq!(files(folder.path()), ["0f-7.journal"]);
    drop(writer);
    seal(&journal).unwrap();
    assert_eq!(files(folder.path()), ["0f-7.0.parquet"]);
}

#[test]
fn damage_of_the_journal_is_told_by_the_segment() {
    let (_folder, journal) = place();
    let row = vec![(1, 2, 3)];
    let rows = Batch {
        names: vec!["a".into()],
        rows: row,
        times: 3,
    };
    write(&journal, &[rows], true);
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.len() - 24 - 40;
    bytes[at + 16] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let segments = vec![seal(&journal).unwrap()];
    let about = Segment::open(&segments[0]).unwrap().about().clone();
    assert_eq!(
        about.damage,
        [Span {
            offset: at as u64,
            length: 40
        }]
    );
    assert_eq!(told(&segments)[0].1.len(), 2);
}

type Spoil = fn(&mut Vec<u8>);

/// What sealing must leave alone, by what is done to the bytes of a journal of three rows.
#[test]
fn a_journal_of_which_nothing_or_little_is_understood_is_kept() {
    let spoilt: [(&str, Spoil); 5] = [
        ("zeros", |bytes| bytes.fill(0)),
        ("nothing", Vec::clear),
        ("a cut header", |bytes| bytes.truncate(40)),
        ("no row", |bytes| bytes[64..].fill(0xA5)),
        ("much more damage than rows", |bytes| {
            bytes.extend(vec![0xA5; 1 << 18]);
        }),
    ];
    for (what, spoil) in spoilt {
        let (folder, journal) = place();
        let one = Batch {
            names: vec!["a".into()],
            rows: vec![(1, 2, 3)],
            times: 3,
        };
        write(&journal, &[one], true);
        let mut bytes = fs::read(&journal).unwrap();
        spoil(&mut bytes);
        fs::write(&journal, &bytes).unwrap();
        let result = seal(&journal);
        assert!(matches!(result, Err(Error::Kept { .. })), "{what}");
        assert!(fs::read(&journal).unwrap() == bytes, "{what}");
        assert_eq!(files(folder.path()), ["0f-7.journal"], "{what}");
    }
}

#[test]
fn a_journal_without_a_row_is_sealed_if_it_is_whole() {
    let (_folder, journal) = place();
    write(&journal, &[], true);
    let segment = seal(&journal).unwrap();
    assert!(!journal.exists());
    assert!(told(&[segment]).is_empty());
}

/// As where a copy of the folder was brought up to date, and what is gone there stayed here.
#[test]
fn a_journal_older_than_its_segment_does_not_replace_it() {
    let (folder, journal) = place();
    let mut one = Batch {
        names: vec!["a".into()],
        rows: vec![(1, 2, 3)],
        times: 3,
    };
    write(&journal, std::slice::from_ref(&one), false);
    let older = fs::read(&journal).unwrap();
    fs::remove_file(&journal).unwrap();
    one.times = 5;
    write(&journal, &[one], true);
    let segment = seal(&journal).unwrap();
    fs::write(&journal, older).unwrap();
    assert!(matches!(seal(&journal), Err(Error::Kept { .. })));
    assert_eq!(files(folder.path()), ["0f-7.0.parquet", "0f-7.journal"]);
    assert_eq!(told(&[segment])[0].1.len(), 5);
}

type Points = Vec<(i64, u64)>;

fn points_of(paths: &[PathBuf]) -> Option<Vec<(String, Points)>> {
    let series = read(&[paths.to_vec()], &Wanted::All, None)
        .ok()?
        .into_iter();
    let named = series.map(|(name, data)| {
        let values = data.values.iter().map(|value| value.to_bits());
        (
            name.into(),
            data.steps.iter().copied().zip(values).collect(),
        )
    });
    Some(named.collect())
}

/// A journal of several row groups: single points, and rows of two names.
fn several_row_groups(journal: &Path) {
    let mut writer = MetricWriter::create(journal, Options::default()).unwrap();
    let names = [&["loss"][..], &["lr"], &["acc", "norm"]];
    let schemas = names.map(|names| writer.layout(names).unwrap());
    for step in 0..210_000_i64 {
        let value = f64::from_bits(step.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let row = [value, value + 1.0];
        let schema = usize::try_from(step % 3).unwrap();
        let count = names[schema].len();
        let time = step * 1_001;
        writer
            .log(&schemas[schema], Some(step), time, &row[..count])
            .unwrap();
    }
    writer.close(0).unwrap().complete().unwrap();
}

/// Change one bit of the file in its place.
fn flip(file: &File, bytes: &[u8], at: usize, bit: u8) {
    file.write_all_at(&[bytes[at] ^ 1 << bit], at as u64)
        .unwrap();
}

#[test]
fn a_segment_with_any_bit_of_its_footer_flipped_is_refused() {
    let (_folder, journal) = place();
    several_row_groups(&journal);
    let path = seal(&journal).unwrap();
    let bytes = fs::read(&path).unwrap();
    let footer = u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap());
    let start = bytes.len() - 8 - footer as usize;
    let file = File::options().write(true).open(&path).unwrap();
    assert!(Segment::open(&path).unwrap().groups().count() > 1);
    let magic = 0..4;
    for at in magic.chain(start..bytes.len()) {
        for bit in 0..8 {
            flip(&file, &bytes, at, bit);
            let opened = Segment::open(&path);
            assert!(
                matches!(opened, Err(Error::BadSegment { .. })),
                "bit {bit} of byte {at}"
            );
        }
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert!(Segment::open(&path).unwrap().damage().unwrap().is_empty());
}

#[test]
fn a_flipped_bit_of_what_a_segment_holds_is_told_and_invents_nothing() {
    let (_folder, journal) = place();
    several_row_groups(&journal);
    let path = seal(&journal).unwrap();
    let whole = points_of(std::slice::from_ref(&path)).unwrap();
    let bytes = fs::read(&path).unwrap();
    let footer = u32::from_le_bytes(*bytes[bytes.len() - 8..].first_chunk().unwrap());
    let end = bytes.len() - 8 - footer as usize;
    let file = File::options().write(true).open(&path).unwrap();
    let mut lossy = 0;
    for (count, at) in (4..end).step_by(end / 16).enumerate() {
        flip(&file, &bytes, at, u8::try_from(count % 8).unwrap());
        let found = points_of(std::slice::from_ref(&path)).unwrap();
        let damage = Segment::open(&path).unwrap().damage().unwrap();
        assert_eq!(damage.len(), 1, "byte {at}");
        let (mut all, mut left) = (0, 0);
        for (name, points) in &whole {
            all += points.len();
            let Some((_, found)) = found.iter().find(|(known, _)| known == name) else {
                continue;
            };
            left += found.len();
            let mut rest = points.iter();
            assert!(found.iter().all(|point| rest.any(|other| other == point)));
        }
        // Other pages are read; names are in the footer, too.
        assert!(left > 0, "byte {at}: {left} of {all}");
        lossy += usize::from(left < all);
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    assert!(lossy > 8, "{lossy}");
}

/// Whatever else is whole: with another time a point is another one.
#[test]
fn the_rows_of_a_damaged_column_are_not_read_whichever_column_it_is() {
    let (_folder, journal) = place();
    several_row_groups(&journal);
    let path = seal(&journal).unwrap();
    let count = |path: &PathBuf| {
        let found = read(&[vec![path.clone()]], &Wanted::All, None).unwrap();
        found.iter().map(|(_, data)| data.len()).sum::<usize>()
    };
    let (bytes, all) = (fs::read(&path).unwrap(), count(&path));
    let parquet = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let group = parquet.metadata().row_group(0);
    let in_group = usize::try_from(group.num_rows()).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    for column in group.columns() {
        let name = column.column_descr().name();
        let (start, length) = column.byte_range();
        let at = usize::try_from(start + length - 1).unwrap();
        flip(&file, &bytes, at, 0);
        let lost = all - count(&path);
        // A page of it; names are in the footer, too.
        if name == "name" {
            assert_eq!(lost, 0);
        } else {
            assert!(
                lost > 0 && lost <= in_group / 2,
                "{name}: {lost} of {in_group}"
            );
        }
        assert_eq!(Segment::open(&path).unwrap().damage().unwrap().len(), 1);
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
}

/// The values of other names are on other pages, and whose are lost is reported.
#[test]
fn a_damaged_value_costs_points_of_its_metric_only() {
    let (_folder, journal) = place();
    let mut writer = MetricWriter::create(&journal, Options::default()).unwrap();
    let names: Vec<String> = (0..9).map(|number| format!("metric/{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let layout = writer.layout(&names).unwrap();
    for step in 0..200_u32 {
        let values: Vec<f64> = (1..10_u32)
            .map(|name| f64::from(step * name).sqrt())
            .collect();
        writer
            .log(&layout, Some(step.into()), step.into(), &values)
            .unwrap();
    }
    writer.close(0).unwrap().complete().unwrap();
    let path = seal(&journal).unwrap();
    let whole = points_of(std::slice::from_ref(&path)).unwrap();
    let bytes = fs::read(&path).unwrap();
    let parquet = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let group = parquet.metadata().row_group(0);
    let mut columns = group.columns().iter();
    let values = columns.find(|column| column.column_descr().name() == "value");
    let (start, length) = values.unwrap().byte_range();
    let file = File::options().write(true).open(&path).unwrap();
    let mut hit = Vec::new();
    for at in (start..start + length).step_by(211) {
        let at = usize::try_from(at).unwrap();
        flip(&file, &bytes, at, u8::try_from(at % 8).unwrap());
        let segment = Segment::open(&path).unwrap();
        let lost = segment.lost().unwrap();
        let [(name, 200)] = lost[..] else {
            panic!("byte {at}: {lost:?}");
        };
        let found = points_of(std::slice::from_ref(&path)).unwrap();
        let others = whole.iter().filter(|(known, _)| known != name);
        assert!(found.iter().eq(others), "byte {at}");
        // A name alone is read without a look at the others.
        for one in &names {
            let wanted = Wanted::Matching(vec![(*one).into()]);
            let found = read(&[vec![path.clone()]], &wanted, None).unwrap();
            assert_eq!(found.len(), usize::from(*one != name));
        }
        hit.push(name.to_owned());
        file.write_all_at(&bytes[at..=at], at as u64).unwrap();
    }
    hit.dedup();
    assert_eq!(hit, names);
}

/// Only its footer says so: what the checks cover is as it was.
#[test]
fn a_column_that_lies_nowhere_is_an_error() {
    let (_folder, journal) = place();
    let one = Batch {
        names: vec!["a".into()],
        rows: vec![(0, 0, 1)],
        times: 1,
    };
    write(&journal, &[one], true);
    let path = seal(&journal).unwrap();
    let metadata = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let metadata = metadata.metadata().clone();
    let group = metadata.row_group(0).clone();
    let columns = group.columns().iter().cloned().map(|column| {
        let column = column.into_builder().set_data_page_offset(-5);
        column.set_dictionary_page_offset(None).build().unwrap()
    });
    let columns = columns.collect();
    let group = group
        .into_builder()
        .set_column_metadata(columns)
        .build()
        .unwrap();
    let metadata = metadata.into_builder().set_row_groups(vec![group]).build();
    let mut file = File::options().append(true).open(&path).unwrap();
    ParquetMetaDataWriter::new(&mut file, &metadata)
        .finish()
        .unwrap();

    assert!(matches!(
        Segment::open(&path),
        Err(Error::BadSegment { .. })
    ));
    assert!(read(&[vec![path]], &Wanted::All, None).is_err());
}

/// Runs in a child process: seals as far as it is told, then dies as by `kill -9`.
#[test]
fn die_while_sealing() {
    let (Ok(journal), Ok(steps)) = (std::env::var("DIE_JOURNAL"), std::env::var("DIE_AFTER"))
    else {
        return;
    };
    let steps: usize = steps.parse().unwrap();
    let mut sealing = Sealing::begin(Path::new(&journal)).unwrap();
    if steps >= 1 {
        sealing.write().unwrap();
    }
    if steps >= 2 {
        sealing.publish().unwrap();
    }
    if steps >= 3 {
        sealing.remove_journal().unwrap();
    }
    // SAFETY: a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

#[test]
fn a_kill_between_any_steps_of_sealing_loses_nothing_and_repeats_nothing() {
    for steps in 0..=3 {
        let (folder, journal) = place();
        let row = vec![(1, 2, 3), (1, 2, 3)];
        let wide = Batch {
            names: vec!["a".into(), "b".into()],
            rows: row,
            times: 600,
        };
        let mut narrow = wide.clone();
        narrow.names.truncate(1);
        write(&journal, &[wide, narrow], true);
        let before = told(std::slice::from_ref(&journal));
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["die_while_sealing", "--exact"])
            .env("DIE_JOURNAL", &journal)
            .env("DIE_AFTER", steps.to_string())
            .output()
            .unwrap()
            .status;
        assert!(!status.success());
        let segments = |folder: &Path| -> Vec<PathBuf> {
            let names = files(folder).into_iter();
            let names = names.filter(|name| !name.starts_with('.') && name.ends_with(".parquet"));
            names.map(|name| folder.join(name)).collect()
        };
        assert_eq!(journal.exists(), steps < 3);
        // What a reader goes by: the journal while it is there, then the segments.
        if journal.exists() {
            assert_eq!(told(std::slice::from_ref(&journal)), before);
            seal(&journal).unwrap();
        }
        assert_eq!(told(&segments(folder.path())), before);
        assert_eq!(files(folder.path()), ["0f-7.0.parquet"]);
        assert!(MetricReader::open(&journal).is_err());
    }
}

/// Rows of many names and sets of names by turns: more than wait at a time.
#[test]
fn a_journal_that_takes_several_windows_reads_back() {
    let (_folder, journal) = place();
    let mut writer = MetricWriter::create(&journal, Options::default()).unwrap();
    let mut sets: Vec<Vec<String>> = vec![(0..8).map(|at| format!("wide {at}")).collect()];
    sets.extend((0..3).map(|at| vec![format!("long {at}")]));
    sets.extend((0..41).map(|at| vec![format!("a {at}"), format!("b {at}")]));
    let schemas: Vec<_> = sets
        .iter()
        .map(|names| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            (writer.layout(&names).unwrap(), names.len())
        })
        .collect();
    let mut log = |which: usize, step: i32| {
        let (schema, columns) = &schemas[which];
        let value = f64::from(step) / 7.0;
        let values: Vec<f64> = (0..*columns).map(|_| value).collect();
        let time = i64::from(step) * 1_000;
        writer
            .log(schema, Some(i64::from(step)), time, &values)
            .unwrap();
    };
    for step in 0..70_000 {
        log(0, step);
        log(
            1 + usize::from(step % 5 == 0) + usize::from(step % 20 == 0),
            step,
        );
        if step < 50_000 {
            log(4 + usize::try_from(step % 40).unwrap(), step);
        }
        if step % 30_000 == 7 {
            log(44, step);
        }
    }
    drop(writer);
    let before = told(std::slice::from_ref(&journal));
    let amounts = amounts(std::slice::from_ref(&journal));
    let segments = vec![seal(&journal).unwrap()];
    assert!(told(&segments) == before);
    assert_eq!(self::amounts(&segments), amounts);
    let groups = Segment::open(&segments[0]).unwrap().groups().count();
    assert!(groups > 1, "one window would hold it");
}

#[test]
fn a_journal_that_changes_while_it_is_sealed_is_left_alone() {
    let (folder, journal) = place();
    let batch = Batch {
        names: vec!["a".into()],
        rows: vec![(1, 2, 3)],
        times: 3,
    };
    write(&journal, &[batch], true);
    let mut sealing = Sealing::begin(&journal).unwrap();
    let file = fs::File::options().write(true).open(&journal).unwrap();
    let bytes = file.metadata().unwrap().len();
    file.write_all_at(&[0xFF], bytes - 24 - 40 + 16).unwrap();
    assert!(matches!(sealing.write(), Err(Error::Locked(_))));
    drop(sealing);
    assert!(journal.exists());
    assert!(
        !files(folder.path())
            .iter()
            .any(|name| name.ends_with(".parquet"))
    );
}

#[test]
fn several_sealers_at_a_time_leave_a_whole_segment() {
    for round in 0..40_u64 {
        let (folder, journal) = place();
        let one = Batch {
            names: vec!["a".into(), "b".into()],
            rows: vec![(1, 2, 3), (4, 5, 6)],
            times: 2_000,
        };
        write(&journal, &[one], true);
        let before = told(std::slice::from_ref(&journal));
        let sealed: Vec<_> = thread::scope(|scope| {
            let sealers: Vec<_> = (0..3_u64)
                .map(|which| {
                    let journal = &journal;
                    scope.spawn(move || {
                        thread::sleep(Duration::from_micros(which * round * 150));
                        seal(journal)
                    })
                })
                .collect();
            sealers
                .into_iter()
                .map(|sealer| sealer.join().unwrap())
                .collect()
        });
        // Who comes late finds no journal; nobody finds anything else.
        for result in sealed {
            match result {
                Ok(_) => {}
                Err(Error::Io { source, .. }) => {
                    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(files(folder.path()), ["0f-7.0.parquet"]);
        let segment = folder.path().join("0f-7.0.parquet");
        assert!(
            Segment::open(&segment)
                .unwrap()
                .damage()
                .unwrap()
                .is_empty()
        );
        assert!(told(&[segment]) == before);
    }
}

#[test]
fn the_journal_stays_when_what_was_published_does_not_read_back() {
    let (folder, journal) = place();
    let one = Batch {
        names: vec!["a".into()],
        rows: vec![(1, 2, 3)],
        times: 300,
    };
    write(&journal, &[one], true);
    let mut sealing = Sealing::begin(&journal).unwrap();
    sealing.write().unwrap();
    sealing.publish().unwrap();
    let segment = folder.path().join("0f-7.0.parquet");
    let bytes = fs::read(&segment).unwrap();
    let file = File::options().write(true).open(&segment).unwrap();
    flip(&file, &bytes, 40, 0);
    assert!(matches!(
        sealing.remove_journal(),
        Err(Error::BadSegment { .. })
    ));
    assert!(journal.exists());
    let segment = seal(&journal).unwrap();
    assert_eq!(told(&[segment])[0].1.len(), 300);
}

/// As `fcntl(F_OFD_SETLK)` of another process or container does it.
fn lock(file: &File) {
    // SAFETY: all zeros is a valid flock: the whole file.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = i16::try_from(libc::F_WRLCK).unwrap();
    // SAFETY: the descriptor is open, and the kernel reads one flock during the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const whole) };
    assert_eq!(result, 0);
}

#[test]
fn what_other_sealers_are_writing_is_left_to_them_and_what_dead_ones_left_is_removed() {
    let (folder, journal) = place();
    let one = Batch {
        names: vec!["a".into()],
        rows: vec![(1, 2, 3)],
        times: 3,
    };
    write(&journal, &[one], true);
    let make = |name: &str| File::create(folder.path().join(name)).unwrap();
    // No process here has either number.
    let live = make(".0f-7.0.parquet.4194305.new");
    lock(&live);
    make(".0f-7.0.parquet.4194306.new");
    make(".0f-7.1.parquet.00000000000000ff.new");
    make(".0f-70.0.parquet.1.new");
    make("0f-7.new");
    seal(&journal).unwrap();
    assert_eq!(
        files(folder.path()),
        [
            ".0f-7.0.parquet.4194305.new",
            ".0f-70.0.parquet.1.new",
            "0f-7.0.parquet",
            "0f-7.new"
        ]
    );
}

#[test]
fn a_link_or_a_pipe_in_place_of_a_file_is_refused_at_once() {
    let (folder, journal) = place();
    write(&journal, &[], true);
    let segment = seal(&journal).unwrap();
    for name in ["x.0.parquet", "x.journal"] {
        let path = folder.path().join(name);
        symlink(&segment, &path).unwrap();
        assert!(read(&[vec![path.clone()]], &Wanted::All, None).is_err());
        fs::remove_file(&path).unwrap();
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a text that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        assert!(read(&[vec![path]], &Wanted::All, None).is_err());
    }
}

#[test]
fn only_the_steps_that_are_wanted_are_read_and_names_without_any_stay() {
    let (_folder, journal) = place();
    several_row_groups(&journal);
    let steps = Steps {
        first: 209_000,
        end: Some(209_500),
        stride: 2,
    };
    let files = vec![vec![journal.clone()]];
    let expected = read(&files, &Wanted::All, Some(&steps)).unwrap();
    let segment = seal(&journal).unwrap();
    let found = read(&[vec![segment.clone()]], &Wanted::All, Some(&steps)).unwrap();
    let points = |all: &[(Box<str>, SeriesData)]| -> Vec<(Box<str>, Vec<i64>)> {
        let each = all.iter();
        each.map(|(name, data)| (name.clone(), data.steps.to_vec()))
            .collect()
    };
    assert_eq!(points(&found), points(&expected));
    let nothing = Steps {
        first: 300_000,
        end: None,
        stride: 1,
    };
    let found = read(&[vec![segment]], &Wanted::All, Some(&nothing)).unwrap();
    assert!(found.len() == 4 && found.iter().all(|(_, data)| data.is_empty()));
}

#[test]
fn the_names_in_the_footers_are_those_of_the_series_in_their_order() {
    let (_folder, journal) = place();
    several_row_groups(&journal);
    let in_journal = names(&[vec![journal.clone()]]).unwrap();
    let segment = seal(&journal).unwrap();
    let in_segment = names(&[vec![segment.clone()]]).unwrap();
    let read = read(&[vec![segment]], &Wanted::All, None).unwrap();
    let read: Vec<Box<str>> = read.into_iter().map(|(name, _)| name).collect();
    assert_eq!(in_segment, read);
    assert_eq!(in_journal, read);
}

#[test]
fn the_names_of_a_journal_are_those_of_its_series_wherever_it_is_cut() {
    let (folder, journal) = place();
    let mut writer = MetricWriter::create(&journal, Options::default()).unwrap();
    for (name, step) in [("first", 0), ("other", 0), ("first", 1)] {
        let layout = writer.layout(&[name]).unwrap();
        writer.log(&layout, Some(step), step, &[0.5]).unwrap();
    }
    let whole = fs::read(&journal).unwrap();
    let cut = folder.path().join("cut.journal");
    let mut seen = Vec::new();
    for length in 64..=320 {
        fs::write(&cut, &whole[..length]).unwrap();
        let files = [vec![cut.clone()]];
        let read = read(&files, &Wanted::All, None).unwrap();
        let read: Vec<Box<str>> = read.into_iter().map(|(name, _)| name).collect();
        // Of what is cut behind a name that was introduced there is no point.
        assert_eq!(names(&files).unwrap(), read, "{length} bytes");
        seen.push(read.len());
    }
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
}
