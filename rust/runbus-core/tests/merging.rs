//! What several writers have logged, whatever their clocks did: one order, for series and aggregates.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;
use runbus_core::aggregate::Aggregate;
use runbus_core::archive::{Wanted, aggregates, read};
use runbus_core::frame::Point;
use runbus_core::journal::{MetricWriter, Options};
use runbus_core::segment::seal;
use runbus_core::series::{SeriesData, Steps};

/// Time and value of each point of one writer; its steps tell who wrote it, and in which order.
type Written = Vec<(i64, f64)>;

fn written() -> impl Strategy<Value = Vec<Written>> {
    let value = prop_oneof![
        6 => (-3_i8..3).prop_map(f64::from),
        1 => Just(f64::NAN),
    ];
    prop::collection::vec(prop::collection::vec((-20_i64..20, value), 0..12), 0..5)
}

fn step(writer: usize, place: usize) -> i64 {
    i64::try_from(writer * 1_000 + place).unwrap()
}

fn write(folder: &std::path::Path, all: &[Written]) -> Vec<Vec<PathBuf>> {
    let files = all.iter().enumerate().map(|(number, points)| {
        let path = folder.join(format!("{number}.journal"));
        let mut writer = MetricWriter::create(&path, Options::default()).unwrap();
        let schema = writer.layout(&["x"]).unwrap();
        for (place, (time, value)) in points.iter().enumerate() {
            let step = Some(step(number, place));
            writer.log(&schema, step, time * 1_000, &[*value]).unwrap();
        }
        writer.close(0).unwrap().complete().unwrap();
        vec![path]
    });
    files.collect()
}

/// The definition, as plainly as it can be written.
fn merged(all: &[Written]) -> Vec<i64> {
    let mut points = Vec::new();
    for (number, written) in all.iter().enumerate() {
        let mut latest = i64::MIN;
        for (place, (time, _)) in written.iter().enumerate() {
            latest = latest.max(*time);
            points.push((latest, number, place));
        }
    }
    points.sort_unstable();
    let steps = points
        .iter()
        .map(|(_, number, place)| step(*number, *place));
    steps.collect()
}

fn told(aggregate: &Aggregate) -> [Option<(i64, i64, u64)>; 4] {
    let point = |point: Option<Point>| point.map(|p| (p.step, p.time, p.value.to_bits()));
    [
        point(aggregate.first),
        point(aggregate.last),
        point(aggregate.min),
        point(aggregate.max),
    ]
}

fn check(files: &[Vec<PathBuf>], all: &[Written]) -> Result<(), TestCaseError> {
    let series = read(files, &Wanted::All, None).unwrap().pop();
    let series: SeriesData = series.map(|(_, data)| data).unwrap_or_default();
    prop_assert_eq!(series.steps.to_vec(), merged(all));
    let summary = aggregates(files).unwrap().pop();
    let summary = summary.map(|(_, aggregate)| aggregate).unwrap_or_default();
    prop_assert_eq!(told(&summary), told(&Aggregate::of(&series)));
    prop_assert_eq!(summary.count, series.len() as u64);
    let steps = Steps {
        first: 1_001,
        end: Some(3_003),
        stride: 2,
    };
    let part = read(files, &Wanted::All, Some(&steps)).unwrap().pop();
    let part = part.map(|(_, data)| data).unwrap_or_default();
    prop_assert_eq!(&*part.steps, &*series.select(&steps).steps);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn points_of_a_writer_stay_in_its_order_and_those_of_several_are_merged_by_time(
        all in written(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut files = write(folder.path(), &all);
        check(&files, &all)?;
        for (number, paths) in files.iter_mut().enumerate() {
            if number % 2 == 0 {
                *paths = vec![seal(&paths[0]).unwrap()];
            }
        }
        check(&files, &all)?;
    }
}
