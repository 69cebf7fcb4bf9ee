//! What holds for any sequence of writes, any cut, any flipped bit and any bytes at all.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runbus_core::archive::{Wanted, read};
use runbus_core::journal::{
    BlobReader, BlobWriter, HEADER_BYTES, Kind, MetricReader, MetricWriter, Options, Steps,
};
use tempfile::TempDir;

/// Name, step, time and the bits of the value.
type Point = (String, i64, i64, u64);

#[derive(Clone, Debug)]
struct Row {
    names: Vec<String>,
    step: i64,
    time_ns: i64,
    bits: Vec<u64>,
}

impl Row {
    fn points(&self) -> impl Iterator<Item = Point> {
        let named = self.names.iter().cloned().zip(&self.bits);
        named.map(|(name, bits)| (name, self.step, self.time_ns, *bits))
    }
}

/// Rows under a few sets of names, so that sets repeat; sometimes large ones, so that pieces fill.
fn rows(count: usize) -> impl Strategy<Value = Vec<Row>> {
    let size = prop_oneof![8 => 1_usize..6, 1 => 300_usize..900];
    let row = (
        size,
        any::<bool>(),
        any::<i64>(),
        any::<i64>(),
        any::<u64>(),
    );
    let row = row.prop_map(|(size, is_long, step, time_ns, seed)| Row {
        names: (0..size).map(|index| name(index, is_long)).collect(),
        step,
        time_ns,
        bits: (0..size as u64)
            .map(|index| seed.wrapping_mul(index * 2 + 1))
            .collect(),
    });
    prop::collection::vec(row, 0..count)
}

fn name(index: usize, is_long: bool) -> String {
    if is_long {
        format!("größe/{index:08}")
    } else {
        format!("m{index}")
    }
}

fn options(is_mapped: bool) -> Options {
    Options {
        is_mapped,
        ..Options::default()
    }
}

fn write(path: &Path, rows: &[Row], options: Options) -> MetricWriter {
    let mut writer = MetricWriter::create(path, options).unwrap();
    for row in rows {
        let names: Vec<&str> = row.names.iter().map(String::as_str).collect();
        let values: Vec<f64> = row.bits.iter().map(|bits| f64::from_bits(*bits)).collect();
        let schema = writer.layout(&names).unwrap();
        writer
            .log(&schema, Some(row.step), row.time_ns, &values)
            .unwrap();
    }
    writer
}

fn poll_all(reader: &mut MetricReader, max_points: usize) -> Vec<Point> {
    let mut found = Vec::new();
    loop {
        let points = reader.poll(max_points).unwrap();
        if points.count == 0 {
            return found;
        }
        let names: Vec<&str> = reader.names().collect();
        for index in 0..points.count {
            let word = |column: &[u8]| -> [u8; 8] { *column[index * 8..].first_chunk().unwrap() };
            let series = u32::from_le_bytes(*points.series[index * 4..].first_chunk().unwrap());
            found.push((
                names[series as usize].to_owned(),
                i64::from_le_bytes(word(&points.steps)),
                i64::from_le_bytes(word(&points.times)),
                u64::from_le_bytes(word(&points.values)),
            ));
        }
    }
}

fn batch_count(reader: &mut MetricReader) -> usize {
    let frames = reader.frames(&|_| true).unwrap();
    let wide = frames.wide.iter().flat_map(|frame| &frame.values);
    frames.long.values.len() + wide.map(Vec::len).sum::<usize>()
}

/// Offset, kind and bytes of each record, by the specification and not by our reader.
fn records(bytes: &[u8]) -> Vec<(usize, u8, usize)> {
    let mut offset = usize::try_from(HEADER_BYTES).unwrap();
    let mut found = Vec::new();
    while let Some(word) = bytes.get(offset..).and_then(|rest| rest.first_chunk::<8>()) {
        let [kind, a, b, c, ..] = *word;
        if kind == 0 {
            break;
        }
        let length = 8 + 8 * u32::from_le_bytes([a, b, c, 0]) as usize;
        found.push((offset, kind, length));
        offset += length;
    }
    found
}

fn schema_id(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(*bytes[offset + 8..].first_chunk().unwrap())
}

struct Place {
    _folder: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    Place {
        _folder: folder,
        path,
    }
}

