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

/// Ascending ranges without what lies within one more.
pub(super) fn without(ranges: &[Range<usize>], hole: &Range<usize>) -> Vec<Range<usize>> {
    let parts = ranges.iter().flat_map(|part| {
        let before = part.start..part.end.min(hole.start);
        let after = part.start.max(hole.end)..part.end;
        [before, after]
    });
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_takes_from_each_range_what_lies_within_it() {
        let ranges = [0..4, 6..10, 12..13];
        assert_eq!(without(&ranges, &(2..7)), [0..2, 7..10, 12..13]);
        assert_eq!(without(&ranges, &(7..8)), [0..4, 6..7, 8..10, 12..13]);
        assert_eq!(without(&ranges, &(0..20)), []);
        assert_eq!(without(&ranges, &(4..6)), ranges);
    }
}
