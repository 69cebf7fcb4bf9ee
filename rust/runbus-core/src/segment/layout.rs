//! Which columns a segment has, and what its metadata says.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use crate::journal::Span;

/// How the names of segments end.
pub const SUFFIX: &str = ".parquet";
/// The version that is written.
pub const VERSION: u32 = 4;
/// A row group has so many points, and those of the rows that make its series equally long.
pub(super) const GROUP_POINTS: usize = 1 << 18;
/// Blocks of `DELTA_BINARY_PACKED` have so many values. Where the series of a row group are as long,
/// the times of all but the first are repetitions, which LZ4 finds.
pub(super) const BLOCK_POINTS: usize = 128;
pub(super) const PAGE_ROWS: usize = 1 << 17;
pub(super) const BATCH_ROWS: usize = PAGE_ROWS / 4;
/// A page of values has the points of one name, or of several that have few.
const LEAST_PAGE_ROWS: usize = 32;
/// There are no more pages of values in a row group than this, but for those of long series.
const VALUE_PAGES: usize = 256;
pub(super) const NAME: &str = "name";
pub(super) const STEP: &str = "step";
pub(super) const TIME: &str = "time";
pub(super) const TIME_NS: &str = "time_ns";
pub(super) const POSITION: &str = "position";
pub(super) const VALUE: &str = "value";
/// What is to be added to a value for the integer that was logged, where no double is that integer.
pub(super) const VALUE_REST: &str = "value_rest";
/// What version 1 had instead of positions: how many rows the writer had committed before.
pub(super) const ROW: &str = "row";

/// What a segment tells of the journal it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// How the writer ended; `None` if it died.
    pub end_state: Option<u32>,
    /// The writer's process; 0 unknown.
    pub writer_pid: u32,
    /// When the journal was made, unix nanoseconds; 0 unknown.
    pub created_ns: i64,
    /// What was damaged in the journal.
    pub damage: Vec<Span>,
    /// How many segments the journal became: 1, but for those of version 1.
    pub segments: usize,
    /// Its version. In version 1 rows of several names could have files and columns of their own;
    /// version 2 had no integers beyond doubles; version 3 had one check for all pages of a column.
    pub version: u32,
}

impl Default for About {
    fn default() -> Self {
        Self {
            end_state: None,
            writer_pid: 0,
            created_ns: 0,
            damage: Vec::new(),
            segments: 1,
            version: VERSION,
        }
    }
}

/// Whether points of every name need this column, too.
pub(super) fn is_of_every_row(column: &str) -> bool {
    [STEP, TIME, TIME_NS, POSITION, VALUE_REST, ROW].contains(&column)
}

fn column(name: &str, physical: Physical, logical: Option<LogicalType>) -> Result<TypePtr> {
    let column = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(column))
}

/// The columns: the same in every segment, so that the segments of a folder are one data set.
pub(super) fn schema() -> Result<TypePtr> {
    let time = LogicalType::timestamp(true, TimeUnit::MICROS);
    let columns = vec![
        column(NAME, Physical::BYTE_ARRAY, Some(LogicalType::String))?,
        column(STEP, Physical::INT64, None)?,
        column(TIME, Physical::INT64, Some(time))?,
        column(TIME_NS, Physical::INT32, None)?,
        column(POSITION, Physical::INT64, None)?,
        column(VALUE, Physical::DOUBLE, None)?,
        column(VALUE_REST, Physical::INT32, None)?,
    ];
    let schema = Type::group_type_builder("runbus").with_fields(columns);
    Ok(Arc::new(schema.build()?))
}

/// How many points the pages of values have, in their order, by how many each name has: what one damaged
/// page costs should not cost other names theirs.
pub(super) fn value_pages(counts: &[usize]) -> Vec<usize> {
    let total: usize = counts.iter().sum();
    let least = LEAST_PAGE_ROWS.max(total / VALUE_PAGES);
    let (mut pages, mut shared) = (Vec::new(), 0);
    for count in counts.iter().copied().filter(|count| *count > 0) {
        if count < least {
            shared += count;
        }
        if shared >= least || (count >= least && shared > 0) {
            pages.push(shared);
            shared = 0;
        }
        if count >= least {
            pages.extend(std::iter::repeat_n(BATCH_ROWS, count / BATCH_ROWS));
            pages.extend(Some(count % BATCH_ROWS).filter(|rest| *rest > 0));
        }
    }
    pages.extend(Some(shared).filter(|rest| *rest > 0));
    pages
}

/// As [`properties`], but each batch that is written becomes a page.
pub(super) fn properties_of_values() -> WriterProperties {
    let properties = properties().into_builder();
    properties.set_data_page_row_count_limit(1).build()
}

