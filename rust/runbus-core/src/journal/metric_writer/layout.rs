//! Where the values of names go: schemas are made here.

use super::{MetricWriter, Schema};
use crate::error::Error;
use crate::journal::format::{MAX_PAYLOAD_BYTES, ROW_WORDS, WORD};
use crate::journal::names::check_names;
use crate::journal::record::encode_schema;

/// A name, or a set of names, of one [`MetricWriter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SchemaId(pub(super) u32);

/// Where the values of a row go, in the order of its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Into one record.
    Row {
        /// The set of the names.
        schema: SchemaId,
        /// For each value its place in the record; `None` if they are in their places.
        order: Option<Box<[u32]>>,
    },
    /// Into a record each: there are too many sets of names. `None` for a name that there is no
    /// memory for: its values are dropped.
    Each(Box<[Option<SchemaId>]>),
}

impl Layout {
    /// The schema of one name; `None` if there is no memory for it.
    #[must_use]
    pub fn single(&self) -> Option<SchemaId> {
        match self {
            Self::Row { schema, .. } => Some(*schema),
            Self::Each(schemas) => *schemas.first()?,
        }
    }
}

impl MetricWriter {
    /// Where the values of these names go. Names in another order are the same set.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn layout(&mut self, names: &[&str]) -> Result<Layout, Error> {
        check_names(names)?;
        let ids = names.iter().map(|name| self.name(name));
        let ids = ids.collect::<Result<Box<[Option<SchemaId>]>, Error>>()?;
        let known: Option<Vec<u32>> = ids.iter().map(|id| id.map(|id| id.0)).collect();
        let layout = match known.as_deref() {
            Some([id]) => Some(Layout::Row {
                schema: SchemaId(*id),
                order: None,
            }),
            Some(known) => self.set(known, names),
            None => None,
        };
        Ok(layout.unwrap_or(Layout::Each(ids)))
    }

    /// The schema of one name; `None` when there is no memory for another one.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub fn name(&mut self, name: &str) -> Result<Option<SchemaId>, Error> {
        let Some((id, is_new)) = self.names.name(name)? else {
            return Ok(None);
        };
        if is_new {
            self.add_schema(id, &[name], Box::default());
        }
        Ok(Some(SchemaId(id)))
    }

    /// The layout of a row of several names, if it becomes one record.
    fn set(&mut self, ids: &[u32], names: &[&str]) -> Option<Layout> {
        if (ROW_WORDS + names.len()) * WORD > MAX_PAYLOAD_BYTES {
            return None;
        }
        // There are no more names than ids.
        let mut ranks: Vec<u32> = (0..).take(ids.len()).collect();
        ranks.sort_unstable_by_key(|place| ids[*place as usize]);
        let key: Vec<u32> = ranks.iter().map(|place| ids[*place as usize]).collect();
        let text_bytes = names.iter().map(|name| name.len() + 4).sum();
        let (id, is_new) = self.names.set(&key, text_bytes)?;
        if is_new {
            self.add_schema(id, names, ranks.into());
            return Some(Layout::Row {
                schema: SchemaId(id),
                order: None,
            });
        }
        let places = &self.schemas[id as usize].places;
        let mut order = vec![0; ids.len()].into_boxed_slice();
        for (rank, place) in ranks.iter().zip(places) {
            order[*rank as usize] = *place;
        }
        let is_in_place = order.iter().zip(0..).all(|(place, index)| *place == index);
        Some(Layout::Row {
            schema: SchemaId(id),
            order: (!is_in_place).then_some(order),
        })
    }

    /// Ids are given out one after the other, and so are schemas.
    fn add_schema(&mut self, id: u32, names: &[&str], places: Box<[u32]>) {
        self.schemas.push(Schema {
            payload: encode_schema(id, names).into(),
            values: names.len(),
            places,
            piece: 0,
        });
    }
}
