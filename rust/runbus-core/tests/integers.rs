//! Integers beyond doubles, among doubles: every reader gives them back exactly.
#![allow(missing_docs, clippy::unwrap_used)]

use std::ops::Range;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runbus_core::aggregate::Aggregate;
use runbus_core::archive::{Wanted, aggregates, read};
use runbus_core::frame::Points;
use runbus_core::integer::{joined, split};
use runbus_core::journal::{Form, MetricReader, MetricWriter, Options, Steps, Values};
use runbus_core::segment::seal;
use runbus_core::series::SeriesData;

#[derive(Clone, Debug)]
enum Entry {
    Double(f64),
    Integer(i64),
    Column(Vec<i64>),
    /// With a second name, which has no integers.
    Row(f64),
}

/// Integers as an array of Python has them.
struct Integers<'a>(&'a [i64]);

impl Values for Integers<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn form(&self, _range: Range<usize>) -> Form {
        Form::Integers
    }

    fn put(&self, range: Range<usize>, _form: Form, place: &mut [u64]) {
        for (word, value) in place.iter_mut().zip(&self.0[range]) {
            *word = value.cast_unsigned().to_le();
        }
    }
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        (53_u32..63, -600_i64..600).prop_map(|(power, away)| (1 << power) + away),
        Just(i64::MAX),
        Just(i64::MIN),
        -3_i64..3,
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        (-4.0..4.0).prop_map(Entry::Double),
        integer().prop_map(Entry::Integer),
        prop::collection::vec(integer(), 1..6).prop_map(Entry::Column),
        (-4.0..4.0).prop_map(Entry::Row),
    ]
}

/// Step and value of each point of "x", the value as an exact integer where it is one of 64 bits.
type Exact = Vec<(i64, Result<i64, u64>)>;

fn exact(value: f64, rest: i16) -> Result<i64, u64> {
    joined(value, rest).ok_or(value.to_bits())
}

fn write(path: &Path, entries: &[Entry]) -> Exact {
    let mut writer = MetricWriter::create(path, Options::default()).unwrap();
    let name = writer.name("x").unwrap();
    let (one, two) = (
        writer.layout(&["x"]).unwrap(),
        writer.layout(&["y", "x"]).unwrap(),
    );
    let mut expected = Exact::new();
    for entry in entries {
        match entry {
            Entry::Double(value) => {
                writer.log(&one, None, 7, &[*value]).unwrap();
                expected.push((0, exact(*value, 0)));
            }
            Entry::Integer(value) => {
                let step = writer.take_step(None).unwrap();
                writer.log_integer(name, step, 7, *value).unwrap();
                expected.push((0, Ok(*value)));
            }
            Entry::Column(values) => {
                let written = writer.extend(name.unwrap(), Steps::Automatic, 7, &Integers(values));
                assert_eq!(written.unwrap(), values.len());
                expected.extend(values.iter().map(|value| (0, Ok(*value))));
            }
            Entry::Row(value) => {
                writer.log(&two, None, 7, &[0.5, *value]).unwrap();
                expected.push((0, exact(*value, 0)));
            }
        }
    }
    for (step, point) in (0..).zip(&mut expected) {
        point.0 = step;
    }
    writer.close(0).unwrap().complete().unwrap();
    expected
}

fn of_series(data: &SeriesData) -> Exact {
    let points = data.points();
    points
        .map(|point| (point.step, exact(point.value, point.rest)))
        .collect()
}

fn of_files(paths: &[PathBuf]) -> Exact {
    let found = read(&[paths.to_vec()], &Wanted::Matching(vec!["x".into()]), None).unwrap();
    of_series(&found[0].1)
}

fn of_points(points: &Points, x: u32) -> Exact {
    let mut found = Exact::new();
    for place in 0..points.count {
        let word = |column: &[u8]| <[u8; 8]>::try_from(&column[place * 8..][..8]).unwrap();
        if points.series[place * 4..][..4] != x.to_le_bytes() {
            continue;
        }
        let value = f64::from_le_bytes(word(&points.values));
        let integer = points.integers.iter().find(|(at, _)| *at == place);
        let value = integer.map_or(exact(value, 0), |(_, integer)| Ok(*integer));
        found.push((i64::from_le_bytes(word(&points.steps)), value));
    }
    found
}

fn extremes(of: &Aggregate) -> [Option<Result<i64, u64>>; 4] {
    [of.first, of.last, of.min, of.max].map(|point| point.map(|at| exact(at.value, at.rest)))
}

/// A number that orders the values, without a rounding.
fn order(value: Result<i64, u64>) -> (i128, u64) {
    match value {
        Ok(integer) => (i128::from(integer) * 2, 0),
        // Between two integers: here all of them lie near zero.
        Err(bits) => {
            let value = f64::from_bits(bits);
            let below = split(0).0 + value.floor();
            #[allow(clippy::cast_possible_truncation)]
            let below = below as i128;
            (below * 2 + 1, (value - value.floor()).to_bits())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn integers_beyond_doubles_are_kept_by_every_reader(
        entries in prop::collection::vec(entry(), 1..12),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let expected = write(&path, &entries);

        let mut reader = MetricReader::open(&path).unwrap();
        let points = reader.poll(1 << 20).unwrap();
        let x = reader.names().position(|name| name == "x").unwrap();
        prop_assert_eq!(&of_points(&points, u32::try_from(x).unwrap()), &expected);
        prop_assert_eq!(&of_files(std::slice::from_ref(&path)), &expected);
        let of_journal = aggregates(&[vec![path.clone()]]).unwrap();

        let segment = seal(&path).unwrap();
        prop_assert_eq!(&of_files(std::slice::from_ref(&segment)), &expected);
        let of_segment = aggregates(&[vec![segment]]).unwrap();
        for found in [of_journal, of_segment] {
            let (_, found) = found.iter().find(|(name, _)| &**name == "x").unwrap();
            let values = || expected.iter().map(|(_, value)| *value);
            let least = values().min_by_key(|value| order(*value));
            // The first of the greatest, where `max_by_key` gives the last: they are equal.
            let greatest = values().max_by_key(|value| order(*value));
            let wanted = [values().next(), values().next_back(), least, greatest];
            prop_assert_eq!(extremes(found), wanted);
        }
    }
}
