//! Rows go into a journal of metrics, as those of a training loop do.

use std::collections::HashMap;
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::row::{NameId, Row};
use super::thread::Sink;
use crate::error::Error;
use crate::journal::{Closing, Layout, MetricWriter, Options};
use crate::mutex::lock;

/// More sets of names than this are looked up anew.
const MOST_LAYOUTS: usize = 256;

/// A journal that a sampler writes and its owner closes.
///
/// The lock is held while a row is written, never while something is read: a driver that hangs keeps
/// nobody from closing the journal.
#[derive(Clone)]
pub struct SharedJournal(Arc<Mutex<Place>>);

enum Place {
    /// The sampler has not begun.
    Waiting,
    Open(Box<MetricWriter>),
    Closed,
}

impl SharedJournal {
    /// A journal that is opened when there is something to write.
    #[must_use]
    pub fn waiting() -> Self {
        Self(Arc::new(Mutex::new(Place::Waiting)))
    }

    /// Make the journal, unless it was closed before; whether it is open.
    ///
    /// # Errors
    /// As [`MetricWriter::create`].
    pub fn open(&self, path: &Path, options: Options) -> Result<bool, Error> {
        let mut place = lock(&self.0);
        if matches!(*place, Place::Waiting) {
            *place = Place::Open(Box::new(MetricWriter::create(path, options)?));
        }
        Ok(matches!(*place, Place::Open(_)))
    }

    /// End the journal in `state`, and have it opened no more; `None` when it is not open.
    #[must_use]
    pub fn close(&self, state: u32) -> Option<Closing> {
        match mem::replace(&mut *lock(&self.0), Place::Closed) {
            Place::Open(mut writer) => writer.close(state),
            Place::Waiting | Place::Closed => None,
        }
    }
}

/// Writes rows.
pub struct JournalSink {
    journal: SharedJournal,
    layouts: HashMap<Box<[NameId]>, Layout>,
    names: Vec<NameId>,
    values: Vec<f64>,
}

impl JournalSink {
    /// A sink that writes into a journal until that is closed.
    #[must_use]
    pub fn new(journal: SharedJournal) -> Self {
        Self {
            journal,
            layouts: HashMap::new(),
            names: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl Sink for JournalSink {
    fn take(&mut self, wall_ns: i64, row: &Row) -> bool {
        let mut guard = lock(&self.journal.0);
        let Place::Open(writer) = &mut *guard else {
            return false;
        };
        self.names.clear();
        self.values.clear();
        for (name, value) in row.values() {
            self.names.push(*name);
            self.values.push(*value);
        }
        if !self.layouts.contains_key(&*self.names) {
            let texts: Vec<&str> = row.iter().map(|(name, _)| name).collect();
            // A name that comes twice is a mistake of a getter: its row is not worth the thread.
            let Ok(layout) = writer.layout(&texts) else {
                return true;
            };
            if self.layouts.len() >= MOST_LAYOUTS {
                self.layouts.clear();
            }
            self.layouts.insert(self.names.as_slice().into(), layout);
        }
        let layout = &self.layouts[&*self.names];
        writer.log(layout, None, wall_ns, &self.values).is_ok()
    }
}
