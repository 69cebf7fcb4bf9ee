//! The list of frequencies of a clock, in two layouts.

/// The current frequency, in Hz.
///
/// Since version 6 a flag stands before the two numbers, with three bytes that hold anything behind it:
/// `flag, count, current, -, frequencies` in place of `count, current, frequencies`. Only one of the two
/// readings has a current frequency among its own.
pub(super) fn current(words: &[u64]) -> Option<u64> {
    let half = |place: usize| -> Option<u32> {
        let bytes = words.get(place / 2)?.to_ne_bytes();
        let start = place % 2 * 4;
        Some(u32::from_ne_bytes(bytes[start..start + 4].try_into().ok()?))
    };
    let read = |numbers: usize, frequencies: usize| {
        let (count, current) = (half(numbers)?, half(numbers + 1)?);
        let is_listed = current < count && count <= MOST_FREQUENCIES;
        let place = frequencies + usize::try_from(current).ok()?;
        let frequency = words.get(place).filter(|_| is_listed)?;
        (*frequency > 0).then_some(*frequency)
    };
    read(1, 2).or_else(|| read(0, 1))
}

/// In the longer of the two.
const MOST_FREQUENCIES: u32 = 33;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn word(first: u32, second: u32) -> u64 {
        let bytes = [first.to_ne_bytes(), second.to_ne_bytes()].concat();
        u64::from_ne_bytes(bytes.try_into().unwrap())
    }

    fn padded(mut words: Vec<u64>) -> Vec<u64> {
        words.resize(64, 0);
        words
    }

    proptest! {
        #[test]
        fn the_current_frequency_is_found_in_both_layouts(
            (frequencies, current) in prop::collection::vec(200_000_000..3_000_000_000u64, 1..=32)
                .prop_flat_map(|all| { let count = all.len(); (Just(all), 0..count) }),
            has_deep_sleep: bool,
        ) {
            let count = u32::try_from(frequencies.len()).unwrap();
            let number = u32::try_from(current).unwrap();
            let mut old = vec![word(count, number)];
            old.extend(&frequencies);
            prop_assert_eq!(super::current(&padded(old)), Some(frequencies[current]));
            let mut new = vec![word(has_deep_sleep.into(), count), word(number, 0)];
            new.extend(&frequencies);
            prop_assert_eq!(super::current(&padded(new)), Some(frequencies[current]));
        }

        #[test]
        fn nonsense_is_no_frequency_and_no_panic(words in prop::collection::vec(any::<u64>(), 0..40)) {
            super::current(&words);
        }
    }
}
