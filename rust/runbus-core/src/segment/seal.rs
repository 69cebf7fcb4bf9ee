//! A journal becomes segments, in steps that may be cut short anywhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use super::layout::{About, FEWEST_WIDE_ROWS, GROUP_ROWS, SUFFIX};
use super::plan::Plan;
use super::window::Window;
use super::write::Writer;
use crate::journal::{Error, MetricReader, Row};

const JOURNAL: &str = ".journal";
/// How many segments are written in one pass over the journal: each has a file open.
const FILES_AT_ONCE: usize = 32;
/// How many numbers wait at most to be written: those of one row group of a long segment.
const WINDOW_WORDS: usize = 4 * GROUP_ROWS;

/// A journal on its way to segments: [`Sealing::write`], [`Sealing::publish`], then
/// [`Sealing::remove_journal`].
///
/// While the journal exists, it is the truth, and readers ignore its segments. It is removed only
/// when all its segments are on the disk. So the work may be cut short after any step, by anything,
/// and done again from the start.
///
/// The journal is read twice or more, never into memory: a first pass tells which segments there
/// will be, the next ones write them, a row group at a time.
pub struct Sealing {
    journal: PathBuf,
    reader: MetricReader,
    plan: Plan,
    about: About,
    /// Temporary and final paths.
    segments: Vec<(PathBuf, PathBuf)>,
}

/// Turn a journal that nobody writes into segments, and return their paths.
///
/// # Errors
/// [`Error::Locked`] when a writer may be at work, and [`Error::Io`]; the journal is then as it was.
pub fn seal(journal: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut sealing = Sealing::begin(journal)?;
    let written = sealing.write().and_then(|()| sealing.publish());
    if let Err(error) = written {
        sealing.forget();
        return Err(error);
    }
    sealing.remove_journal()
}

impl Sealing {
    /// Read the journal, and decide what it becomes.
    ///
    /// # Errors
    /// [`Error::Locked`] when a writer may be at work, and what reading may raise.
    pub fn begin(journal: &Path) -> Result<Self, Error> {
        let mut reader = MetricReader::open(journal)?;
        if reader.is_live()? {
            return Err(Error::Locked(journal.to_owned()));
        }
        let plan = Plan::of(&mut reader)?;
        let about = About {
            end_state: reader.end_state()?,
            writer_pid: reader.writer_pid().unwrap_or(0),
            created_ns: reader.created_ns().unwrap_or(0),
            damage: reader.damage().to_vec(),
            segments: plan.sheets.len(),
        };
        Ok(Self {
            journal: journal.to_owned(),
            reader,
            plan,
            about,
            segments: Vec::new(),
        })
    }

    /// Write the segments beside their places, and wait for the disk.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Locked`] when the journal has other rows than before.
    pub fn write(&mut self) -> Result<(), Error> {
        self.remove_leftovers()?;
        for first in (0..self.about.segments).step_by(FILES_AT_ONCE) {
            let files = self.make_files(first)?;
            let mut pass = Pass::open(&self.plan, &self.about, first, files)?;
            let added = |(): &mut (), row: &Row<'_>| pass.add(row);
            self.reader.rows(|| (), added)?;
            if pass.finish()? != self.plan.rows {
                return Err(Error::Locked(self.journal.clone()));
            }
        }
        Ok(())
    }

    /// Make the files of the segments of one pass.
    fn make_files(&mut self, first: usize) -> Result<Vec<(PathBuf, File)>, Error> {
        let mut files = Vec::new();
        for number in first..self.about.segments.min(first + FILES_AT_ONCE) {
            let name = self.segment(number);
            let mut hidden = OsString::from(".");
            hidden.push(&name);
            hidden.push(format!(".{}.new", std::process::id()));
            let temporary = self.journal.with_file_name(hidden);
            let path = self.journal.with_file_name(name);
            // To be read as well: what was written is hashed.
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(&temporary)
                .map_err(|error| Error::io(&temporary, error))?;
            self.segments.push((temporary.clone(), path));
            files.push((temporary, file));
        }
        Ok(files)
    }

