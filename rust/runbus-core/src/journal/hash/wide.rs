//! XXH3 of long payloads by AVX2: twice as fast as by what every processor of the kind has.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_mul_epu32, _mm256_set1_epi64x,
    _mm256_shuffle_epi32, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_storeu_si256,
    _mm256_xor_si256,
};

use super::{PRIME64_1, SECRET, avalanche, fold, secret_word};
use crate::journal::words::WORD;

pub(super) const STRIPE: usize = 64;
const LANES: usize = STRIPE / WORD;
/// The keys of each stripe of a block begin one word further in the secret.
const BLOCK_STRIPES: usize = (SECRET.len() - STRIPE) / WORD;

const PRIME32_1: u64 = 0x9E37_79B1;
const PRIME32_2: u64 = 0x85EB_CA77;
const PRIME32_3: u64 = 0xC2B2_AE3D;
const PRIME64_2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const PRIME64_3: u64 = 0x1656_67B1_9E37_79F9;
const PRIME64_4: u64 = 0x85EB_CA77_C2B2_AE63;
const PRIME64_5: u64 = 0x27D4_EB2F_1656_67C5;
const FIRST_LANES: [u64; LANES] = [
    PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1,
];

type Lanes = [__m256i; 2];
/// Each lane takes in the word of its neighbor, and the product of the halves of its own keyed one.
const NEIGHBORS: i32 = 0b01_00_11_10;

/// The hash of more than 240 bytes, the first stripe of which lies on its own; four of the eight lanes
/// at once.
///
/// With `COPIES` the rest is stored into `copy` on the way, which is as long: the hash is that of the
/// copy, whatever another thread does to `rest` meanwhile.
#[target_feature(enable = "avx2")]
pub(super) fn hash<const COPIES: bool>(first: &[u8; STRIPE], rest: &[u8], copy: &mut [u8]) -> u64 {
    let load = |bytes: &[u8; STRIPE]| -> Lanes {
        let (halves, _) = bytes.as_chunks::<{ STRIPE / 2 }>();
        // SAFETY: as many bytes as are loaded, wherever they lie.
        [0, 1].map(|half| unsafe { _mm256_loadu_si256(halves[half].as_ptr().cast()) })
    };
    let take_in = |lanes: &mut Lanes, words: Lanes, secret: &[u8; STRIPE]| {
        let keys = load(secret);
        for half in 0..2 {
            let keyed = _mm256_xor_si256(words[half], keys[half]);
            let product = _mm256_mul_epu32(keyed, _mm256_srli_epi64::<32>(keyed));
            let taken_in = _mm256_shuffle_epi32::<NEIGHBORS>(words[half]);
            lanes[half] = _mm256_add_epi64(lanes[half], _mm256_add_epi64(product, taken_in));
        }
    };
    let prime = _mm256_set1_epi64x(PRIME32_1.cast_signed());
    let mix = |lanes: &mut Lanes| {
        let keys = load(secret_from(SECRET.len() - STRIPE));
        for (lane, key) in lanes.iter_mut().zip(keys) {
            let mixed = _mm256_xor_si256(*lane, _mm256_srli_epi64::<47>(*lane));
            let mixed = _mm256_xor_si256(mixed, key);
            let high = _mm256_mul_epu32(_mm256_srli_epi64::<32>(mixed), prime);
            let low = _mm256_mul_epu32(mixed, prime);
            *lane = _mm256_add_epi64(low, _mm256_slli_epi64::<32>(high));
        }
    };

    let mut start = [0; STRIPE];
    for (bytes, lane) in start.as_chunks_mut().0.iter_mut().zip(FIRST_LANES) {
        *bytes = lane.to_ne_bytes();
    }
    let mut lanes = load(&start);
    take_in(&mut lanes, load(first), secret_from(0));
    // The last stripe ends with the bytes, and may begin in the one before.
    let (stripes, tail) = rest.split_at((rest.len() - 1) / STRIPE * STRIPE);
    let (copies, copy_of_tail) = copy.split_at_mut(if COPIES { stripes.len() } else { 0 });
    let mut copies = copies.as_chunks_mut::<STRIPE>().0.iter_mut();
    for (place, stripe) in (1..).zip(stripes.as_chunks::<STRIPE>().0) {
        let words = load(stripe);
        if COPIES && let Some(copy) = copies.next() {
            let (halves, _) = copy.as_chunks_mut::<{ STRIPE / 2 }>();
            for (half, words) in halves.iter_mut().zip(words) {
                // SAFETY: as many bytes as are stored, wherever they lie.
                unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), words) };
            }
        }
        let place = place % BLOCK_STRIPES;
        take_in(&mut lanes, words, secret_from(place * WORD));
        if place == BLOCK_STRIPES - 1 {
            mix(&mut lanes);
        }
    }
    let hashed = if COPIES {
        copy_of_tail.copy_from_slice(tail);
        &*copy
    } else {
        rest
    };
    if let Some(last) = hashed.last_chunk() {
        take_in(
            &mut lanes,
            load(last),
            secret_from(SECRET.len() - STRIPE - 7),
        );
    }
    // SAFETY: both are 64 bytes that may hold anything.
    merged(
        unsafe { std::mem::transmute::<Lanes, [u64; LANES]>(lanes) },
        STRIPE + rest.len(),
    )
}

/// The keys of a stripe.
#[inline(always)]
fn secret_from(place: usize) -> &'static [u8; STRIPE] {
    SECRET[place..].first_chunk().unwrap_or(&[0; STRIPE])
}

fn merged(lanes: [u64; LANES], count: usize) -> u64 {
    let mut sum = (count as u64).wrapping_mul(PRIME64_1);
    for pair in 0..LANES / 2 {
        let lane = |at: usize| lanes[at] ^ secret_word(11 + at * WORD);
        sum = sum.wrapping_add(fold(lane(2 * pair), lane(2 * pair + 1)));
    }
    avalanche(sum)
}
