//! A journal becomes a segment, in steps that may be cut short anywhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parquet::errors::ParquetError;

use super::layout::{About, SUFFIX};
use super::open::Segment;
use super::outdated::readable_points;
use super::window::Window;
use super::write::Writer;
use crate::error::Error;
use crate::files;
use crate::journal::{MetricReader, Row};
use crate::os::{self, Lock};
use crate::sync::sync_path;

const JOURNAL: &str = ".journal";
/// How the names of files end that are being written.
const UNFINISHED: &str = ".new";
/// Where no lock tells whether a file is still being written, it is not after so long.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// A record that was cut short is seldom larger.
const CUT_BYTES: u64 = 128 << 10;

/// A journal on its way to a segment: [`Sealing::write`], [`Sealing::publish`], then
/// [`Sealing::remove_journal`].
///
/// While the journal exists, it is the truth, and readers ignore its segment. It is removed only when
/// its segment is on the disk and was read back. So the work may be cut short after any step, by
/// anything, and done again from the start; and several may do it at a time.
///
/// The journal is read twice, never into memory: a first pass finds its damage, the second one writes
/// the segment, a row group at a time.
pub struct Sealing {
    journal: PathBuf,
    reader: MetricReader,
    about: About,
    rows: u64,
    points: usize,
    /// The segment beside its place; locked until this is dropped.
    unfinished: Option<(PathBuf, File)>,
}

/// Turn a journal that nobody writes into a segment, and return its path.
///
/// # Errors
/// [`Error::Locked`] when a writer may be at work, [`Error::BadSegment`] when what was written reads
/// back as something else, and [`Error::Io`]; the journal is then as it was.
pub fn seal(journal: &Path) -> Result<PathBuf, Error> {
    let mut sealing = Sealing::begin(journal)?;
    sealing.write()?;
    sealing.publish()?;
    sealing.remove_journal()
}

impl Sealing {
    /// Look through the journal.
    ///
    /// # Errors
    /// [`Error::Locked`] when a writer may be at work, [`Error::Kept`] when too little of it can
    /// be read, and what reading may raise.
    pub fn begin(journal: &Path) -> Result<Self, Error> {
        let mut reader = MetricReader::open(journal)?;
        if reader.is_live()? {
            return Err(Error::Locked(journal.to_owned()));
        }
        let rows = reader.rows(|| 0, |rows, _| *rows += 1)?;
        if let Some(reason) = why_kept(&mut reader, rows)? {
            let path = journal.to_owned();
            return Err(Error::Kept { path, reason });
        }
        let about = About {
            end_state: reader.end_state()?,
            writer_pid: reader.writer_pid().unwrap_or(0),
            created_ns: reader.created_ns().unwrap_or(0),
            damage: reader.damage().to_vec(),
            ..About::default()
        };
        Ok(Self {
            journal: journal.to_owned(),
            reader,
            about,
            rows,
            points: 0,
            unfinished: None,
        })
    }

    /// Write the segment beside its place, and wait for the disk.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Locked`] when the journal has other rows than before.
    pub fn write(&mut self) -> Result<(), Error> {
        self.remove_leftovers()?;
        let (path, file) = self.make_file()?;
        // To be closed when all is done: its lock tells others that it is being written.
        let output = file.try_clone().map_err(|error| Error::io(&path, error))?;
        self.unfinished = Some((path.clone(), file));
        let io = |error| Error::io(&path, into_io(error));
        let mut pass = Pass {
            writer: Writer::open(output).map_err(io)?,
            window: Window::default(),
            rows: 0,
            points: 0,
            failed: None,
        };
        let names = self.names();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        self.reader
            .rows(|| (), |(): &mut (), row| pass.add(row, &names))?;
        if pass.rows != self.rows {
            return Err(Error::Locked(self.journal.clone()));
        }
        self.points = pass.points;
        let written = pass.finish(&self.about, &names).map_err(io)?;
        written.sync_data().map_err(|error| Error::io(&path, error))
    }

    /// The names of the journal, by their indices.
    fn names(&self) -> Vec<Box<str>> {
        self.reader.names().map(Box::from).collect()
    }

