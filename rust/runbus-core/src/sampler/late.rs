//! Libraries of drivers: loaded when they are there, once a process and path, and never unloaded, since
//! calls may hang in them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::mutex::lock;

/// A library that is not there is looked for again after so many looks.
const RETRY_LOOKS: u32 = 6;

/// What a library is loaded as, by the paths it was loaded from.
pub(super) struct Loaded<T: 'static>(Mutex<Option<HashMap<OsString, &'static T>>>);

impl<T> Loaded<T> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// What was loaded from this path, or else what `open` makes of it.
    pub(super) fn get<E>(
        &self,
        path: &OsStr,
        open: impl FnOnce(&OsStr) -> Result<T, E>,
    ) -> Result<&'static T, E> {
        let mut loaded = lock(&self.0);
        let loaded = loaded.get_or_insert_default();
        if let Some(one) = loaded.get(path) {
            return Ok(one);
        }
        let one: &'static T = Box::leak(Box::new(open(path)?));
        loaded.insert(path.to_owned(), one);
        Ok(one)
    }
}

/// A library that may come later: a missing one is not an error.
pub(super) struct Late<T> {
    path: Option<PathBuf>,
    load: fn(Option<&Path>) -> Option<T>,
    found: Option<T>,
    looks: u32,
}

impl<T: Copy> Late<T> {
    /// The library in this file; without one, that of the machine.
    pub(super) fn new(path: Option<PathBuf>, load: fn(Option<&Path>) -> Option<T>) -> Self {
        Self {
            path,
            load,
            found: None,
            looks: 0,
        }
    }

    /// The library, if it is there by now.
    pub(super) fn look(&mut self) -> Option<T> {
        if self.found.is_none() && self.looks.is_multiple_of(RETRY_LOOKS) {
            self.found = (self.load)(self.path.as_deref());
        }
        self.looks = self.looks.wrapping_add(1);
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static LOADS: Loaded<u32> = Loaded::new();

    #[test]
    fn a_library_is_loaded_once_a_path_and_tried_again_where_that_failed() {
        let path = OsStr::new("one");
        assert_eq!(LOADS.get(path, |_| Err(7)), Err(7));
        assert_eq!(LOADS.get(path, |_| Ok::<u32, u32>(1)), Ok(&1));
        assert_eq!(LOADS.get(path, |_| Err(8)), Ok(&1));
        assert_eq!(LOADS.get(OsStr::new("two"), |_| Ok::<u32, u32>(2)), Ok(&2));
    }

    #[test]
    fn a_library_that_comes_is_found_after_a_few_looks() {
        let there = tempfile::tempdir().unwrap().keep();
        std::fs::remove_dir(&there).unwrap();
        let mut late = Late::new(Some(there.clone()), |path| path?.exists().then_some(5));
        assert_eq!(late.look(), None);
        std::fs::create_dir(&there).unwrap();
        let looks: Vec<Option<i32>> = (1..=RETRY_LOOKS).map(|_| late.look()).collect();
        assert_eq!(looks[..5], [None; 5]);
        assert_eq!(looks[5], Some(5));
        std::fs::remove_dir(&there).unwrap();
        assert_eq!(late.look(), Some(5));
    }
}
