//! The samples of a run: one sampler a host, and a journal once there is something to write.

use std::path::PathBuf;
use std::time::Duration;

use super::engine::{Engine, Rhythm};
use super::journal::{JournalSink, SharedJournal};
use super::machine::Machine;
use super::place::Place;
use super::row::Row;
use super::thread::{Sink, Wait};
use crate::journal::Options;

/// How often a process looks whether the one that samples has ended.
const WAIT_FOR_PLACE: Duration = Duration::from_secs(1);

/// Where the samples of a run go.
pub struct RunJournal {
    /// The run's folder.
    pub run: PathBuf,
    /// What this host is called: one sampler of each has the place.
    pub host: String,
    /// The journal to make.
    pub path: PathBuf,
    /// What is made of it, and closed by its owner.
    pub journal: SharedJournal,
    /// How often it is written to the disk; left to the system without.
    pub sync_every: Option<Duration>,
    /// Files of others who want to sample instead, or of nobody: where one is, this sampler ends.
    pub gives_way_to: Vec<PathBuf>,
}

impl RunJournal {
    /// Wait for the host's place, make the journal, and return what samples into it.
    ///
    /// None when it is time to stop before, when the run is gone, and when others want to sample.
    #[must_use]
    pub fn begin(
        self,
        machine: Machine,
        rhythm: Rhythm,
        after: Duration,
        until: &dyn Wait,
    ) -> Option<(Engine, Box<dyn Sink>)> {
        // Most jobs that are over by then need no driver, no look at all processes and no file.
        if !after.is_zero() && until.wait(after) {
            return None;
        }
        let path = Place::of_host(&self.run, &self.host);
        let place = loop {
            if gives_way(&self.gives_way_to) {
                return None;
            }
            match Place::take(&path) {
                Ok(Some(place)) => break place,
                // The run is gone, or its disk: there is nothing to sample for.
                Err(_) => return None,
                Ok(None) if until.wait(WAIT_FOR_PLACE) => return None,
                Ok(None) => {}
            }
        };
        let options = Options {
            // A call for each row costs nothing beside reading it, and no memory.
            is_mapped: false,
            sync_every: self.sync_every,
            ..Options::default()
        };
        if !self.journal.open(&self.path, options).ok()? {
            return None;
        }
        let sink = Placed {
            sink: JournalSink::new(self.journal),
            gives_way_to: self.gives_way_to,
            asked_s: 0,
            _place: place,
        };
        Some((machine.engine(rhythm).0, Box::new(sink)))
    }
}

const SECOND_NS: i64 = 1_000_000_000;

fn gives_way(others: &[PathBuf]) -> bool {
    others.iter().any(|path| path.exists())
}

/// A sink that has the host's place as long as it lasts.
struct Placed {
    sink: JournalSink,
    gives_way_to: Vec<PathBuf>,
    /// The second in which it was last asked whether there is such a file.
    asked_s: i64,
    _place: Place,
}

impl Sink for Placed {
    fn take(&mut self, wall_ns: i64, row: &Row) -> bool {
        let second = wall_ns / SECOND_NS;
        let is_asked = self.asked_s != second && gives_way(&self.gives_way_to);
        self.asked_s = second;
        !is_asked && self.sink.take(wall_ns, row)
    }
}
