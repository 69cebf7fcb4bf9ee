//! Segments of earlier versions are read: of version 1, points in one file, rows of several names in others.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{Type, TypePtr};
use runbus_core::archive::{Wanted, aggregates, names, read};
use runbus_core::follow::{Bell, Content};
use runbus_core::segment::Segment;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

enum Column {
    Texts(Vec<&'static str>),
    Ints(Vec<i64>),
    Rests(Vec<i32>),
    Doubles(Vec<f64>),
}

fn field(name: &str, column: &Column) -> TypePtr {
    let (physical, logical) = match (name, column) {
        (_, Column::Texts(_)) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ("time", _) => (
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::MICROS)),
        ),
        (_, Column::Ints(_)) => (Physical::INT64, None),
        (_, Column::Rests(_)) => (Physical::INT32, None),
        (_, Column::Doubles(_)) => (Physical::DOUBLE, None),
    };
    let field = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical);
    Arc::new(field.build().unwrap())
}

fn put(group: &mut SerializedRowGroupWriter<'_, File>, column: &Column) {
    let mut writer = group.next_column().unwrap().unwrap();
    match column {
        Column::Texts(texts) => {
            let texts: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
            let typed = writer.typed::<ByteArrayType>();
            typed.write_batch(&texts, None, None).unwrap();
        }
        Column::Ints(ints) => {
            let typed = writer.typed::<Int64Type>();
            typed.write_batch(ints, None, None).unwrap();
        }
        Column::Rests(rests) => {
            let typed = writer.typed::<Int32Type>();
            typed.write_batch(rests, None, None).unwrap();
        }
        Column::Doubles(doubles) => {
            let typed = writer.typed::<DoubleType>();
            typed.write_batch(doubles, None, None).unwrap();
        }
    }
    writer.close().unwrap();
}

/// As earlier versions wrote it: each column has a hash; in version 1 so has the description, later ones have
/// one of the footer instead.
fn write(path: &Path, version: &str, columns: &[(&str, Column)], names: Option<&str>) {
    let fields = columns.iter().map(|(name, column)| field(name, column));
    let schema = Type::group_type_builder("runbus").with_fields(fields.collect());
    let mut pairs: Vec<(&str, &str)> = vec![
        ("runbus.version", version),
        ("runbus.writer_pid", "7"),
        ("runbus.created_ns", "5"),
        ("runbus.damage", ""),
        ("runbus.segments", "2"),
        ("runbus.end_state", "0"),
    ];
    pairs.extend(names.map(|names| ("runbus.names", names)));
    let mut description = Xxh3::new();
    let texts = columns.iter().map(|(name, _)| *name);
    for text in texts.chain(pairs.iter().flat_map(|(key, value)| [*key, *value])) {
        description.update(&(text.len() as u64).to_le_bytes());
        description.update(text.as_bytes());
    }
    let file = File::create(path).unwrap();
    let properties = WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true);
    let properties = Arc::new(properties.build());
    let schema = Arc::new(schema.build().unwrap());
    let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (_, column) in columns {
        put(&mut group, column);
    }
    group.close().unwrap();
    writer.flush().unwrap();
    let bytes = fs::read(path).unwrap();
    let mut hashes = vec![];
    if version == "1" {
        hashes.push(description.digest());
    }
    for column in writer.flushed_row_groups()[0].columns() {
        let (start, length) = column.byte_range();
        let (start, length) = (
            usize::try_from(start).unwrap(),
            usize::try_from(length).unwrap(),
        );
        hashes.push(xxh3_64(&bytes[start..start + length]));
    }
    let hashes: Vec<String> = hashes.iter().map(|hash| format!("{hash:016x}")).collect();
    let hashes = hashes.join(" ");
    pairs.push(("runbus.checks", &hashes));
    if version != "1" {
        pairs.push(("runbus.footer", "0000000000000000"));
    }
    for (key, value) in pairs {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value.to_owned()));
    }
    writer.close().unwrap();
    if version != "1" {
        let mut bytes = fs::read(path).unwrap();
        let tail = bytes.len() - 8;
        let length = u32::from_le_bytes(*bytes[tail..].first_chunk().unwrap());
        let start = tail - usize::try_from(length).unwrap();
        let hash = format!("{:016x}", xxh3_64(&bytes[start..]));
        let mut windows = bytes.windows(16);
        let place = windows.rposition(|window| window == [b'0'; 16]).unwrap();
        bytes[place..place + 16].copy_from_slice(hash.as_bytes());
        fs::write(path, bytes).unwrap();
    }
}

