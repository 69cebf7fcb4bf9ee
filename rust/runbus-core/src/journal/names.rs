//! Which sets of names a writer knows.

use std::collections::HashMap;

use super::error::Error;

/// The longest metric name, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;
/// The most different sets of names in one journal.
pub const MAX_SCHEMAS: usize = 65_536;
/// The most bytes in all sets of names together: what the writer keeps in memory.
pub(super) const MAX_NAMES_BYTES: usize = 64 << 20;

/// Sets of names, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Box<str>, u32>,
    schemas: HashMap<Box<[u32]>, u32>,
    bytes: usize,
    key: Vec<u32>,
}

impl Names {
    /// The number of this set of names, and whether it is new.
    pub(super) fn number(&mut self, names: &[&str]) -> Result<(u32, bool), Error> {
        self.key.clear();
        for name in names {
            match self.ids.get(*name) {
                Some(&id) => self.key.push(id),
                None => return self.add(names).map(|number| (number, true)),
            }
        }
        match self.schemas.get(self.key.as_slice()) {
            Some(&number) => Ok((number, false)),
            None => self.add(names).map(|number| (number, true)),
        }
    }

    #[cold]
    fn add(&mut self, names: &[&str]) -> Result<u32, Error> {
        names.iter().try_for_each(|name| check_name(name))?;
        let bytes = names.iter().map(|name| name.len() + 4).sum::<usize>();
        let number = self.schemas.len();
        if number >= MAX_SCHEMAS || self.bytes + bytes > MAX_NAMES_BYTES {
            return Err(Error::TooManyNames);
        }
        self.key.clear();
        for &name in names {
            // Every schema holds a name, and a schema is refused before there are 2^32 of them.
            let next = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
            self.key.push(*self.ids.entry(name.into()).or_insert(next));
        }
        check_distinct(&self.key, names)?;
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        self.schemas.insert(self.key.as_slice().into(), number);
        self.bytes += bytes;
        Ok(number)
    }
}

fn check_name(name: &str) -> Result<(), Error> {
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

fn check_distinct(ids: &[u32], names: &[&str]) -> Result<(), Error> {
    if names.is_empty() {
        return Err(Error::BadName("a row needs at least one name".into()));
    }
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|&index| ids[index]);
    match order.windows(2).find(|pair| ids[pair[0]] == ids[pair[1]]) {
        Some(pair) => Err(Error::BadName(format!(
            "the metric '{}' occurs twice",
            names[pair[0]]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_names_have_the_same_number_and_order_matters() {
        let mut names = Names::default();
        assert_eq!(names.number(&["a", "b"]).unwrap(), (0, true));
        assert_eq!(names.number(&["b", "a"]).unwrap(), (1, true));
        assert_eq!(names.number(&["a"]).unwrap(), (2, true));
        assert_eq!(names.number(&["a", "b"]).unwrap(), (0, false));
    }

    #[test]
    fn bad_names_are_refused_and_leave_nothing() {
        let mut names = Names::default();
        assert!(names.number(&["a", ""]).is_err());
        assert!(
            names
                .number(&["x".repeat(MAX_NAME_BYTES + 1).as_str()])
                .is_err()
        );
        assert!(names.number(&["a", "b", "a"]).is_err());
        assert!(names.number(&[]).is_err());
        assert_eq!(
            names
                .number(&["x".repeat(MAX_NAME_BYTES).as_str()])
                .unwrap(),
            (0, true)
        );
    }

    #[test]
    fn a_flood_of_names_is_stopped() {
        let mut names = Names::default();
        for index in 0..MAX_SCHEMAS {
            names.number(&[&index.to_string()]).unwrap();
        }
        assert!(matches!(
            names.number(&["one more"]),
            Err(Error::TooManyNames)
        ));
        assert_eq!(names.number(&["0"]).unwrap(), (0, false));
    }
}
