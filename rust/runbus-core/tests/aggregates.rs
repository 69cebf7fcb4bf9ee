//! Aggregates against the plainest computation, whole and in parts.
#![allow(
    missing_docs,
    clippy::float_cmp,
    clippy::unwrap_used,
    clippy::cast_precision_loss
)]

use proptest::prelude::*;
use runbus_core::aggregate::{Aggregate, Point, Sketch};

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
fn nothing_amounts_to_nan() {
    let empty = Aggregate::default();
    assert!(empty.quantile(0.5).is_nan() && empty.moments.mean().is_nan());
    let nans = of(&[f64::NAN; 3], 0);
    assert_eq!((nans.count, nans.min, nans.max), (3, None, None));
    assert!(nans.last.unwrap().value.is_nan() && nans.quantile(0.5).is_nan());
}
