//! Numbers that several share.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A stretch of numbers that nobody changes, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shared<T> {
    all: Arc<Vec<T>>,
    range: Range<usize>,
}

impl<T> Shared<T> {
    /// A stretch of numbers that others share.
    ///
    /// # Panics
    /// When the range lies outside.
    #[must_use]
    pub fn part(all: &Arc<Vec<T>>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= all.len());
        Self {
            all: Arc::clone(all),
            range,
        }
    }
}

impl<T> From<Vec<T>> for Shared<T> {
    fn from(all: Vec<T>) -> Self {
        let range = 0..all.len();
        Self {
            all: Arc::new(all),
            range,
        }
    }
}

impl<T> FromIterator<T> for Shared<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        items.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T> Deref for Shared<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.all[self.range.clone()]
    }
}
