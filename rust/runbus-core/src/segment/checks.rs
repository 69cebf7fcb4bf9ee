//! What is damaged in a segment: a hash for each page.
//!
//! The footer that holds them has one of its own, see [`super::footer`].

use std::ops::Range;

use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::schema::types::SchemaDescriptor;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::layout;
use crate::journal::Span;

const CHECKS: &str = "runbus.checks";

/// A page as its column was written: its rows, its bytes, their hash. A dictionary has no rows.
pub(super) struct Page {
    rows: usize,
    bytes: u64,
    hash: u64,
}

/// The pages of a column of `rows` rows that is all of `bytes`.
pub(super) fn pages_of(bytes: &[u8], locations: &[PageLocation], rows: usize) -> Option<Vec<Page>> {
    let mut starts = vec![];
    for location in locations {
        let offset = usize::try_from(location.offset).ok()?;
        let row = usize::try_from(location.first_row_index).ok()?;
        if starts.is_empty() && offset > 0 {
            starts.push((0, 0));
        }
        starts.push((offset, row));
    }
    let ends = starts.iter().skip(1).copied().chain([(bytes.len(), rows)]);
    let pages = starts.iter().zip(ends).map(|((offset, row), (end, last))| {
        let bytes = bytes.get(*offset..end)?;
        Some(Page {
            rows: last.checked_sub(*row)?,
            bytes: bytes.len() as u64,
            hash: xxh3_64(bytes),
        })
    });
    pages.collect()
}

/// The pages of each column of each row group.
pub(super) fn encode(columns: &[Vec<Page>]) -> KeyValue {
    let page = |page: &Page| format!("{},{},{:016x}", page.rows, page.bytes, page.hash);
    let column = |pages: &Vec<Page>| pages.iter().map(page).collect::<Vec<_>>().join(";");
    let texts: Vec<String> = columns.iter().map(column).collect();
    KeyValue::new(CHECKS.into(), texts.join(" "))
}

/// A part of a column that is whole or is not.
pub(super) struct Piece {
    /// The rows of the file that cannot be read without it.
    pub(super) rows: Range<usize>,
    pub(super) span: Span,
    hash: u64,
    is_dictionary: bool,
}

impl Piece {
    pub(super) fn is_whole(&self, hash: u64) -> bool {
        self.hash == hash
    }

    /// Where a reader of the column finds it; the rows of its row group begin at `start`.
    pub(super) fn location(&self, start: usize) -> Option<PageLocation> {
        if self.is_dictionary {
            return None;
        }
        Some(PageLocation {
            offset: i64::try_from(self.span.offset).ok()?,
            compressed_page_size: i32::try_from(self.span.length).ok()?,
            first_row_index: i64::try_from(self.rows.start - start).ok()?,
        })
    }
}

/// What each column of each row group is checked by; `None` if that is not what the columns have.
///
/// Before version 4 a column was one piece.
pub(super) fn decode(
    pairs: &[KeyValue],
    version: u32,
    groups: &[RowGroupMetaData],
) -> Option<Vec<Vec<Piece>>> {
    let mut texts = layout::find(pairs, CHECKS)?.split_ascii_whitespace();
    if version == 1 {
        texts.next();
    }
    let (mut found, mut start) = (Vec::new(), 0);
    for group in groups {
        let end = start + usize::try_from(group.num_rows()).ok()?;
        for column in group.columns() {
            let span = span_of(column);
            let text = texts.next()?;
            found.push(if version < 4 {
                vec![Piece {
                    rows: start..end,
                    span,
                    hash: u64::from_str_radix(text, 16).ok()?,
                    is_dictionary: false,
                }]
            } else {
                pieces(text, start..end, span)?
            });
        }
        start = end;
    }
    texts.next().is_none().then_some(found)
}

/// The pages of one column, which lie one behind the other.
fn pieces(text: &str, rows: Range<usize>, span: Span) -> Option<Vec<Piece>> {
    let (mut row, mut offset) = (rows.start, span.offset);
    let mut found = Vec::new();
    for page in text.split(';') {
        let mut parts = page.split(',');
        let (count, length) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let hash = u64::from_str_radix(parts.next()?, 16).ok()?;
        let is_dictionary = count == 0;
        let end = row.checked_add(count).filter(|end| *end <= rows.end)?;
        found.push(Piece {
            rows: if is_dictionary {
                rows.clone()
            } else {
                row..end
            },
            span: Span { offset, length },
            hash,
            is_dictionary,
        });
        row = end;
        offset = offset.checked_add(length)?;
    }
    (row == rows.end && offset == span.offset + span.length).then_some(found)
}

/// The hash of the description in version 1, the first of its checks, and what it should be.
pub(super) fn is_description_whole(schema: &SchemaDescriptor, pairs: &[KeyValue]) -> bool {
    let texts = layout::find(pairs, CHECKS).unwrap_or_default();
    let first = texts.split_ascii_whitespace().next();
    let expected = first.and_then(|text| u64::from_str_radix(text, 16).ok());
    expected == Some(of_description(schema, pairs))
}

/// XXH3-64 of the names of the columns and of what `pairs` tell, but for the checks themselves.
fn of_description(schema: &SchemaDescriptor, pairs: &[KeyValue]) -> u64 {
    let mut hash = Xxh3::new();
    let mut add = |text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    for column in schema.columns() {
        add(column.name());
    }
    for pair in pairs {
        // Other writers of Parquet may have added theirs.
        if pair.key.starts_with("runbus.") && pair.key != CHECKS {
            add(&pair.key);
            add(pair.value.as_deref().unwrap_or_default());
        }
    }
    hash.digest()
}

/// Where a column of a row group lies.
pub(super) fn span_of(column: &ColumnChunkMetaData) -> Span {
    let (offset, length) = column.byte_range();
    Span { offset, length }
}