/// Pages are of version 1: fastparquet reads wrong numbers from integers in those of version 2.
pub(super) fn properties() -> WriterProperties {
    let path = |name: &str| ColumnPath::from(name);
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("runbus {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::LZ4_RAW)
        .set_dictionary_enabled(false)
        .set_encoding(Encoding::BYTE_STREAM_SPLIT)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(PAGE_ROWS * 8)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(BATCH_ROWS)
        .set_max_row_group_row_count(None)
        .set_column_dictionary_enabled(path(NAME), true)
        .set_column_encoding(path(NAME), Encoding::PLAIN)
        .set_column_encoding(path(STEP), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(path(STEP), EnabledStatistics::Chunk)
        .set_column_encoding(path(TIME), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(path(TIME), EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(path(TIME_NS), true)
        .set_column_encoding(path(TIME_NS), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(path(POSITION), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(path(POSITION), EnabledStatistics::Chunk)
        .set_column_dictionary_enabled(path(VALUE_REST), true)
        .set_column_encoding(path(VALUE_REST), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(path(VALUE_REST), EnabledStatistics::Chunk)
        .build()
}

impl About {
    pub(super) fn encode(&self) -> Vec<KeyValue> {
        let damage: Vec<String> = self
            .damage
            .iter()
            .map(|span| format!("{} {}", span.offset, span.length))
            .collect();
        let mut pairs = vec![
            KeyValue::new("runbus.version".into(), self.version.to_string()),
            KeyValue::new("runbus.writer_pid".into(), self.writer_pid.to_string()),
            KeyValue::new("runbus.created_ns".into(), self.created_ns.to_string()),
            KeyValue::new("runbus.damage".into(), damage.join(",")),
        ];
        if let Some(state) = self.end_state {
            pairs.push(KeyValue::new("runbus.end_state".into(), state.to_string()));
        }
        pairs
    }

    /// What the metadata says; `None` where it is not ours.
    pub(super) fn decode(pairs: &[KeyValue]) -> Option<Self> {
        let number = |key| find(pairs, key)?.parse().ok();
        let version = find(pairs, "runbus.version")?.parse().ok()?;
        if !(1..=VERSION).contains(&version) {
            return None;
        }
        let spans = find(pairs, "runbus.damage")?.split(',').map(span);
        Some(Self {
            end_state: number("runbus.end_state"),
            writer_pid: number("runbus.writer_pid")?,
            created_ns: find(pairs, "runbus.created_ns")?.parse().ok()?,
            damage: spans.flatten().collect(),
            segments: if version == 1 {
                find(pairs, "runbus.segments")?.parse().ok()?
            } else {
                1
            },
            version,
        })
    }
}

fn span(text: &str) -> Option<Span> {
    let (offset, length) = text.split_once(' ')?;
    Some(Span {
        offset: offset.parse().ok()?,
        length: length.parse().ok()?,
    })
}

pub(super) fn find<'a>(pairs: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let pair = pairs.iter().find(|pair| pair.key == key)?;
    pair.value.as_deref()
}

/// Names with the ends of their stretches, as `<end> <bytes of the name>:<name>` each.
pub(super) fn encode_names<'a>(stretches: impl Iterator<Item = (&'a str, usize)>) -> KeyValue {
    use std::fmt::Write;

    let mut text = String::new();
    for (name, end) in stretches {
        // Writing to a String cannot fail.
        let _ = write!(text, "{end} {}:{name}", name.len());
    }
    KeyValue::new("runbus.names".into(), text)
}

pub(super) fn decode_names(mut text: &str) -> Option<(Vec<Box<str>>, Vec<usize>)> {
    let (mut names, mut ends) = (Vec::new(), Vec::new());
    while !text.is_empty() {
        let (end, rest) = text.split_once(' ')?;
        let (length, rest) = rest.split_once(':')?;
        let (name, rest) = rest.split_at_checked(length.parse().ok()?)?;
        let end = end.parse().ok()?;
        if ends.last().is_some_and(|last| *last > end) {
            return None;
        }
        names.push(name.into());
        ends.push(end);
        text = rest;
    }
    Some((names, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_few_points_share_pages_and_others_do_not() {
        assert_eq!(
            value_pages(&[100, 0, 40, 10, 10, 10, 10, 50, 5]),
            [100, 40, 40, 50, 5]
        );
        assert_eq!(
            value_pages(&[1, BATCH_ROWS * 2 + 1]),
            [1, BATCH_ROWS, BATCH_ROWS, 1]
        );
        assert_eq!(value_pages(&[]), []);
        let many = value_pages(&vec![40; 10_000]);
        assert!(many.len() <= VALUE_PAGES && many.iter().sum::<usize>() == 400_000);
    }

    #[test]
    fn names_of_any_characters_read_back() {
        let names: Vec<Box<str>> = ["loss", "a 1:b", "größe\n", "9"].map(Box::from).into();
        let ends = vec![1, 1, 5, 9];
        let stretches = names.iter().map(|name| &**name).zip(ends.clone());
        let text = encode_names(stretches).value.unwrap();
        assert_eq!(decode_names(&text), Some((names, ends)));
        for bad in ["x", "1 5:abc", "1 1:é", "2 1:a1 1:b"] {
            assert_eq!(decode_names(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_told_of_a_journal_reads_back() {
        let about = About {
            end_state: Some(1),
            writer_pid: 7,
            created_ns: -3,
            damage: vec![
                Span {
                    offset: 8,
                    length: 16,
                },
                Span {
                    offset: 80,
                    length: 8,
                },
            ],
            ..About::default()
        };
        assert_eq!(About::decode(&about.encode()), Some(about));
        assert_eq!(
            About::decode(&About::default().encode()),
            Some(About::default())
        );
        assert_eq!(About::decode(&[]), None);
    }
}