    /// Put the segments in their places, and wait for the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn publish(&mut self) -> Result<(), Error> {
        for (temporary, path) in &self.segments {
            fs::rename(temporary, path).map_err(|error| Error::io(path, error))?;
        }
        self.sync_folder()
    }

    /// Give back the journal's space; returns the segments.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_journal(self) -> Result<Vec<PathBuf>, Error> {
        match fs::remove_file(&self.journal) {
            // Somebody else sealed it at the same time, to the same bytes.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|error| Error::io(&self.journal, error))?,
        }
        self.sync_folder()?;
        Ok(self.segments.into_iter().map(|(_, path)| path).collect())
    }

    /// Remove what was written beside its place.
    fn forget(&self) {
        for (temporary, _) in &self.segments {
            let _ = fs::remove_file(temporary);
        }
    }

    fn segment(&self, number: usize) -> OsString {
        let mut name = stem(&self.journal);
        name.push(format!(".{number}{SUFFIX}"));
        name
    }

    fn folder(&self) -> &Path {
        let folder = self.journal.parent().unwrap_or(Path::new(""));
        if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        }
    }

    fn sync_folder(&self) -> Result<(), Error> {
        let folder = self.folder();
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Error::io(folder, error))
    }

    /// Remove what an earlier attempt left behind, whose process is gone.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let mut start = OsString::from(".");
        start.push(stem(&self.journal));
        let start = start.to_string_lossy().into_owned();
        let entries =
            fs::read_dir(self.folder()).map_err(|error| Error::io(self.folder(), error))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name
                .strip_prefix(&start)
                .and_then(|rest| rest.strip_suffix(".new"));
            let process = rest
                .and_then(|rest| rest.rsplit_once('.'))
                .map(|(_, pid)| pid);
            if process.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }
}

/// One pass over the journal, which writes some of its segments.
struct Pass<'a> {
    plan: &'a Plan,
    /// The segments from this one on.
    first: usize,
    parts: Vec<Part<'a>>,
    /// Rows so far, of all segments.
    rows: u64,
    /// How many words wait, and how many may.
    words: usize,
    words_at_most: usize,
    failed: Option<Error>,
}

/// A segment on its way.
struct Part<'a> {
    path: PathBuf,
    writer: Writer<'a>,
    window: Window,
}

impl Part<'_> {
    /// Write what waits.
    fn flush(&mut self) -> Result<(), Error> {
        let written = self.writer.write(&self.window).map_err(into_io);
        written.map_err(|error| Error::io(&self.path, error))?;
        self.window.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        if self.window.words() > 0 {
            self.flush()?;
        }
        let file = self.writer.finish().map_err(into_io);
        file.and_then(|file| file.sync_data())
            .map_err(|error| Error::io(&self.path, error))
    }
}

impl<'a> Pass<'a> {
    fn open(
        plan: &'a Plan,
        about: &About,
        first: usize,
        files: Vec<(PathBuf, File)>,
    ) -> Result<Self, Error> {
        let mut parts = Vec::new();
        for (number, (path, file)) in (first..).zip(files) {
            let sheet = &plan.sheets[number];
            let writer = Writer::open(file, sheet, number == 0, about.encode())
                .map_err(|error| Error::io(&path, into_io(error)))?;
            parts.push(Part {
                path,
                writer,
                window: Window::of(sheet, number == 0),
            });
        }
        // A row group of a few rows of thousands of columns would be little but metadata.
        let widest = parts.iter().map(|part| part.window.row_words()).max();
        let fewest = usize::try_from(FEWEST_WIDE_ROWS).unwrap_or(usize::MAX);
        Ok(Self {
            plan,
            first,
            parts,
            rows: 0,
            words: 0,
            words_at_most: WINDOW_WORDS.max(fewest.saturating_mul(widest.unwrap_or(0))),
            failed: None,
        })
    }

    #[inline]
    fn add(&mut self, row: &Row<'_>) {
        let number = self.rows;
        self.rows += 1;
        let target = self.plan.targets.get(row.schema as usize);
        // A schema that was not there before: the count of rows will tell.
        let Some(Some(target)) = target else { return };
        let part = target.sheet.checked_sub(self.first);
        let Some(part) = part.and_then(|place| self.parts.get_mut(place)) else {
            return;
        };
        self.words += part.window.add(number, row, target);
        if self.words >= self.words_at_most {
            self.flush_fullest();
        }
    }

    #[cold]
    fn flush_fullest(&mut self) {
        let fullest = self.parts.iter_mut().max_by_key(|part| part.window.words());
        let Some(part) = fullest else { return };
        let words = part.window.words();
        if self.failed.is_none() {
            self.failed = part.flush().err();
        }
        // After a failure, nothing is kept: the rest of the journal is only counted.
        part.window.clear();
        self.words -= words;
    }

    /// Complete the segments, and wait for the disk; returns how many rows there were.
    fn finish(self) -> Result<u64, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.parts.into_iter().try_for_each(Part::finish)?;
        Ok(self.rows)
    }
}

/// The writer's name: a journal's without its ending.
fn stem(journal: &Path) -> OsString {
    let name = journal.file_name().unwrap_or_default();
    let text = name.to_string_lossy();
    text.strip_suffix(JOURNAL)
        .map_or(name.to_owned(), OsString::from)
}

fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}
