//! Aggregates against the plainest computation, whole and in parts.
#![allow(
    missing_docs,
    clippy::float_cmp,
    clippy::unwrap_used,
    clippy::cast_precision_loss
)]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use runbus_core::aggregate::{Aggregate, LiveWindows, Sketch, WindowRows};
use runbus_core::frame::{Point, Points};

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1e3..1e3,
        1 => 1e8..1.000_001e8,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(0.0), Just(-0.0)],
    ]
}

fn of(values: &[f64], start: i64) -> Aggregate {
    let mut aggregate = Aggregate::default();
    for (step, value) in (start..).zip(values) {
        aggregate.add(Point {
            step,
            time: step * 10,
            value: *value,
            rest: 0,
        });
    }
    aggregate
}

fn is_close(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn parts_merge_into_the_whole(
        values in prop::collection::vec(value(), 0..600), cut: prop::sample::Index,
    ) {
        let cut = cut.index(values.len() + 1);
        let whole = of(&values, 0);
        let mut merged = of(&values[..cut], 0);
        merged.merge(&of(&values[cut..], i64::try_from(cut).unwrap()));
        prop_assert_eq!(merged.count, whole.count);
        let key = |point: Option<Point>| point.map(|point| (point.step, point.value.to_bits()));
        for (a, b) in [
            (merged.first, whole.first),
            (merged.last, whole.last),
            (merged.min, whole.min),
            (merged.max, whole.max),
        ] {
            prop_assert_eq!(key(a), key(b));
        }
        prop_assert!(is_close(merged.moments.mean(), whole.moments.mean()));
        prop_assert!(is_close(merged.moments.variance(), whole.moments.variance()));
        for q in [0.0, 0.5, 0.95, 1.0] {
            let (a, b) = (merged.quantile(q), whole.quantile(q));
            prop_assert!(is_close(a, b), "{} {} {}", q, a, b);
        }
    }

    #[test]
    fn mean_and_variance_are_those_of_the_finite_values(
        values in prop::collection::vec(value(), 1..300),
    ) {
        let aggregate = of(&values, 0);
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        prop_assume!(!finite.is_empty());
        let centre = mean(&finite);
        let squares: Vec<f64> = finite.iter().map(|value| (value - centre).powi(2)).collect();
        prop_assert!(is_close(aggregate.moments.mean(), centre));
        prop_assert!((aggregate.moments.variance() - mean(&squares)).abs() <= 1e-9 * mean(&squares).max(1.0));
    }

    #[test]
    fn quantiles_are_within_their_error(
        values in prop::collection::vec(value(), 1..600), q in 0.0..1.0_f64,
    ) {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        prop_assume!(!sorted.is_empty());
        sorted.sort_by(f64::total_cmp);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = ((q * sorted.len() as f64).ceil() as usize).max(1);
        let exact = sorted[rank - 1];
        let found = of(&values, 0).quantile(q);
        let is_near = found == exact || (found - exact).abs() <= Sketch::RELATIVE_ERROR * exact.abs();
        prop_assert!(is_near, "{} instead of {}", found, exact);
    }
}

#[test]
fn the_mean_of_what_lies_further_apart_than_doubles_reach_is_a_number() {
    let values = [1e308, -1e308, 1.5e308, -1.5e308];
    let whole = of(&values, 0).moments;
    let mut merged = of(&values[..1], 0);
    merged.merge(&of(&values[1..], 1));
    for moments in [whole, merged.moments] {
        assert!(moments.mean().abs() < 1e293, "{}", moments.mean());
        assert!(moments.variance().is_infinite(), "{}", moments.variance());
    }
}

#[test]
fn nothing_amounts_to_nan() {
    let empty = Aggregate::default();
    assert!(empty.quantile(0.5).is_nan() && empty.moments.mean().is_nan());
    let nans = of(&[f64::NAN; 3], 0);
    assert_eq!((nans.count, nans.min, nans.max), (3, None, None));
    assert!(nans.last.unwrap().value.is_nan() && nans.quantile(0.5).is_nan());
}

/// A point of one of three series.
type Logged = (u32, i64, f64);

fn logged() -> impl Strategy<Value = Vec<Logged>> {
    // Time continues, stands still, and is stepped back at times.
    let step = prop_oneof![8 => 0..40i64, 1 => -100..0i64];
    prop::collection::vec((0..3u32, step, value()), 0..300).prop_map(|mut points| {
        let mut time = 0;
        for (_, then, _) in &mut points {
            time += *then;
            *then = time;
        }
        points
    })
}

fn columns(points: &[Logged], first: usize) -> Points {
    let mut columns = Points {
        count: points.len(),
        ..Points::default()
    };
    for (step, (series, time, value)) in (first as u64..).zip(points) {
        columns.series.extend(series.to_le_bytes());
        columns.steps.extend(step.to_le_bytes());
        columns.times.extend(time.to_le_bytes());
        columns.values.extend(value.to_le_bytes());
    }
    columns
}

/// One row, as it lies in the columns.
struct Read {
    series: u32,
    integers: [i64; 9],
    numbers: [f64; 9],
}

