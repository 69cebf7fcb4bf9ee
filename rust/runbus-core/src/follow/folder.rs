//! What lies in the metrics folder of a run: journals, and segments that were journals.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::segment;

/// A folder whose time is younger may change again without showing it: clocks tick coarsely.
const SETTLED: Duration = Duration::from_millis(100);
/// How often a folder with writers is asked whether there is another one.
const SEEN: Duration = Duration::from_millis(50);
/// A folder is listed so often whatever its time says: the clock of a file server is another.
const LONGEST: Duration = Duration::from_secs(1);

/// One writer's files: its journal, or the segments it became.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Files {
    Journal(PathBuf),
    Segments(Vec<PathBuf>),
}

/// A folder that is listed only when it has changed.
pub(super) struct Folder {
    path: PathBuf,
    changed: Option<SystemTime>,
    asked: Option<Instant>,
    listed: Option<Instant>,
    has_writers: bool,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            changed: None,
            asked: None,
            listed: None,
            has_writers: false,
        }
    }

    /// The files of each writer, oldest writer first; `None` if they are the same as before.
    pub(super) fn list(
        &mut self,
        now: Instant,
        must: bool,
    ) -> io::Result<Option<BTreeMap<String, Files>>> {
        let is_within = |since: Option<Instant>, span: Duration| {
            since.is_some_and(|since| now.duration_since(since) < span)
        };
        if !must && self.has_writers && is_within(self.asked, SEEN) {
            return Ok(None);
        }
        self.asked = Some(now);
        let changed = match fs::metadata(&self.path).and_then(|metadata| metadata.modified()) {
            Ok(changed) => changed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let is_settled = changed.elapsed().is_ok_and(|age| age > SETTLED);
        if !must && is_settled && is_within(self.listed, LONGEST) && self.changed == Some(changed) {
            return Ok(None);
        }
        // Settled or not is judged by a look before the listing: what comes later changes the time.
        self.changed = is_settled.then_some(changed);
        self.listed = Some(now);
        let found = writers(&self.path)?;
        self.has_writers = !found.is_empty();
        Ok(Some(found))
    }
}

fn writers(folder: &Path) -> io::Result<BTreeMap<String, Files>> {
    let mut names = names(folder)?;
    // A journal that is sealed while the folder is listed may show neither itself nor its segments.
    loop {
        let again = self::names(folder)?;
        if again == names {
            break;
        }
        names = again;
    }
    let mut found = BTreeMap::new();
    for name in &names {
        if let Some((writer, number)) = name
            .strip_suffix(segment::SUFFIX)
            .and_then(|stem| stem.rsplit_once('.'))
            && !name.starts_with('.')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && let Files::Segments(paths) = found
                .entry(writer.to_owned())
                .or_insert_with(|| Files::Segments(Vec::new()))
        {
            paths.push(folder.join(name));
        }
    }
    // While there is a journal it is the truth, unless it is an older copy: segments beside it may be
    // incomplete.
    for name in &names {
        if let Some(writer) = name.strip_suffix(".journal") {
            let journal = folder.join(name);
            if let Some(Files::Segments(paths)) = found.get(writer)
                && segment::is_outdated(&journal, paths).unwrap_or(false)
            {
                continue;
            }
            found.insert(writer.to_owned(), Files::Journal(journal));
        }
    }
    Ok(found)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                names.extend(entry?.file_name().into_string());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    /// A journal becomes a segment: one of them is there at each moment, though not in each list.
    #[test]
    fn a_folder_whose_files_change_while_it_is_listed_is_listed_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        // So that the list comes in several pieces.
        for number in 0..3000 {
            fs::write(
                path.join(format!("{number:05}-of-others-with-a-long-name")),
                "",
            )
            .unwrap();
        }
        let of = |number: usize, end: &str| path.join(format!("{number}-writer{end}"));
        for _ in 0..5 {
            for number in 0..300 {
                fs::write(of(number, ".journal"), "").unwrap();
                let _ = fs::remove_file(of(number, ".0.parquet"));
            }
            std::thread::scope(|scope| {
                let sealing = scope.spawn(|| {
                    for number in 0..300 {
                        fs::write(of(number, ".0.parquet"), "").unwrap();
                        fs::remove_file(of(number, ".journal")).unwrap();
                    }
                });
                while !sealing.is_finished() {
                    assert_eq!(writers(path).unwrap().len(), 300);
                }
            });
        }
    }

    /// As if the clock of the file system had not ticked meanwhile.
    #[test]
    fn a_file_that_does_not_change_the_time_of_its_folder_is_seen_at_the_next_look() {
        let place = tempfile::tempdir().unwrap();
        let (path, now) = (place.path(), Instant::now());
        // In the future no time is settled, however slow this machine is.
        let changed = SystemTime::now() + Duration::from_secs(3_600);
        let set = || {
            let times = FileTimes::new().set_modified(changed);
            File::open(path).unwrap().set_times(times).unwrap();
        };
        let mut folder = Folder::new(path.to_owned());
        fs::write(path.join("a.journal"), "").unwrap();
        set();
        assert_eq!(folder.list(now, false).unwrap().unwrap().len(), 1);
        fs::write(path.join("b.journal"), "").unwrap();
        set();
        let found = folder.list(now + SEEN, false).unwrap();
        assert_eq!(found.map(|found| found.len()), Some(2));
    }
}