fn blobs_of(path: &Path) -> (Vec<Vec<u8>>, usize) {
    let mut reader = BlobReader::open(path, 0).unwrap();
    let blobs = reader.poll(usize::MAX, usize::MAX).unwrap();
    (
        blobs.into_iter().map(|(_, blob)| blob).collect(),
        reader.damage().len(),
    )
}

/// What one of several writers does at once.
#[derive(Clone, Debug)]
enum Entry {
    Row(usize),
    Column(usize),
}

/// How a file suffers.
#[derive(Clone, Debug)]
enum Harm {
    Cut(prop::sample::Index),
    Flip(prop::sample::Index),
}

/// Write under this time; the values are the numbers of the points. Returns the points by record.
fn write_entry(writer: &mut MetricWriter, entry: &Entry, time: i64, next: u64) -> Vec<Vec<Point>> {
    let (schema, points): (_, Vec<Point>) = match *entry {
        Entry::Row(size) => {
            let names: Vec<String> = (0..size).map(|index| name(index, false)).collect();
            let texts: Vec<&str> = names.iter().map(String::as_str).collect();
            let points = names.iter().cloned().zip(next..);
            (
                writer.layout(&texts).unwrap(),
                points
                    .map(|(name, bits)| (name, -time, time, bits))
                    .collect(),
            )
        }
        Entry::Column(count) => {
            let points = (0..count as u64).map(|index| {
                // By turns steps that are regular and steps that are not.
                let step = time + index.cast_signed() * if count % 2 == 0 { 3 } else { 1 };
                let step = if count % 3 == 0 { step ^ 5 } else { step };
                ("m0".to_owned(), step, time, next + index)
            });
            (writer.layout(&["m0"]).unwrap(), points.collect())
        }
    };
    let values: Vec<u64> = points.iter().map(|point| point.3.to_le()).collect();
    if matches!(entry, Entry::Row(_)) {
        let row: Vec<f64> = values.iter().map(|bits| f64::from_bits(*bits)).collect();
        writer.log(&schema, Some(-time), time, &row).unwrap();
        return vec![points];
    }
    let steps: Vec<i64> = points.iter().map(|point| point.1).collect();
    let fill = |range, place: &mut [u64]| place.copy_from_slice(&values[range]);
    let written = writer.extend(
        schema.single().unwrap(),
        Steps::Each(&steps),
        time,
        values.len(),
        fill,
    );
    assert_eq!(written.unwrap(), values.len());
    points.chunks(4096).map(<[Point]>::to_vec).collect()
}

