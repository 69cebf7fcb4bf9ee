//! What each way of choosing points promises.
#![allow(missing_docs, clippy::float_cmp, clippy::unwrap_used)]

use proptest::prelude::*;
use runbus_core::downsample::{Method, downsample, extremes, lttb, m4, min_max};

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -10.0..10.0,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0), Just(0.0)],
        1 => any::<f64>(),
    ]
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        3 => prop::collection::vec(value(), 0..400),
        1 => prop::collection::vec(value(), 2000..4000),
    ]
}

/// The least and the greatest value by the plainest of loops.
fn plain_extremes(values: &[f64]) -> Option<(f64, f64)> {
    let numbers = || values.iter().copied().filter(|value| !value.is_nan());
    Some((numbers().reduce(f64::min)?, numbers().reduce(f64::max)?))
}

fn is_ascending(places: &[usize], length: usize) -> bool {
    places.windows(2).all(|pair| pair[0] < pair[1]) && places.iter().all(|place| *place < length)
}

#[allow(clippy::cast_possible_wrap)]
fn steps(values: &[f64]) -> Vec<i64> {
    (0..values.len() as i64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn extremes_are_the_first_of_the_least_and_of_the_greatest(values in values()) {
        let Some((low, high)) = plain_extremes(&values) else {
            prop_assert_eq!(extremes(&values), None);
            return Ok(());
        };
        let first = |wanted: f64| values.iter().position(|value| *value == wanted).unwrap();
        prop_assert_eq!(extremes(&values), Some((first(low), first(high))));
    }

    #[test]
    fn m4_keeps_first_last_least_and_greatest_of_each_bucket(
        values in values(), count in 4_usize..200,
    ) {
        prop_assume!(values.len() > count);
        let places = m4(&values, count);
        prop_assert!(is_ascending(&places, values.len()));
        prop_assert!(places.len() <= count);
        let buckets = count / 4;
        // Buckets are found again from the definition: sizes differ by one at most.
        let mut start = 0;
        for index in 0..buckets {
            let whole = values.len() / buckets * (index + 1);
            let end = whole + values.len() % buckets * (index + 1) / buckets;
            let bucket = &values[start..end];
            prop_assert!(places.contains(&start) && places.contains(&(end - 1)));
            if let Some((low, high)) = plain_extremes(bucket) {
                let kept: Vec<f64> = places
                    .iter()
                    .filter(|place| (start..end).contains(place))
                    .map(|place| values[*place])
                    .collect();
                prop_assert!(kept.contains(&low) && kept.contains(&high));
            }
            start = end;
        }
        prop_assert_eq!(start, values.len());
    }

    #[test]
    fn no_spike_is_lost_by_m4_and_minmax(
        length in 100_usize..5000, at: prop::sample::Index, count in 4_usize..60, is_up: bool,
    ) {
        let at = at.index(length);
        let mut values = vec![0.0; length];
        values[at] = if is_up { 1.0 } else { -1.0 };
        prop_assert!(m4(&values, count).contains(&at));
        prop_assert!(min_max(&values, count).contains(&at));
    }

    #[test]
    fn each_method_chooses_ascending_places_and_no_more_than_asked(
        values in values(), count in 0_usize..100,
    ) {
        for method in [Method::M4, Method::MinMax, Method::Lttb] {
            let places = downsample(&steps(&values), &values, count, method);
            prop_assert!(is_ascending(&places, values.len()));
            prop_assert!(places.len() <= count.max(method.fewest()));
            if values.len() <= count {
                prop_assert_eq!(places.len(), values.len());
            }
        }
    }

    #[test]
    fn lttb_keeps_both_ends_and_exactly_as_many_as_asked(
        values in values(), count in 3_usize..100,
    ) {
        prop_assume!(values.len() > count);
        let places = lttb(&steps(&values), &values, count);
        prop_assert_eq!(places.len(), count);
        prop_assert_eq!((places[0], places[count - 1]), (0, values.len() - 1));
    }
}

#[test]
fn many_threads_choose_what_one_would() {
    let values: Vec<f64> = (0..3_000_000_u32)
        .map(|index| f64::from(index.wrapping_mul(2_654_435_761) >> 7))
        .collect();
    let places = m4(&values, 4);
    let (low, high) = extremes(&values).unwrap();
    let mut expected = vec![0, low, high, values.len() - 1];
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(places, expected);
    let fine = m4(&values, 400);
    assert!(is_ascending(&fine, values.len()));
    assert!(fine.contains(&low) && fine.contains(&high));
}

#[test]
fn a_stretch_of_nan_does_not_blind_lttb_to_what_follows() {
    let mut values = vec![0.0; 1_000];
    values[280..420].fill(f64::NAN);
    values[450] = 100.0;
    let chosen = downsample(&steps(&values), &values, 12, Method::Lttb);
    assert!(chosen.contains(&450), "{chosen:?}");
}
