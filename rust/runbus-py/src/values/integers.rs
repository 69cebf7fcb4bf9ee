//! Integers as doubles.

/// Up to here every integer is a double.
const EXACT_INTEGERS: u64 = 1 << 53;

/// An integer as a double, if there is such a double.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // What is looked for.
pub(crate) fn exact(value: i64) -> Option<f64> {
    let double = value as f64;
    let is_exact = value.unsigned_abs() <= EXACT_INTEGERS || double as i128 == i128::from(value);
    is_exact.then_some(double)
}