fn harm(path: &Path, harm: &Harm) {
    let mut bytes = fs::read(path).unwrap();
    let used = records(&bytes)
        .last()
        .map_or(64, |(offset, _, length)| offset + length);
    match harm {
        Harm::Cut(at) => bytes.truncate(at.index(used + 1)),
        Harm::Flip(at) if used > 64 => {
            let bit = at.index((used - 64) * 8) + 64 * 8;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Harm::Flip(_) => {}
    }
    fs::write(path, &bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_was_written_reads_back(
        rows in rows(60), is_mapped: bool, is_closed: bool, max_points in 1_usize..500,
    ) {
        let place = place();
        let mut writer = write(&place.path, &rows, options(is_mapped));
        let expected: Vec<Point> = rows.iter().flat_map(Row::points).collect();
        prop_assert_eq!(writer.accepted(), expected.len() as u64);
        if is_closed {
            writer.close(2).unwrap().complete().unwrap();
        }
        let mut reader = MetricReader::open(&place.path).unwrap();

        prop_assert_eq!(poll_all(&mut reader, max_points), expected.clone());
        prop_assert_eq!(batch_count(&mut reader), expected.len());
        prop_assert_eq!(reader.end_state().unwrap(), is_closed.then_some(2));
        prop_assert!(reader.damage().is_empty());
    }

    /// Its places hold other bits by then, and those of a long row reach beyond the next one.
    #[test]
    fn a_row_that_is_given_up_while_it_is_filled_leaves_nothing(
        rows in rows(40), given_up in prop::collection::vec(any::<Option<bool>>(), 40),
        is_mapped: bool,
    ) {
        let place = place();
        let mut writer = MetricWriter::create(&place.path, options(is_mapped)).unwrap();
        let mut expected: Vec<Point> = Vec::new();
        for ((row, given_up), step) in rows.iter().zip(given_up).zip(0..) {
            let names: Vec<&str> = row.names.iter().map(String::as_str).collect();
            let schema = writer.layout(&names).unwrap();
            if let Some(is_long) = given_up {
                let long: Vec<String> = (0..2000).map(|index| name(index, true)).collect();
                let long: Vec<&str> = long.iter().map(String::as_str).collect();
                let other = if is_long { writer.layout(&long).unwrap() } else { schema.clone() };
                let written = writer.log_in_place(other.single().unwrap(), None, 7, |places| {
                    // As the commit word of a row of two values would begin.
                    places.fill(Kind::Row as u64 | 5 << 8 | 1 << 40);
                    None
                });
                prop_assert!(written.is_none());
            }
            let written = writer.log_in_place(schema.single().unwrap(), None, row.time_ns, |places| {
                for (place, bits) in places.iter_mut().zip(&row.bits) {
                    *place = bits.to_le();
                }
                Some(())
            });
            prop_assert!(written.is_some());
            expected.extend(Row { step, ..row.clone() }.points());
            let mut reader = MetricReader::open(&place.path).unwrap();
            prop_assert_eq!(batch_count(&mut reader), expected.len());
        }
        prop_assert_eq!(writer.accepted(), expected.len() as u64);
        // As it lies after a kill.
        drop(writer);
        let mut reader = MetricReader::open(&place.path).unwrap();
        prop_assert_eq!(batch_count(&mut reader), expected.len());
        prop_assert_eq!(poll_all(&mut reader, 1000), expected);
        prop_assert_eq!(reader.damage(), []);
    }

    #[test]
    fn one_series_is_the_points_of_its_name(rows in rows(40)) {
        let place = place();
        let writer = write(&place.path, &rows, Options::default());
        for wanted in ["m0", "m2", &name(1, true)] {
            let points = rows.iter().flat_map(Row::points);
            let points = points.filter(|point| point.0 == wanted);
            let expected: Vec<u64> = points.map(|point| point.3).collect();
            let only = Wanted::Matching(vec![wanted.to_owned()]);
            let found = read(&[vec![place.path.clone()]], &only, None).unwrap().pop();
            let found: Option<Vec<u64>> =
                found.map(|(_, data)| data.values.iter().map(|v| v.to_bits()).collect());
            prop_assert_eq!(found.unwrap_or_default(), expected);
        }
        drop(writer);
    }

    #[test]
    fn any_cut_leaves_a_prefix(rows in rows(40), is_closed: bool, cut: prop::sample::Index) {
        let place = place();
        let mut writer = write(&place.path, &rows, Options::default());
        if is_closed {
            writer.close(0).unwrap().complete().unwrap();
        }
        drop(writer);
        let bytes = fs::read(&place.path).unwrap();
        let used = records(&bytes).last().map_or(64, |(offset, _, length)| offset + length);
        let cut = cut.index(used + 1);
        fs::write(&place.path, &bytes[..cut]).unwrap();
        let mut reader = MetricReader::open(&place.path).unwrap();

        let found = poll_all(&mut reader, 1000);
        let expected: Vec<Point> = rows.iter().flat_map(Row::points).collect();
        prop_assert!(expected.starts_with(&found));
        prop_assert_eq!(batch_count(&mut reader), found.len());
        // Nothing before the cut is missing.
        let whole = records(&bytes[..cut]).into_iter().filter(|r| r.1 == 2 && r.0 + r.2 <= cut);
        let values: usize = whole.map(|(_, _, length)| length / 8 - 4).sum();
        prop_assert_eq!(found.len(), values);
    }

    #[test]
    fn a_flipped_bit_is_reported_and_the_rest_is_read(
        rows in rows(40), flip: prop::sample::Index, is_closed: bool,
    ) {
        prop_assume!(!rows.is_empty());
        let place = place();
        let mut writer = write(&place.path, &rows, Options::default());
        if is_closed {
            writer.close(0).unwrap().complete().unwrap();
        }
        drop(writer);
        let mut bytes = fs::read(&place.path).unwrap();
        let all = records(&bytes);
        let used = all.last().map(|(offset, _, length)| offset + length).unwrap();
        let bit = flip.index((used - 64) * 8) + 64 * 8;
        let (at, kind, length) = *all.iter().rev().find(|(offset, ..)| *offset <= bit / 8).unwrap();
        let id = schema_id(&bytes, at);
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&place.path, &bytes).unwrap();
        let mut reader = MetricReader::open(&place.path).unwrap();

        let found = batch_count(&mut reader);

        let is_repeated = kind == Kind::Schema as u8
            && all.iter().any(|r| r.1 == kind && r.0 != at && schema_id(&bytes, r.0) == id);
        let is_lost = |record: &(usize, u8, usize)| {
            record.0 == at
                || (kind == Kind::Schema as u8 && !is_repeated && schema_id(&bytes, record.0) == id)
        };
        let kept: usize = all
            .iter()
            .filter(|record| record.1 == Kind::Row as u8 && !is_lost(record))
            .map(|(_, _, length)| length / 8 - 4)
            .sum();
        prop_assert_eq!(found, kept);
        let damage = reader.damage();
        prop_assert!(damage.iter().any(|span| span.offset == at as u64), "{:?}", damage);
        let tail = at + length == used;
        prop_assert!(tail || damage.iter().any(|span| span.length == length as u64));
    }

    #[test]
    fn a_follower_of_a_dead_writer_steps_over_holes(
        rows in rows(40), at: prop::sample::Index, length in 1_usize..500, max_points in 1_usize..500,
    ) {
        prop_assume!(!rows.is_empty());
        let place = place();
        drop(write(&place.path, &rows, Options::default()));
        let mut bytes = fs::read(&place.path).unwrap();
        let all = records(&bytes);
        let used = all.last().map(|(offset, _, length)| offset + length).unwrap();
        let hole = 64 + at.index(used - 64);
        let hole = hole..used.min(hole + length);
        // Without their names rows cannot be told, behind the hole as before it.
        prop_assume!(all.iter().all(|(offset, kind, length)| {
            *kind != Kind::Schema as u8 || offset + length <= hole.start || *offset >= hole.end
        }));
        bytes[hole].fill(0);
        fs::write(&place.path, &bytes).unwrap();
        let mut reader = MetricReader::open(&place.path).unwrap();
        let mut found = poll_all(&mut reader, max_points).len();
        loop {
            match reader.poll_rest(max_points).unwrap().count {
                0 => break,
                count => found += count,
            }
        }

        prop_assert_eq!(found, batch_count(&mut reader));
    }

    #[test]
    fn a_flipped_bit_costs_one_blob(
        blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
        flip: prop::sample::Index,
    ) {
        let place = place();
        let mut writer = BlobWriter::create(&place.path, Options::default()).unwrap();
        for blob in &blobs {
            writer.append(blob).unwrap();
        }
        drop(writer);
        prop_assert_eq!(blobs_of(&place.path), (blobs.clone(), 0));
        let mut bytes = fs::read(&place.path).unwrap();
        let all = records(&bytes);
        let used = all.last().map(|(offset, _, length)| offset + length).unwrap();
        let bit = flip.index((used - 64) * 8) + 64 * 8;
        let hit = all.iter().rposition(|(offset, ..)| *offset <= bit / 8).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&place.path, &bytes).unwrap();

        let mut expected = blobs.clone();
        expected.remove(hit);
        let damaged = usize::from(hit + 1 < blobs.len());
        prop_assert_eq!(blobs_of(&place.path), (expected, damaged));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        bytes in prop::collection::vec(prop_oneof![3 => any::<u8>(), 2 => 0_u8..6], 0..4000),
        is_after_header: bool,
    ) {
        let place = place();
        let mut content = Vec::new();
        if is_after_header {
            drop(MetricWriter::create(&place.path, options(false)).unwrap());
            content = fs::read(&place.path).unwrap();
        }
        content.extend(&bytes);
        fs::write(&place.path, &content).unwrap();
        if let Ok(mut reader) = MetricReader::open(&place.path) {
            prop_assert_eq!(poll_all(&mut reader, 10).len(), 0);
            prop_assert_eq!(batch_count(&mut reader), 0);
        }
        if let Ok(mut reader) = BlobReader::open(&place.path, 0) {
            reader.poll(10, 1000).unwrap();
        }
    }

    #[test]
    fn overwritten_ranges_never_invent_points(
        rows in rows(30), at: prop::sample::Index, from: prop::sample::Index, length in 1_usize..2000,
    ) {
        prop_assume!(!rows.is_empty());
        let place = place();
        drop(write(&place.path, &rows, options(false)));
        let mut bytes = fs::read(&place.path).unwrap();
        // Whole records from elsewhere in the same file: only their offset is wrong.
        let (at, from) = (64 + at.index(bytes.len() - 64), 64 + from.index(bytes.len() - 64));
        let length = length.min(bytes.len() - at.max(from));
        let moved = bytes[from..from + length].to_vec();
        bytes[at..at + length].copy_from_slice(&moved);
        fs::write(&place.path, &bytes).unwrap();
        let written: std::collections::HashSet<Point> = rows.iter().flat_map(Row::points).collect();
        let mut reader = MetricReader::open(&place.path).unwrap();

        prop_assert!(poll_all(&mut reader, 100).iter().all(|point| written.contains(point)));
    }

    #[test]
    fn of_several_writers_each_keeps_whole_records_and_an_unharmed_prefix(
        entries in prop::collection::vec((0_usize..3, prop_oneof![
            3 => (1_usize..5).prop_map(Entry::Row),
            1 => (1_usize..9_000).prop_map(Entry::Column),
        ]), 1..40),
        harms in prop::collection::vec(prop::option::of(prop_oneof![
            any::<prop::sample::Index>().prop_map(Harm::Cut),
            any::<prop::sample::Index>().prop_map(Harm::Flip),
        ]), 3),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..3).map(|at| folder.path().join(at.to_string())).collect();
        let create = |path: &PathBuf| MetricWriter::create(path, Options::default()).unwrap();
        let mut writers: Vec<MetricWriter> = paths.iter().map(create).collect();
        let (mut written, mut next) = (vec![Vec::new(); 3], 1_u64);
        for (time, (writer, entry)) in entries.iter().enumerate() {
            let time = i64::try_from(time).unwrap();
            let records = write_entry(&mut writers[*writer], entry, time, next);
            next += records.iter().map(Vec::len).sum::<usize>() as u64;
            written[*writer].extend(records);
        }
        drop(writers);
        for (path, harmed) in paths.iter().zip(&harms) {
            if let Some(harmed) = harmed {
                harm(path, harmed);
            }
        }
        let groups: Vec<Vec<PathBuf>> = paths.iter().map(|path| vec![path.clone()]).collect();

        let mut found = std::collections::HashMap::new();
        for (name, data) in read(&groups, &Wanted::All, None).unwrap() {
            prop_assert!(data.times.is_sorted());
            for at in 0..data.len() {
                let bits = data.values[at].to_bits();
                let point = (name.to_string(), data.steps[at], data.times[at], bits);
                prop_assert!(found.insert(bits, point).is_none(), "a point came twice");
            }
        }

        for (records, harmed) in written.iter().zip(&harms) {
            let kept: Vec<bool> = records.iter().map(|r| found.contains_key(&r[0].3)).collect();
            for (record, is_kept) in records.iter().zip(&kept) {
                for point in record {
                    let read = found.remove(&point.3);
                    prop_assert_eq!(read.as_ref(), is_kept.then_some(point));
                }
            }
            match harmed {
                None => prop_assert!(kept.iter().all(|is_kept| *is_kept)),
                Some(Harm::Cut(_)) => prop_assert!(kept.is_sorted_by(|a, b| a >= b), "a prefix"),
                Some(Harm::Flip(_)) => {}
            }
        }
        prop_assert!(found.is_empty(), "invented: {found:?}");
    }

    #[test]
    fn any_cut_leaves_a_prefix_of_the_blobs(
        blobs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..40),
        cut: prop::sample::Index,
    ) {
        let place = place();
        let mut writer = BlobWriter::create(&place.path, Options::default()).unwrap();
        for blob in &blobs {
            writer.append(blob).unwrap();
        }
        drop(writer);
        harm(&place.path, &Harm::Cut(cut));
        let whole = records(&fs::read(&place.path).unwrap());
        let bytes = fs::metadata(&place.path).unwrap().len();
        let whole = whole.iter().filter(|(offset, _, length)| (offset + length) as u64 <= bytes);

        prop_assert_eq!(blobs_of(&place.path).0, &blobs[..whole.count()]);
    }
}
