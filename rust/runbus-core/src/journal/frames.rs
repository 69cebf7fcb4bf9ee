//! A whole journal as columns, in one pass.

use super::format::{ROW_WORDS, WORD_BYTES};
use super::metric_reader::MetricReader;
use super::rows::{Rows, Table};
use crate::error::Error;
use crate::frame::{Frames, Mixed, Point, Wide};
use crate::memory::Big;

/// Where the rows of one schema go.
enum Sheet {
    /// Nobody wants them.
    Skipped,
    /// Rows of one value, under this name of the mixed ones.
    One(u32),
    Several {
        frame: Wide,
        /// For each column of the frame the place of its value in the row.
        places: Vec<usize>,
    },
}

/// What one pass has gathered.
#[derive(Default)]
struct Gathered {
    rows: u64,
    /// By schema id.
    sheets: Vec<Option<Sheet>>,
    mixed: Mixed,
    file_bytes: u64,
}

impl Gathered {
    fn add(&mut self, table: &Table, rows: &Rows<'_>, is_wanted: &dyn Fn(&str) -> bool) {
        let id = rows.schema as usize;
        if !matches!(self.sheets.get(id), Some(Some(_))) {
            self.open(table, rows, is_wanted);
        }
        let (first, count) = (self.rows, rows.len());
        self.rows += count as u64;
        match (&mut self.sheets[id], rows.doubles()) {
            (Some(Sheet::One(series)), Some(doubles)) => {
                let doubles = doubles.map(|(step, time, values)| Point {
                    step,
                    time,
                    value: f64::from_le_bytes(values[0]),
                    rest: 0,
                });
                self.mixed.extend(*series, first, doubles);
            }
            (Some(Sheet::One(series)), None) => {
                let mut order = first;
                rows.each(|row| {
                    for (_, point) in row.points() {
                        self.mixed.push(*series, order, point);
                    }
                    order += 1;
                });
            }
            (Some(Sheet::Several { frame, places }), Some(doubles)) => {
                frame.order.extend(first..self.rows);
                frame.steps.extend(doubles.clone().map(|(step, ..)| step));
                frame.times.extend(doubles.clone().map(|(_, time, _)| time));
                for (column, place) in frame.values.iter_mut().zip(places) {
                    let values = doubles.clone().map(|(.., values)| values[*place]);
                    column.extend(values.map(f64::from_le_bytes));
                }
            }
            // Rows of several values are doubles.
            (Some(Sheet::Several { .. } | Sheet::Skipped) | None, _) => {}
        }
    }

    #[cold]
    fn open(&mut self, table: &Table, rows: &Rows<'_>, is_wanted: &dyn Fn(&str) -> bool) {
        let id = rows.schema as usize;
        if self.sheets.len() <= id {
            self.sheets.resize_with(id + 1, || None);
        }
        let names = table.names_of(rows.schema).enumerate();
        let (places, names): (Vec<usize>, Vec<Box<str>>) = names
            .filter(|(_, name)| is_wanted(name))
            .map(|(place, name)| (place, Box::from(name)))
            .unzip();
        let sheet = match (rows.columns.len(), names.len()) {
            (_, 0) => Sheet::Skipped,
            (1, _) => self.one(names),
            _ => self.several(names, places),
        };
        if !matches!(sheet, Sheet::One(_)) {
            self.mixed.number_rows();
        }
        self.sheets[id] = Some(sheet);
    }

    fn one(&mut self, names: Vec<Box<str>>) -> Sheet {
        if self.mixed.names.is_empty() {
            self.mixed.reserve(self.rows_at_most(1));
        }
        // There are no more names than schemas, of which an id has 32 bits.
        let series = u32::try_from(self.mixed.names.len()).unwrap_or(u32::MAX);
        self.mixed.names.extend(names);
        Sheet::One(series)
    }

    fn several(&mut self, names: Vec<Box<str>>, places: Vec<usize>) -> Sheet {
        let mut frame = Wide::new(names);
        // The first one is often the only one.
        if self.rows == 0 {
            let rows = self.rows_at_most(places.len());
            frame.order.reserve_big(rows);
            frame.steps.reserve_big(rows);
            frame.times.reserve_big(rows);
            for column in &mut frame.values {
                column.reserve_big(rows);
            }
        }
        Sheet::Several { frame, places }
    }

    /// As many rows of so many values as the file has room for.
    fn rows_at_most(&self, values: usize) -> usize {
        let row_bytes = (1 + ROW_WORDS + values) as u64 * WORD_BYTES;
        usize::try_from(self.file_bytes / row_bytes).unwrap_or(0)
    }

    fn into_frames(self) -> Frames {
        let wide = self.sheets.into_iter().filter_map(|sheet| match sheet {
            Some(Sheet::Several { frame, .. }) => Some(frame),
            _ => None,
        });
        let mut wide: Vec<Wide> = wide.collect();
        wide.sort_by_key(|frame| frame.order[0]);
        Frames {
            long: self.mixed.grouped(),
            wide,
        }
    }
}

impl MetricReader {
    /// The whole file, with only the names that are wanted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn frames(&mut self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Frames, Error> {
        let file_bytes = self.file_bytes()?;
        let start = || Gathered {
            file_bytes,
            ..Gathered::default()
        };
        let gathered = self.scan_all(start, |gathered, table, rows| {
            gathered.add(table, rows, is_wanted);
        })?;
        Ok(gathered.into_frames())
    }
}
