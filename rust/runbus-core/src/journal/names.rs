//! Which names and sets of names a writer knows.

use std::collections::HashMap;

use crate::error::Error;

/// The longest metric name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;
/// Ids of names and sets of names in one journal are below this.
pub(super) const MAX_SCHEMAS: usize = 1 << 20;
/// The most sets of several names: rows of more sets are written value by value.
pub const MAX_SETS: usize = 1024;
/// The most memory that names and sets of names may take.
const MAX_BYTES: usize = 64 << 20;
/// What a name or a set takes besides its text.
const OVERHEAD_BYTES: usize = 200;

/// Names and sets of names, numbered in the order in which they came.
///
/// A set of one name has the number of the name. The order of names in a row does not count.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Box<str>, u32>,
    /// By the ids of their names in ascending order.
    sets: HashMap<Box<[u32]>, u32>,
    count: u32,
    bytes: usize,
}

/// A number, and whether it is a new one.
pub(super) type Numbered = (u32, bool);

impl Names {
    /// The number of this name; `None` when there is no room for another one.
    ///
    /// # Errors
    /// [`Error::BadName`].
    pub(super) fn name(&mut self, name: &str) -> Result<Option<Numbered>, Error> {
        if let Some(id) = self.ids.get(name) {
            return Ok(Some((*id, false)));
        }
        check_name(name)?;
        let id = self.count;
        if !self.take(name.len()) {
            return Ok(None);
        }
        self.ids.insert(name.into(), id);
        Ok(Some((id, true)))
    }

    /// The number of the set of these names, which ascend; `None` when there is no room for another.
    pub(super) fn set(&mut self, ids: &[u32], text_bytes: usize) -> Option<Numbered> {
        if let Some(id) = self.known_set(ids) {
            return Some((id, false));
        }
        let id = self.count;
        if self.is_full() || !self.take(text_bytes + size_of_val(ids)) {
            return None;
        }
        self.sets.insert(ids.into(), id);
        Some((id, true))
    }

    pub(super) fn known_set(&self, ids: &[u32]) -> Option<u32> {
        self.sets.get(ids).copied()
    }

    /// Whether there are as many sets as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.sets.len() >= MAX_SETS
    }

    /// Give out the next number, if there is room.
    fn take(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes + bytes + OVERHEAD_BYTES;
        let has_room = bytes <= MAX_BYTES && (self.count as usize) < MAX_SCHEMAS;
        if has_room {
            self.bytes = bytes;
            self.count += 1;
        }
        has_room
    }
}

pub(super) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::BadName("a metric name must not be empty".into()));
    }
    if name.len() > MAX_NAME_BYTES {
        let start: String = name.chars().take(40).collect();
        return Err(Error::BadName(format!(
            "the metric name '{start}…' has {} bytes of UTF-8: the limit is {MAX_NAME_BYTES}",
            name.len(),
        )));
    }
    Ok(())
}

/// Whether a row may have these names.
pub(super) fn check_names(names: &[&str]) -> Result<(), Error> {
    if names.is_empty() {
        return Err(Error::BadName("a row needs at least one name".into()));
    }
    names.iter().try_for_each(|name| check_name(name))?;
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::BadName(format!(
            "the metric '{}' occurs twice",
            pair[0]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_set_keep_their_numbers() {
        let mut names = Names::default();
        assert_eq!(names.name("a").unwrap(), Some((0, true)));
        assert_eq!(names.name("b").unwrap(), Some((1, true)));
        assert_eq!(names.set(&[0, 1], 2), Some((2, true)));
        assert_eq!(names.name("a").unwrap(), Some((0, false)));
        assert_eq!(names.set(&[0, 1], 2), Some((2, false)));
    }

    #[test]
    fn bad_names_are_refused() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        assert!(check_names(&["a", ""]).is_err());
        assert!(check_names(&["a", "b", "a"]).is_err());
        assert!(check_names(&[]).is_err());
        assert!(check_names(&[&longest]).is_ok());
        assert!(check_names(&[&format!("{longest}x")]).is_err());
        assert!(Names::default().name("").is_err());
    }

    #[test]
    fn a_flood_of_names_ends_where_the_memory_does_and_known_names_go_on() {
        let mut names = Names::default();
        let name = |number: usize| format!("{number:->500}");
        let taken = (0..).take_while(|number| names.name(&name(*number)).unwrap().is_some());
        let count = taken.count();
        assert!((80_000..MAX_BYTES / 500).contains(&count), "{count}");
        assert_eq!(names.name(&name(7)).unwrap(), Some((7, false)));
        assert!(names.ids.len() == count);
    }

    #[test]
    fn there_are_so_many_sets_and_no_more() {
        let mut names = Names::default();
        for number in 0..MAX_SETS {
            assert!(
                names
                    .set(&[u32::try_from(number).unwrap(), 5_000], 2)
                    .is_some()
            );
        }
        assert_eq!(names.set(&[7_000, 8_000], 2), None);
        assert_eq!(names.set(&[0, 5_000], 2), Some((0, false)));
    }
}