fn read(rows: &WindowRows) -> Vec<Read> {
    let word = |column: &[u8], row: usize| column.as_chunks::<8>().0[row];
    let rows = (0..rows.count).map(|row| Read {
        series: u32::from_le_bytes(rows.series.as_chunks::<4>().0[row]),
        integers: std::array::from_fn(|at| i64::from_le_bytes(word(&rows.integers[at], row))),
        numbers: std::array::from_fn(|at| f64::from_le_bytes(word(&rows.numbers[at], row))),
    });
    rows.collect()
}

/// What rows that tell of different points add up to: points, finite, least, greatest, mean and
/// variance.
fn added_up(rows: &[&Read]) -> (i64, i64, f64, f64, f64, f64) {
    let (mut points, mut finite, mut mean, mut deviations) = (0, 0, 0.0, 0.0);
    let (mut min, mut max) = (f64::NAN, f64::NAN);
    for row in rows {
        let [_, row_points, row_finite, ..] = row.integers;
        let [_, _, row_min, row_max, row_mean, row_variance, ..] = row.numbers;
        points += row_points;
        (min, max) = (min.min(row_min), max.max(row_max));
        if row_finite > 0 {
            let (ours, theirs) = (finite as f64, row_finite as f64);
            let delta = row_mean - mean;
            mean += delta * theirs / (ours + theirs);
            deviations += row_variance * theirs + delta * delta * ours * theirs / (ours + theirs);
            finite += row_finite;
        }
    }
    (points, finite, min, max, mean, deviations / finite as f64)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_rows_of_live_windows_add_up_to_the_points_whatever_the_cuts(
        points in logged(),
        width in 1..200i64,
        mut cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..300u64), 0..8),
    ) {
        let mut live = LiveWindows::new(width);
        let mut rows = WindowRows::default();
        cuts.sort_by_key(|(at, _)| at.index(points.len() + 1));
        let (mut from, mut now) = (0, Instant::now());
        for (at, pause_ns) in &cuts {
            let to = at.index(points.len() + 1);
            live.add(&columns(&points[from..to], from), now, &mut rows);
            from = to;
            now += Duration::from_nanos(*pause_ns);
            live.close_due(now, &mut rows);
        }
        live.add(&columns(&points[from..], from), now, &mut rows);
        live.close_all(&mut rows);
        let rows = read(&rows);

        for series in 0..3u32 {
            let own: Vec<(i64, Logged)> = (0..)
                .zip(points.iter().copied())
                .filter(|(_, (of, ..))| *of == series)
                .collect();
            let mut starts: Vec<i64> = own.iter().map(|(_, (_, time, _))| time.div_euclid(width) * width).collect();
            starts.sort_unstable();
            starts.dedup();
            let told = rows.iter().filter(|row| row.series == series);
            prop_assert!(told.clone().all(|row| starts.binary_search(&row.integers[0]).is_ok()));
            for start in starts {
                let mut whole = Aggregate::default();
                for (step, (_, time, value)) in &own {
                    if time.div_euclid(width) * width == start {
                        whole.add(Point { step: *step, time: *time, value: *value, rest: 0 });
                    }
                }
                let parts: Vec<_> = told.clone().filter(|row| row.integers[0] == start).collect();
                let (count, finite, min, max, mean, variance) = added_up(&parts);
                prop_assert_eq!(count.unsigned_abs(), whole.count);
                prop_assert_eq!(finite.unsigned_abs(), whole.moments.count());
                let least = whole.min.map_or(f64::NAN, |point| point.value);
                let greatest = whole.max.map_or(f64::NAN, |point| point.value);
                prop_assert!(min == least || (min.is_nan() && least.is_nan()));
                prop_assert!(max == greatest || (max.is_nan() && greatest.is_nan()));
                if finite > 0 {
                    prop_assert!(is_close(mean, whole.moments.mean()));
                    let scale = greatest.abs().max(least.abs()).clamp(1.0, 1e9);
                    prop_assert!((variance - whole.moments.variance()).abs() <= 1e-9 * scale * scale);
                }
                let (first, last) = (parts[0], parts[parts.len() - 1]);
                prop_assert_eq!(Some(first.integers[3]), whole.first.map(|point| point.step));
                prop_assert_eq!(Some(last.integers[4]), whole.last.map(|point| point.step));
                prop_assert_eq!(Some(first.integers[7]), whole.first.map(|point| point.time));
                prop_assert_eq!(Some(last.integers[8]), whole.last.map(|point| point.time));
            }
        }
    }
}

#[test]
fn quantiles_of_many_values_are_off_by_no_more_than_a_256th_of_themselves() {
    let values: Vec<f64> = (0..20_000).map(|place| 1.001_f64.powi(place)).collect();
    let found = of(&values, 0);
    for rank in 1..200_usize {
        let exact = values[rank * 100 - 1];
        let off = (found.quantile(rank as f64 / 200.0) - exact).abs() / exact;
        // Half a step between neighbors is the rank's.
        assert!(off <= 1.0 / 256.0 + 0.001, "{rank}: {off}");
    }
}

#[test]
fn a_window_closes_when_its_time_is_over_without_another_point() {
    let mut windows = LiveWindows::new(1_000);
    let (mut rows, start) = (WindowRows::default(), Instant::now());
    windows.add(&columns(&[(0, 7, 0.5)], 0), start, &mut rows);
    windows.close_due(start + Duration::from_nanos(999), &mut rows);
    assert_eq!(rows.count, 0);
    windows.close_due(start + Duration::from_micros(1), &mut rows);
    assert_eq!(rows.count, 1);
}
