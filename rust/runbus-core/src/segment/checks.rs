//! What is damaged in a segment: a hash for each column of each row group.
//!
//! The footer that holds them has one of its own, see [`super::footer`].

use parquet::file::metadata::{ColumnChunkMetaData, KeyValue};
use parquet::schema::types::SchemaDescriptor;
use xxhash_rust::xxh3::Xxh3;

use super::layout;
use crate::journal::Span;

const CHECKS: &str = "runbus.checks";

/// The hashes of each column of each row group.
pub(super) fn encode(columns: &[u64]) -> KeyValue {
    let texts: Vec<String> = columns.iter().map(|hash| format!("{hash:016x}")).collect();
    KeyValue::new(CHECKS.into(), texts.join(" "))
}

pub(super) fn decode(pairs: &[KeyValue]) -> Option<Vec<u64>> {
    let texts = layout::find(pairs, CHECKS)?.split_ascii_whitespace();
    texts
        .map(|text| u64::from_str_radix(text, 16).ok())
        .collect()
}

/// What covers the description in version 1: XXH3-64 of the names of the columns and of what `pairs`
/// tell, but for the checks themselves. It is the first of the hashes.
pub(super) fn of_description(schema: &SchemaDescriptor, pairs: &[KeyValue]) -> u64 {
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
