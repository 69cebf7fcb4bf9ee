//! Where the least and the greatest value stand.

/// Compared side by side: as many as two vector registers of any machine.
const LANES: usize = 16;
/// First find the block, then the place within it.
const BLOCK: usize = 1024;

/// The places of the first least and the first greatest value; `None` if all are NaN.
#[must_use]
pub fn extremes(values: &[f64]) -> Option<(usize, usize)> {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    let (mut low_block, mut high_block) = (None, None);
    for (index, block) in values.chunks(BLOCK).enumerate() {
        let (block_low, block_high) = span(block);
        if block_low > block_high {
            continue;
        }
        if block_low < low || low_block.is_none() {
            (low, low_block) = (block_low, Some(index));
        }
        if block_high > high || high_block.is_none() {
            (high, high_block) = (block_high, Some(index));
        }
    }
    Some((
        place(values, low_block?, low),
        place(values, high_block?, high),
    ))
}

#[allow(clippy::float_cmp, reason = "the value was taken from this block")]
fn place(values: &[f64], block: usize, value: f64) -> usize {
    let start = block * BLOCK;
    let within = values[start..].iter().position(|other| *other == value);
    start + within.unwrap_or(0)
}

/// The least and the greatest value; the least exceeds the greatest if all are NaN.
fn span(block: &[f64]) -> (f64, f64) {
    let mut low = [f64::INFINITY; LANES];
    let mut high = [f64::NEG_INFINITY; LANES];
    let (rows, rest) = block.as_chunks::<LANES>();
    for row in rows {
        // A comparison with NaN is false: the old value stays. This form is one instruction.
        for ((low, high), value) in low.iter_mut().zip(&mut high).zip(row) {
            *low = if *value < *low { *value } else { *low };
            *high = if *value > *high { *value } else { *high };
        }
    }
    for (index, value) in rest.iter().enumerate() {
        low[index] = low[index].min(*value);
        high[index] = high[index].max(*value);
    }
    (
        low.iter().copied().fold(f64::INFINITY, f64::min),
        high.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}
