//! Rows of any names in any order, many sets of names, and a flood of names.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use runbus_core::archive::{Wanted, read};
use runbus_core::journal::{
    Layout, MAX_SETS, MetricReader, MetricWriter, Options, Outcome, SchemaId,
};
use runbus_core::segment::seal;
use tempfile::TempDir;

fn place() -> (TempDir, MetricWriter) {
    let folder = tempfile::tempdir().unwrap();
    let writer = MetricWriter::create(&folder.path().join("0f-7.journal"), Options::default());
    (folder, writer.unwrap())
}

/// Step and value of each point, by name.
type Told = BTreeMap<String, Vec<(i64, f64)>>;

fn told(path: &Path) -> Told {
    let series = read(&[vec![path.to_owned()]], &Wanted::All, None).unwrap();
    let series = series.into_iter().map(|(name, data)| {
        let points = data.steps.iter().copied().zip(data.values.iter().copied());
        (name.into(), points.collect())
    });
    series.collect()
}

/// Rows of some of eight names, in any order.
fn rows() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let names = prop::collection::hash_set(0_usize..8, 1..8);
    let row = names.prop_map(|names| names.into_iter().collect::<Vec<_>>());
    prop::collection::vec(row.prop_shuffle(), 0..40)
}

fn value(step: usize, name: usize) -> f64 {
    f64::from(u32::try_from(step * 100 + name).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_order_of_names_in_a_row_does_not_count(rows in rows(), is_quick: bool) {
        let (folder, mut writer) = place();
        let names: Vec<String> = (0..8).map(|name| format!("m{name}")).collect();
        let mut expected = Told::new();
        for (step, row) in rows.iter().enumerate() {
            let number = i64::try_from(step).unwrap();
            for name in row {
                let points = expected.entry(names[*name].clone()).or_default();
                points.push((number, value(step, *name)));
            }
            let texts: Vec<&str> = row.iter().map(|name| names[*name].as_str()).collect();
            let mut named: Vec<(SchemaId, u64)> = Vec::new();
            for (name, text) in row.iter().zip(&texts) {
                let schema = writer.name(text).unwrap().unwrap();
                named.push((schema, value(step, *name).to_bits().to_le()));
            }
            if is_quick && writer.log_named(Some(number), 7, &mut named).is_some() {
                continue;
            }
            let values: Vec<f64> = row.iter().map(|name| value(step, *name)).collect();
            let layout = writer.layout(&texts).unwrap();
            writer.log(&layout, Some(number), 7, &values).unwrap();
        }
        drop(writer);
        let journal = folder.path().join("0f-7.journal");
        prop_assert_eq!(&told(&journal), &expected);
        prop_assert_eq!(told(&seal(&journal).unwrap()), expected);
    }
}

#[test]
fn rows_of_more_sets_than_there_may_be_are_written_value_by_value() {
    let (folder, mut writer) = place();
    let names: Vec<String> = (0..12).map(|name| format!("m{name}")).collect();
    let sets: Vec<Vec<usize>> = (1_usize..4096)
        .map(|set| (0..12).filter(|name| set >> name & 1 == 1).collect())
        .collect();
    let (mut expected, mut split) = (Told::new(), 0);
    for (step, set) in sets.iter().chain(&sets).enumerate() {
        let number = i64::try_from(step).unwrap();
        let texts: Vec<&str> = set.iter().map(|name| names[*name].as_str()).collect();
        let values: Vec<f64> = set.iter().map(|name| value(step, *name)).collect();
        for (text, value) in texts.iter().zip(&values) {
            let points = expected.entry((*text).to_owned()).or_default();
            points.push((number, *value));
        }
        if step % 2 == 0 {
            let ids = texts.iter().map(|text| writer.name(text).unwrap().unwrap());
            let bits = values.iter().map(|value| value.to_bits().to_le());
            let mut pairs: Vec<(SchemaId, u64)> = ids.zip(bits).collect();
            if writer.log_named(None, 7, &mut pairs).is_some() {
                continue;
            }
        }
        let layout = writer.layout(&texts).unwrap();
        split += usize::from(matches!(layout, Layout::Each(_)));
        let outcome = writer.log(&layout, None, 7, &values).unwrap();
        assert_eq!(outcome, Outcome::Accepted);
    }
    assert!(split > MAX_SETS);
    assert_eq!(writer.dropped(), 0);
    drop(writer);
    assert_eq!(told(&folder.path().join("0f-7.journal")), expected);
}

#[test]
fn a_flood_of_names_is_counted_and_told_and_known_names_go_on() {
    let (folder, mut writer) = place();
    let name = |number: u32| format!("{number:->1000}");
    let mut number = 0;
    let full = loop {
        let layout = writer.layout(&[&name(number)]).unwrap();
        if layout.single().is_none() {
            break layout;
        }
        if number % 100 == 4 {
            writer.log(&layout, None, 0, &[0.5]).unwrap();
        }
        number += 1;
    };
    assert!(number > 50_000, "{number}");
    let accepted = writer.accepted();
    assert_eq!(
        writer.log(&full, None, 0, &[0.5]).unwrap(),
        Outcome::Dropped
    );
    let row = writer.layout(&[&name(4), "new", &name(104)]).unwrap();
    assert_eq!(
        writer.log(&row, None, 0, &[1.0, 2.0, 3.0]).unwrap(),
        Outcome::Dropped
    );
    writer.drop_unnamed(5).unwrap();
    assert_eq!(writer.accepted(), accepted + 2);
    assert_eq!(writer.dropped(), 1 + 1 + 5);
    assert!(writer.last_error().unwrap().contains("names of metrics"));
    drop(writer);
    let path = folder.path().join("0f-7.journal");
    let mut reader = MetricReader::open(&path).unwrap();
    assert!(reader.check().unwrap().is_empty());
    assert_eq!(told(&path)[&name(104)].len(), 2);
}
