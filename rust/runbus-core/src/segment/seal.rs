//! A journal becomes segments, in steps that may be cut short anywhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;

use super::layout::{About, SUFFIX, deserves_a_file};
use super::write::{write_long, write_wide};
use crate::frame::{Frames, Long, Wide};
use crate::journal::{Error, MetricReader};

const JOURNAL: &str = ".journal";

/// A journal on its way to segments: [`Sealing::write`], [`Sealing::publish`], then
/// [`Sealing::remove_journal`].
///
/// While the journal exists, it is the truth, and readers ignore its segments. It is removed only
/// when all its segments are on the disk. So the work may be cut short after any step, by anything,
/// and done again from the start.
pub struct Sealing {
    journal: PathBuf,
    frames: Frames,
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
    /// Read the journal.
    ///
    /// # Errors
    /// [`Error::Locked`] when a writer may be at work, and what reading may raise.
    pub fn begin(journal: &Path) -> Result<Self, Error> {
        let mut reader = MetricReader::open(journal)?;
        if reader.is_live()? {
            return Err(Error::Locked(journal.to_owned()));
        }
        let frames = reader.frames(&|_| true, true)?;
        let (wide, small): (_, Vec<Wide>) = frames.wide.into_iter().partition(deserves_a_file);
        let frames = Frames {
            long: spilled(frames.long, &small),
            wide,
        };
        let about = About {
            end_state: reader.end_state()?,
            writer_pid: reader.writer_pid().unwrap_or(0),
            created_ns: reader.created_ns().unwrap_or(0),
            damage: reader.damage().to_vec(),
            segments: frames.wide.len() + 1,
        };
        Ok(Self {
            journal: journal.to_owned(),
            frames,
            about,
            segments: Vec::new(),
        })
    }

    /// Write the segments beside their places, and wait for the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self) -> Result<(), Error> {
        self.remove_leftovers()?;
        for number in 0..self.about.segments {
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
            let pairs = self.about.encode();
            let written = match number.checked_sub(1) {
                None => write_long(file, &self.frames.long, pairs),
                Some(index) => write_wide(file, &self.frames.wide[index], pairs),
            };
            written
                .map_err(into_io)
                .and_then(|file| file.sync_data())
                .map_err(|error| Error::io(&temporary, error))?;
        }
        Ok(())
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

/// Row number, step, time, value.
type Point = (u64, i64, i64, f64);

/// The rows of frames that get no file of their own, point by point among the others.
fn spilled(long: Long, small: &[Wide]) -> Long {
    if small.is_empty() {
        return long;
    }
    let mut series: Vec<(Box<str>, Vec<Point>)> = Vec::new();
    let mut places = std::collections::HashMap::<Box<str>, usize>::new();
    let mut points_of = |name: &str, points: &mut dyn Iterator<Item = Point>| {
        let place = *places.entry(name.into()).or_insert_with(|| {
            series.push((name.into(), Vec::new()));
            series.len() - 1
        });
        series[place].1.extend(points);
    };
    for (name, range) in long.stretches() {
        let row = |place: usize| {
            long.order
                .as_ref()
                .map_or(place as u64, |order| order[place])
        };
        let points = range.map(|at| (row(at), long.steps[at], long.times[at], long.values[at]));
        points_of(name, &mut points.into_iter());
    }
    for frame in small {
        for (name, values) in frame.names.iter().zip(&frame.values) {
            let rows = frame
                .order
                .iter()
                .zip(&frame.steps)
                .zip(&frame.times)
                .zip(values);
            let mut points = rows.map(|(((row, step), time), value)| (*row, *step, *time, *value));
            points_of(name, &mut points);
        }
    }
    for (_, points) in &mut series {
        points.sort_by_key(|point| point.0);
    }
    series.sort_by_key(|(_, points)| points.first().map(|point| point.0));
    laid_out(series)
}

fn laid_out(series: Vec<(Box<str>, Vec<Point>)>) -> Long {
    let mut frame = Long::default();
    let mut order = Vec::new();
    for (name, points) in series {
        for (row, step, time, value) in points {
            order.push(row);
            frame.steps.push(step);
            frame.times.push(time);
            frame.values.push(value);
        }
        frame.names.push(name);
        frame.ends.push(frame.steps.len());
    }
    frame.order = Some(order);
    frame
}