/// Rows 0, 2, 4 are of `a` and `b`, rows 1, 3, 5 of `c`.
fn older(folder: &Path) -> Vec<PathBuf> {
    let paths = [0, 1].map(|number| folder.join(format!("0f-7.{number}.parquet")));
    let long = [
        ("name", Column::Texts(vec!["c"; 3])),
        ("step", Column::Ints(vec![10, 11, 12])),
        ("time", Column::Ints(vec![1, 3, 5])),
        ("row", Column::Ints(vec![1, 3, 5])),
        ("value", Column::Doubles(vec![0.5, f64::NAN, -0.0])),
    ];
    write(&paths[0], "1", &long, Some("3 1:c"));
    let wide = [
        ("step", Column::Ints(vec![0, 1, 2])),
        ("time", Column::Ints(vec![0, 2, 4])),
        ("row", Column::Ints(vec![0, 2, 4])),
        ("a", Column::Doubles(vec![1.0, 2.0, 3.0])),
        ("b", Column::Doubles(vec![4.0, 5.0, 6.0])),
    ];
    write(&paths[1], "1", &wide, None);
    paths.into()
}

#[test]
fn segments_of_version_1_are_read_followed_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics");
    fs::create_dir(&metrics).unwrap();
    let paths = older(&metrics);
    for path in &paths {
        let segment = Segment::open(path).unwrap();
        assert!(segment.damage().unwrap().is_empty());
        assert!(segment.about().version == 1 && segment.about().segments == 2);
    }
    let writers = [paths.clone()];
    let found: HashMap<Box<str>, Vec<i64>> = read(&writers, &Wanted::All, None)
        .unwrap()
        .into_iter()
        .map(|(name, data)| (name, data.steps.to_vec()))
        .collect();
    assert_eq!(found["a"], [0, 1, 2]);
    assert_eq!(found["b"], [0, 1, 2]);
    assert_eq!(found["c"], [10, 11, 12]);
    assert_eq!(aggregates(&writers).unwrap().len(), 3);
    assert_eq!(names(&writers).unwrap().len(), 3);

    let bell = Arc::new(Bell::new().unwrap());
    let tail = bell
        .follow(1, folder.path(), HashMap::new(), 0, u64::MAX)
        .unwrap();
    tail.drain();
    let mut points = 0;
    loop {
        let Some(news) = tail.take() else {
            std::thread::yield_now();
            continue;
        };
        for batch in news.batches {
            assert_eq!(batch.position, 0);
            if let Content::Points(found) = batch.content {
                points += found.count;
            }
        }
        if news.is_drained {
            break;
        }
    }
    assert_eq!(points, 9);

    let mut bytes = fs::read(&paths[0]).unwrap();
    let at = bytes
        .windows(8)
        .position(|window| window == b"writer_p")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(&paths[0], bytes).unwrap();
    assert!(Segment::open(&paths[0]).is_err());
}

#[test]
fn segments_of_versions_2_and_3_are_read_and_a_damaged_column_costs_all_its_rows() {
    for version in ["2", "3"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0f-7.0.parquet");
        let mut columns = vec![
            ("name", Column::Texts(vec!["a", "a", "b"])),
            ("step", Column::Ints(vec![1, 2, 1])),
            ("time", Column::Ints(vec![1, 2, 1])),
            ("time_ns", Column::Rests(vec![0, 0, 0])),
            ("position", Column::Ints(vec![96, 128, 160])),
            (
                "value",
                Column::Doubles(vec![0.5, 1.5, 9_007_199_254_740_992.0]),
            ),
        ];
        if version == "3" {
            columns.push(("value_rest", Column::Rests(vec![0, 0, 1])));
        }
        write(&path, version, &columns, Some("2 1:a3 1:b"));
        assert!(Segment::open(&path).unwrap().damage().unwrap().is_empty());
        let steps = || -> Vec<(Box<str>, Vec<i64>)> {
            let found = read(&[vec![path.clone()]], &Wanted::All, None)
                .unwrap()
                .into_iter();
            found
                .map(|(name, data)| (name, data.steps.to_vec()))
                .collect()
        };
        assert_eq!(steps(), [("a".into(), vec![1, 2]), ("b".into(), vec![1])]);
        let rest = read(
            &[vec![path.clone()]],
            &Wanted::Matching(vec!["b".into()]),
            None,
        )
        .unwrap();
        assert_eq!(rest[0].1.integers().is_some(), version == "3");

        let mut bytes = fs::read(&path).unwrap();
        let value = 1.5_f64.to_le_bytes();
        let at = bytes.windows(8).position(|window| window == value).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let segment = Segment::open(&path).unwrap();
        assert_eq!(segment.damage().unwrap().len(), 1);
        assert_eq!(segment.lost().unwrap(), [("a", 2), ("b", 1)]);
        assert!(steps().is_empty());
    }
}
