//! XXH3 over the payload of a record: the same function as everywhere, made for where payloads lie.
//!
//! The words of a row were stored just before, by eight bytes. A load of sixteen, which compilers make
//! of two of eight, cannot take them from the store buffer: it waits until both are in the cache, and
//! the place of the record has mostly never been there. That was a third of a row of twenty. And long
//! payloads are hashed as wide as the processor at hand allows, not as narrow as the first of its kind.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

#[cfg(target_arch = "x86_64")]
mod wide;

use xxhash_rust::xxh3::xxh3_64;

use super::words::{WORD, bytes_of, bytes_of_mut};

/// More words are hashed by stripes: what was stored first has reached the cache by then.
const MOST_WORDS: usize = 30;
/// Fewer are none of a row.
const LEAST_WORDS: usize = 4;
const LONG: usize = MOST_WORDS * WORD;

const PRIME64_1: u64 = 0x9E37_79B1_85EB_CA87;

/// The default secret of XXH3.
#[rustfmt::skip]
static SECRET: [u8; 192] = [
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
];

/// The hash of bytes that lie anywhere.
#[inline(always)]
pub(super) fn of(bytes: &[u8]) -> u64 {
    if bytes.len() > LONG {
        long(bytes)
    } else {
        xxh3_64(bytes)
    }
}

/// The hash of words that were stored just now.
#[inline(always)]
pub(super) fn of_stored(words: &[u64]) -> u64 {
    match words {
        // The usual row has its words in registers yet.
        [_, _, _, _] => of_row(words, |word| *word),
        _ if (LEAST_WORDS..=MOST_WORDS).contains(&words.len()) => of_stored_row(words),
        _ => of(bytes_of(words)),
    }
}

#[inline(never)]
fn of_stored_row(words: &[u64]) -> u64 {
    // SAFETY: a reference is valid for reading. What is read as volatile is read on its own.
    of_row(words, |word| unsafe {
        std::ptr::from_ref(word).read_volatile()
    })
}

/// The hash of 17 to 240 bytes.
#[inline(always)]
fn of_row(words: &[u64], read: impl Fn(&u64) -> u64) -> u64 {
    let count = words.len();
    let mix = |place: usize, secret: usize| {
        let lane = |at: usize, secret: usize| u64::from_le(read(&words[at])) ^ secret_word(secret);
        fold(lane(place, secret), lane(place + 1, secret + WORD))
    };
    let mut sum = ((count * WORD) as u64).wrapping_mul(PRIME64_1);
    if count <= 16 {
        // From both ends, as long as they are apart.
        for pair in 0..count.div_ceil(4) {
            sum = sum
                .wrapping_add(mix(2 * pair, 32 * pair))
                .wrapping_add(mix(count - 2 * pair - 2, 32 * pair + 16));
        }
        return avalanche(sum);
    }
    for pair in 0..8 {
        sum = sum.wrapping_add(mix(2 * pair, 16 * pair));
    }
    sum = avalanche(sum);
    for pair in 8..count / 2 {
        sum = sum.wrapping_add(mix(2 * pair, 16 * (pair - 8) + 3));
    }
    avalanche(sum.wrapping_add(mix(count - 2, 136 - 17)))
}

/// The word of the secret that begins with this byte.
#[inline(always)]
fn secret_word(from: usize) -> u64 {
    let bytes = SECRET[from..].first_chunk();
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // Both halves.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn avalanche(sum: u64) -> u64 {
    let mixed = (sum ^ sum >> 37).wrapping_mul(0x1656_6791_9E37_79F9);
    mixed ^ mixed >> 32
}

/// The hash of more than 240 bytes.
#[inline]
fn long(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2")
        && let Some((first, rest)) = bytes.split_first_chunk()
    {
        // SAFETY: the processor has it.
        return unsafe { wide::hash::<false>(first, rest, &mut []) };
    }
    xxh3_64(bytes)
}

/// Put words behind the `ready` ones of a payload, up to its end; the hash of the payload.
///
/// A payload that is copied first and hashed then takes half as long again.
pub(super) fn of_copied(payload: &mut [u64], ready: usize, words: &[[u8; WORD]]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2")
        && payload.len() > MOST_WORDS
        && let Some(first) = (wide::STRIPE / WORD).checked_sub(ready)
    {
        let (beginning, rest) = words.split_at(first);
        put(&mut payload[ready..ready + first], beginning);
        let (first, copy) = bytes_of_mut(payload).split_at_mut(wide::STRIPE);
        if let Ok(first) = (&*first).try_into() {
            // SAFETY: the processor has it.
            return unsafe { wide::hash::<true>(first, rest.as_flattened(), copy) };
        }
    }
    put(&mut payload[ready..], words);
    of_stored(payload)
}

fn put(place: &mut [u64], words: &[[u8; WORD]]) {
    for (place, word) in place.iter_mut().zip(words) {
        *place = u64::from_ne_bytes(*word);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// So many bytes are taken in under one secret.
    const BLOCK: usize = 1024;

    fn words(count: usize) -> Vec<u64> {
        let word = |at: usize| (at as u64 + 1).wrapping_mul(PRIME64_1).rotate_left(31);
        (0..count).map(word).collect()
    }

    #[test]
    fn rows_of_any_length_have_the_hash_of_the_reference() {
        for count in 0..=3 * BLOCK / WORD {
            let words = words(count);
            assert_eq!(
                of_stored(&words),
                xxh3_64(bytes_of(&words)),
                "{count} words"
            );
        }
    }

    #[test]
    fn payloads_of_any_length_have_the_hash_of_the_reference() {
        let words = words(4 * BLOCK / WORD);
        for length in 0..=4 * BLOCK {
            let bytes = &bytes_of(&words)[..length];
            assert_eq!(of(bytes), xxh3_64(bytes), "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn what_is_copied_has_the_hash_of_the_copy(
            count in 0..3 * BLOCK / WORD,
            ready in 0..12_usize,
        ) {
            let whole = words(ready + count);
            let copied: Vec<_> = whole[ready..].iter().map(|word| word.to_ne_bytes()).collect();
            let mut payload = whole[..ready].to_vec();
            payload.resize(whole.len(), 0);
            prop_assert_eq!(of_copied(&mut payload, ready, &copied), xxh3_64(bytes_of(&whole)));
            prop_assert_eq!(payload, whole);
        }

        #[test]
        fn any_bytes_have_the_hash_of_the_reference(
            bytes in prop::collection::vec(any::<u8>(), 0..3 * BLOCK),
            from in 0..WORD,
        ) {
            let bytes = bytes.get(from..).unwrap_or_default();
            prop_assert_eq!(of(bytes), xxh3_64(bytes));
        }
    }
}
