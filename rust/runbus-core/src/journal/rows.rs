//! What records of points say: rows under the names of their schemas.

use std::collections::HashMap;

use super::column::{Column, Form};
use super::format::{ARE_INTEGERS, Kind, ROW_WORDS, WORD, word_at};
use super::header::halves;
use super::names::MAX_SCHEMAS;
use super::record::decode_schema;
use super::scanner::Record;
use crate::frame::{Point, Points};
use crate::integer;

/// Names and schemas, as far as they are known.
#[derive(Default)]
pub(super) struct Table {
    pub(super) names: Vec<Box<str>>,
    indices: HashMap<Box<str>, u32>,
    /// For each schema id the indices of its names.
    schemas: Vec<Option<Box<[u32]>>>,
}

impl Table {
    /// Take in a schema record; `false` when it makes no sense.
    pub(super) fn learn(&mut self, payload: &[u8]) -> bool {
        let Some((id, names)) = decode_schema(payload) else {
            return false;
        };
        let id = id as usize;
        if id >= MAX_SCHEMAS {
            return false;
        }
        if self.schemas.get(id).is_some_and(Option::is_some) {
            return true;
        }
        let columns = names.into_iter().map(|name| self.index_of(name)).collect();
        if self.schemas.len() <= id {
            self.schemas.resize(id + 1, None);
        }
        self.schemas[id] = Some(columns);
        true
    }

    fn index_of(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.indices.get(name) {
            return index;
        }
        let index = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.into());
        self.indices.insert(name.into(), index);
        index
    }

    /// The names of a schema that is known.
    pub(super) fn names_of(&self, id: u32) -> impl Iterator<Item = &str> {
        let columns = self.columns(id).unwrap_or_default();
        columns.iter().map(|index| &*self.names[*index as usize])
    }

    pub(super) fn columns(&self, id: u32) -> Option<&[u32]> {
        self.schemas.get(id as usize)?.as_deref()
    }
}

/// A row whose schema is known.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Where its record ends in the journal: a follower that has read it continues there.
    pub(crate) position: u64,
    /// For each value the index of its name.
    pub(crate) columns: &'a [u32],
    pub(crate) step: i64,
    /// Unix nanoseconds.
    pub(crate) time: i64,
    /// The nearest double, if it is an integer.
    pub(crate) values: &'a [[u8; WORD]],
    /// What is missing in the only value, if it is an integer beyond doubles.
    pub(crate) rest: i16,
}

impl Row<'_> {
    /// Its points, each with the index of its name.
    pub(crate) fn points(&self) -> impl Iterator<Item = (u32, Point)> {
        let (step, time, rest) = (self.step, self.time, self.rest);
        let values = self.columns.iter().zip(self.values);
        values.map(move |(column, value)| {
            let value = f64::from_le_bytes(*value);
            let point = Point {
                step,
                time,
                value,
                rest,
            };
            (*column, point)
        })
    }
}

/// Why a record of points cannot be read.
pub(super) enum Unread {
    /// Its schema record is damaged, or comes later as a repetition.
    Unknown(u32),
    /// It is none that this version writes.
    Wrong,
}

/// Rows of one schema, one behind the other.
pub(super) struct Rows<'a> {
    pub(super) schema: u32,
    /// For each value of a row the index of its name.
    pub(super) columns: &'a [u32],
    /// What the words of values are.
    form: Form,
    lie: Lie<'a>,
}

/// How rows lie in the file.
enum Lie<'a> {
    /// Each in a record of its own.
    Records(Record<'a>),
    /// All in one record, which ends there.
    Column(Column<'a>, u64),
}

/// The step of a row, its time, and its values as they are stored.
type Words<'a> = (i64, i64, &'a [[u8; WORD]]);

impl<'a> Rows<'a> {
    /// The rows of records of points whose schema is known.
    #[inline]
    pub(super) fn of(table: &'a Table, record: Record<'a>) -> Result<Self, Unread> {
        let (schema, flags) = halves(word_at(record.payload, 0));
        let columns = table.columns(schema).ok_or(Unread::Unknown(schema))?;
        let (form, lie) = if record.kind == Kind::Column {
            let column = Column::decode(record.payload).ok_or(Unread::Wrong)?;
            if columns.len() != 1 {
                return Err(Unread::Wrong);
            }
            (column.form, Lie::Column(column, record.span().end()))
        } else {
            if record.payload.len() != (ROW_WORDS + columns.len()) * WORD {
                return Err(Unread::Wrong);
            }
            let form = match (flags, columns) {
                (0, _) => Form::Doubles,
                (ARE_INTEGERS, [_]) => Form::Integers,
                _ => return Err(Unread::Wrong),
            };
            (form, Lie::Records(record))
        };
        Ok(Self {
            schema,
            columns,
            form,
            lie,
        })
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        match &self.lie {
            Lie::Records(record) => record.payloads().len(),
            Lie::Column(column, _) => column.points().len(),
        }
    }

    /// The words of rows of doubles that lie in records of their own, as most do.
    pub(super) fn doubles(
        &self,
    ) -> Option<impl ExactSizeIterator<Item = Words<'a>> + Clone + use<'a>> {
        match &self.lie {
            Lie::Records(record) if self.form == Form::Doubles => {
                Some(record.payloads().map(words_of))
            }
            _ => None,
        }
    }

    /// Visit each row.
    #[inline]
    pub(super) fn each(&self, mut visit: impl FnMut(&Row<'_>)) {
        match &self.lie {
            Lie::Records(record) => {
                let mut position = record.offset;
                for payload in record.payloads() {
                    position += (payload.len() + WORD) as u64;
                    self.visit(position, words_of(payload), &mut visit);
                }
            }
            Lie::Column(column, position) => {
                for (step, value) in column.points() {
                    let words = (step, column.time, std::slice::from_ref(value));
                    self.visit(*position, words, &mut visit);
                }
            }
        }
    }

    #[inline]
    fn visit(&self, position: u64, words: Words<'_>, visit: &mut impl FnMut(&Row<'_>)) {
        let (step, time, values) = words;
        let row = Row {
            position,
            columns: self.columns,
            step,
            time,
            values,
            rest: 0,
        };
        match (self.form, values) {
            (Form::Integers, [integer]) => {
                let (nearest, rest) = integer::split(i64::from_le_bytes(*integer));
                let values = &[nearest.to_le_bytes()];
                visit(&Row {
                    values,
                    rest,
                    ..row
                });
            }
            _ => visit(&row),
        }
    }
}

#[inline]
fn words_of(payload: &[u8]) -> Words<'_> {
    let (words, _) = payload.as_chunks::<WORD>();
    let (head, values) = words.split_at(ROW_WORDS.min(words.len()));
    let word = |at: usize| head.get(at).map_or(0, |word| i64::from_le_bytes(*word));
    (word(1), word(2), values)
}

impl Points {
    pub(super) fn add(&mut self, row: &Row<'_>) {
        if row.rest != 0 {
            let integers = row.points();
            let integers = integers.filter_map(|(_, point)| integer::joined(point.value, row.rest));
            self.integers
                .extend(integers.map(|integer| (self.count, integer)));
        }
        self.count += row.columns.len();
        for (column, value) in row.columns.iter().zip(row.values) {
            self.series.extend_from_slice(&column.to_le_bytes());
            self.steps.extend_from_slice(&row.step.to_le_bytes());
            self.times.extend_from_slice(&row.time.to_le_bytes());
            self.values.extend_from_slice(value);
        }
    }
}