    /// Make a file that nobody else has, and lock it.
    fn make_file(&self) -> Result<(PathBuf, File), Error> {
        loop {
            let mut name = OsString::from(".");
            name.push(self.name());
            // Process ids are not unique: other machines and containers seal in the same folder.
            let unique = RandomState::new().hash_one(std::process::id());
            name.push(format!(".{unique:016x}{UNFINISHED}"));
            let path = self.journal.with_file_name(name);
            let made = files::create_new(&path).and_then(|file| {
                let locked = os::lock_for_writing(&file);
                // Somebody may have come between who took it for a leftover.
                let is_there = locked.and_then(|_| fs::exists(&path));
                let is_there = is_there.map_err(|error| Error::io(&path, error))?;
                Ok(is_there.then_some(file))
            });
            match made {
                Ok(Some(file)) => return Ok((path, file)),
                Ok(None) => {}
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Put the segment in its place, and wait for the disk.
    ///
    /// # Errors
    /// [`Error::Kept`] when more points are in the segments there than in the journal, as where a
    /// copy of a folder kept the journal of an earlier one; and [`Error::Io`].
    pub fn publish(&mut self) -> Result<(), Error> {
        let path = self.segment();
        if self.points_of_segments()? > self.points {
            return Err(Error::Kept {
                path: self.journal.clone(),
                reason: "a segment beside it holds more points".into(),
            });
        }
        if let Some((unfinished, _)) = &self.unfinished {
            fs::rename(unfinished, &path).map_err(|error| Error::io(&path, error))?;
        }
        self.sync_folder()
    }

    /// Read the segment back, then give back the journal's space; returns the segment.
    ///
    /// # Errors
    /// [`Error::BadSegment`] when the segment in its place is not what was written, and [`Error::Io`].
    pub fn remove_journal(mut self) -> Result<PathBuf, Error> {
        let path = self.segment();
        let segment = Segment::open(&path)?;
        let is_same = *segment.about() == self.about && segment.row_count() == self.points;
        if !is_same || !segment.damage()?.is_empty() {
            return Err(Error::BadSegment {
                path,
                reason: "what was written does not read back; the journal is kept".into(),
            });
        }
        self.unfinished = None;
        self.remove_older_segments()?;
        match fs::remove_file(&self.journal) {
            // Somebody else sealed it at the same time, to the same points.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|error| Error::io(&self.journal, error))?,
        }
        self.sync_folder()?;
        Ok(path)
    }

    /// How many points can be read of segments of the same journal.
    fn points_of_segments(&self) -> Result<usize, Error> {
        let folder = self.folder();
        let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
        let names = entries.flatten().map(|entry| entry.file_name());
        let names = names.filter(|name| name.to_str().is_some_and(|name| self.is_segment(name)));
        let segments: Vec<PathBuf> = names.map(|name| folder.join(name)).collect();
        Ok(readable_points(&segments))
    }

    /// Whether a file of this name is a segment of the journal.
    fn is_segment(&self, name: &str) -> bool {
        let stem = stem(&self.journal);
        let number = name
            .strip_prefix(&*stem.to_string_lossy())
            .and_then(|rest| rest.strip_prefix('.')?.strip_suffix(SUFFIX));
        number.is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        })
    }

    /// Remove what an attempt of an older version has put beside the journal.
    fn remove_older_segments(&self) -> Result<(), Error> {
        let own = self.name();
        self.remove(|name| (self.is_segment(name) && *own != *name).then_some(()))
    }

    /// Remove what earlier attempts have left behind, which nobody writes any more.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let start = format!(".{}.", stem(&self.journal).to_string_lossy());
        let folder = self.folder();
        self.remove(|name| {
            name.strip_prefix(&start)?.strip_suffix(UNFINISHED)?;
            is_abandoned(&folder.join(name)).then_some(())
        })
    }

    fn remove(&self, is_chosen: impl Fn(&str) -> Option<()>) -> Result<(), Error> {
        let folder = self.folder();
        let entries = fs::read_dir(folder).map_err(|error| Error::io(folder, error))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(&is_chosen).is_some() {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn name(&self) -> OsString {
        let mut name = stem(&self.journal);
        name.push(format!(".0{SUFFIX}"));
        name
    }

    fn segment(&self) -> PathBuf {
        self.journal.with_file_name(self.name())
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
        sync_path(self.folder()).map_err(|error| Error::io(self.folder(), error))
    }
}

/// Given up: what was written beside its place goes. Once it is published there is nothing of that name.
impl Drop for Sealing {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.unfinished {
            let _ = fs::remove_file(path);
        }
    }
}

/// Why a journal must not give way to what was read of it; `None` if nothing stands against it.
///
/// A record that a killed writer has cut short is lost anyway. A journal that is all zeros, or in which
/// more is damaged than could be read, may be of use to somebody who looks closer.
fn why_kept(reader: &mut MetricReader, rows: u64) -> Result<Option<String>, Error> {
    let damaged = reader.damaged_bytes()?;
    if rows == 0 && reader.created_ns().is_none() {
        return Ok(Some("nothing in it can be read".into()));
    }
    let read = reader.position_of_end().saturating_sub(damaged);
    let allowed = if rows == 0 { 0 } else { read + CUT_BYTES };
    Ok((damaged > allowed)
        .then(|| format!("{damaged} bytes of it are damaged, {rows} rows are not")))
}

/// Whether nobody is writing the file.
///
/// A lock is seen from other containers, too, where process ids mean other processes.
fn is_abandoned(path: &Path) -> bool {
    let Ok(file) = files::open(path) else {
        return false;
    };
    match os::lock_state(&file) {
        Lock::Free => true,
        Lock::Held => false,
        Lock::Unknown => {
            let changed = file.metadata().and_then(|metadata| metadata.modified());
            changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|age| age > ABANDONED))
        }
    }
}

/// One pass over the journal, which writes its segment.
struct Pass {
    writer: Writer,
    window: Window,
    /// So far.
    rows: u64,
    points: usize,
    failed: Option<ParquetError>,
}

impl Pass {
    #[inline]
    fn add(&mut self, row: &Row<'_>, names: &[&str]) {
        self.rows += 1;
        if self.window.is_full(row.position) {
            self.flush(names);
        }
        // After a failure, nothing is kept: the rest of the journal is only counted.
        if self.failed.is_none() {
            self.points += row.values.len();
            self.window.add(row);
        }
    }

    #[cold]
    fn flush(&mut self, names: &[&str]) {
        let numbered = self.numbered(names);
        if self.failed.is_none() {
            self.failed = self.writer.write(&self.window, &numbered).err();
        }
        self.window.clear();
    }

    /// The names by the numbers that they have in the window.
    fn numbered<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let indices = self.window.names().iter();
        indices.map(|index| names[*index as usize]).collect()
    }

    /// Complete the segment.
    fn finish(mut self, about: &About, names: &[&str]) -> parquet::errors::Result<File> {
        if !self.window.is_empty() {
            self.flush(names);
        }
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let numbered = self.numbered(names);
        self.writer.finish(about, &numbered)
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
