//! Ascending ranges of rows.

use std::ops::Range;

/// What of a range lies within ascending ones.
pub(super) fn within(
    ranges: &[Range<usize>],
    range: &Range<usize>,
) -> impl Iterator<Item = Range<usize>> {
    let parts = ranges
        .iter()
        .map(move |part| part.start.max(range.start)..part.end.min(range.end));
    parts.filter(|part| !part.is_empty())
}

/// Neighbours become one.
pub(super) fn add_range(ranges: &mut Vec<Range<usize>>, range: Range<usize>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}
