//! One run, read on from where its readers stand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use super::News;
use super::folder::{Files, Folder};
use super::outlet::{Look, MOST_POINTS, Outlet};
use super::sealed::Sealed;
use crate::error::Error;
use crate::frame::Points;
use crate::journal::MetricReader;

/// A journal that shows something which is no record is read so often: each time to its end.
const STALLED: Duration = Duration::from_secs(1);

/// A journal that is followed.
struct Journal {
    reader: MetricReader,
    outlet: Outlet,
    stalled: Option<Instant>,
}

impl Journal {
    /// Tell what is new; whether the journal has ended and was read to its end.
    fn look(&mut self, look: &Look, news: &mut News) -> Result<bool, Error> {
        let room = MOST_POINTS.saturating_sub(news.points);
        let mut points = Points::default();
        let rests = |since: Instant| look.now.duration_since(since) < STALLED;
        let is_worth_it = look.to_the_end || !self.stalled.is_some_and(rests);
        if room > 0 && is_worth_it && (look.to_the_end || self.reader.has_news()?) {
            let before = self.reader.position();
            points = if look.to_the_end {
                self.reader.poll_rest(room)?
            } else {
                self.reader.poll(room)?
            };
            let has_moved = self.reader.position() != before;
            self.stalled = (!has_moved && !look.to_the_end).then_some(look.now);
        }
        let is_read = points.count < room;
        let is_over = is_read && self.reader.has_ended();
        let is_last = is_over || (is_read && look.to_the_end);
        let look = Look { is_last, ..*look };
        let position = self.reader.position();
        self.outlet
            .tell(self.reader.names(), points, position, &look, news);
        Ok(is_over)
    }
}

/// The attempt of a job that a writer was part of, `a<number>` in its name; 0 if that does not say.
fn attempt_of(writer: &str) -> u64 {
    let digits = |part: &str| part.strip_prefix('a')?.parse().ok();
    writer.split('-').skip(2).find_map(digits).unwrap_or(0)
}

/// All writers of one run.
pub(super) struct RunReader {
    folder: Folder,
    /// Where to begin in what these writers have written.
    positions: HashMap<String, u64>,
    /// What could not be opened yet.
    unopened: BTreeMap<String, Files>,
    known: HashSet<String>,
    sealed: Vec<Sealed>,
    journals: Vec<Journal>,
    failures: HashSet<String>,
    /// The journal that is looked at first, so that a loud one does not silence others.
    first: usize,
}

impl RunReader {
    pub(super) fn new(folder: &Path, positions: HashMap<String, u64>) -> Self {
        Self {
            folder: Folder::new(folder.join("metrics")),
            positions,
            unopened: BTreeMap::new(),
            known: HashSet::new(),
            sealed: Vec::new(),
            journals: Vec::new(),
            failures: HashSet::new(),
            first: 0,
        }
    }

    /// Gather what is new.
    pub(super) fn look(&mut self, look: &Look) -> News {
        let mut news = News::default();
        match self.folder.list(look.now, look.to_the_end) {
            Ok(Some(found)) => {
                let known = &self.known;
                self.unopened = found
                    .into_iter()
                    .filter(|(writer, _)| !known.contains(writer))
                    .collect();
            }
            Ok(None) => {}
            Err(error) => self.fail(error.to_string(), &mut news),
        }
        self.open(look.last_attempt, &mut news);
        let mut unopened = self.unopened.keys();
        news.has_begun = !self.known.is_empty()
            || unopened.any(|writer| attempt_of(writer) <= look.last_attempt);
        let mut sealed = mem::take(&mut self.sealed);
        sealed.retain_mut(|one| match one.look(look, &mut news) {
            Ok(is_over) => !is_over,
            Err(error) => {
                self.fail(error.to_string(), &mut news);
                false
            }
        });
        self.sealed = sealed;
        let count = self.journals.len();
        let mut over = vec![false; count];
        for offset in 0..count {
            let place = (self.first + offset) % count;
            match self.journals[place].look(look, &mut news) {
                Ok(is_over) => over[place] = is_over,
                Err(error) => self.fail(error.to_string(), &mut news),
            }
        }
        self.first = (self.first + 1) % count.max(1);
        let mut over = over.into_iter();
        self.journals.retain(|_| !over.next().unwrap_or(false));
        news.is_full = news.points >= MOST_POINTS || !self.sealed.is_empty();
        news
    }

    fn open(&mut self, last_attempt: u64, news: &mut News) {
        for (writer, files) in mem::take(&mut self.unopened) {
            if attempt_of(&writer) > last_attempt {
                self.unopened.insert(writer, files);
                continue;
            }
            let opened = match &files {
                Files::Journal(path) => self.open_journal(&writer, path, news),
                Files::Segments(paths) => {
                    let position = self.positions.get(&writer).copied().unwrap_or(0);
                    Sealed::open(&writer, paths, position).map(|sealed| self.sealed.push(sealed))
                }
            };
            match opened {
                Ok(()) => {
                    self.known.insert(writer);
                }
                // It was sealed just now: the next listing finds its segments.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error @ Error::Io { .. }) => {
                    self.fail(error.to_string(), news);
                    self.unopened.insert(writer, files);
                }
                Err(error) => {
                    self.fail(error.to_string(), news);
                    self.known.insert(writer);
                }
            }
        }
    }

    fn open_journal(&mut self, writer: &str, path: &Path, news: &mut News) -> Result<(), Error> {
        let mut reader = MetricReader::open(path)?;
        if let Some(position) = self.positions.remove(writer)
            && let Err(error) = reader.seek(position)
        {
            // Twice is better than never: it is read from its start.
            self.fail(error.to_string(), news);
        }
        self.journals.push(Journal {
            reader,
            outlet: Outlet::new(writer),
            stalled: None,
        });
        Ok(())
    }

    /// Tell what cannot be read, once.
    fn fail(&mut self, text: String, news: &mut News) {
        if self.failures.insert(text.clone()) {
            news.failures.push(text);
        }
    }
}
