//! Which segments a journal becomes, decided by a first look at its rows.

use std::collections::HashMap;

use super::layout::{Shape, deserves_a_file};
use crate::journal::{Error, MetricReader, Row};

/// What the rows of one schema amount to.
struct Seen {
    /// The indices of its names.
    columns: Box<[u32]>,
    rows: u64,
    /// The numbers of its first and last row.
    first: u64,
    last: u64,
    has_nanoseconds: bool,
}

/// All rows of a journal, counted.
#[derive(Default)]
struct Survey {
    rows: u64,
    /// By schema id.
    schemas: Vec<Option<Seen>>,
}

impl Survey {
    fn add(&mut self, row: &Row<'_>) {
        let id = row.schema as usize;
        if self.schemas.len() <= id {
            self.schemas.resize_with(id + 1, || None);
        }
        let seen = self.schemas[id].get_or_insert_with(|| Seen {
            columns: row.columns.into(),
            rows: 0,
            first: self.rows,
            last: self.rows,
            has_nanoseconds: false,
        });
        seen.rows += 1;
        seen.last = self.rows;
        seen.has_nanoseconds |= row.time().rem_euclid(1000) != 0;
        self.rows += 1;
    }
}

/// One segment to be.
#[derive(Default)]
pub(super) struct Sheet {
    /// Of a long one, in the order of their first points; of a wide one, of its columns.
    pub(super) names: Vec<Box<str>>,
    pub(super) shape: Shape,
}

/// Where the rows of a schema go.
pub(super) struct Target {
    pub(super) sheet: usize,
    /// For each value of a row the place of its name in a long sheet; empty for a wide one.
    pub(super) series: Vec<u32>,
}

/// The segments that a journal becomes.
pub(super) struct Plan {
    /// The long one, then the wide ones.
    pub(super) sheets: Vec<Sheet>,
    /// By schema id.
    pub(super) targets: Vec<Option<Target>>,
    pub(super) rows: u64,
}

impl Plan {
    /// Read the whole journal once.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn of(reader: &mut MetricReader) -> Result<Self, Error> {
        let survey = reader.rows(Survey::default, Survey::add)?;
        let names: Vec<&str> = reader.names().collect();
        Ok(Self::decide(survey, &names))
    }

    fn decide(survey: Survey, names: &[&str]) -> Self {
        let mut targets: Vec<Option<Target>> = Vec::new();
        targets.resize_with(survey.schemas.len(), || None);
        let schemas = survey.schemas.into_iter().enumerate();
        let mut schemas: Vec<(usize, Seen)> = schemas
            .filter_map(|(id, seen)| seen.map(|seen| (id, seen)))
            .collect();
        schemas.sort_by_key(|(_, seen)| seen.first);
        let mut long = Sheet::default();
        // The place of a point is the number of its row only where every row is a point of one name.
        long.shape.has_rows = schemas.len() > 1 || schemas.iter().any(|(_, s)| s.columns.len() > 1);
        let mut sheets = vec![long];
        let mut places = HashMap::<u32, u32>::new();
        for (id, seen) in schemas {
            let columns = seen.columns.iter().map(|index| names[*index as usize]);
            let columns: Vec<&str> = columns.collect();
            targets[id] = Some(if deserves_a_file(&columns, seen.rows) {
                sheets.push(Sheet {
                    names: columns.into_iter().map(Box::from).collect(),
                    shape: Shape {
                        has_nanoseconds: seen.has_nanoseconds,
                        has_rows: seen.last + 1 != seen.rows,
                    },
                });
                Target {
                    sheet: sheets.len() - 1,
                    series: Vec::new(),
                }
            } else {
                let long = &mut sheets[0];
                long.shape.has_nanoseconds |= seen.has_nanoseconds;
                let series = seen.columns.iter().map(|index| {
                    *places.entry(*index).or_insert_with(|| {
                        long.names.push(names[*index as usize].into());
                        // Names have indices of 32 bits.
                        u32::try_from(long.names.len() - 1).unwrap_or(u32::MAX)
                    })
                });
                Target {
                    sheet: 0,
                    series: series.collect(),
                }
            });
        }
        Self {
            sheets,
            targets,
            rows: survey.rows,
        }
    }
}
