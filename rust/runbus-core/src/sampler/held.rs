//! Files that are read again and again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::getter::Trouble;

/// The kernel's files are smaller; a file of a strange tree is cut here.
const MOST_BYTES: usize = 4 << 20;
/// The kernel hands over a page at a time, less the line that did not fit: after so few bytes there are no
/// more, and nobody needs to ask.
const LAST_BYTES: usize = 2048;

/// A file that is kept open and read from its start: this costs half of opening it each time.
pub(super) struct Held {
    path: PathBuf,
    file: Option<File>,
    /// Room, of which `used` is what the file held.
    bytes: Vec<u8>,
    used: usize,
}

impl Held {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: None,
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// What the file holds now.
    pub(super) fn read(&mut self) -> io::Result<&[u8]> {
        self.refill()?;
        Ok(&self.bytes[..self.used])
    }

    /// The same for a getter.
    ///
    /// # Errors
    /// [`Trouble::NotSupported`] where there is no such file or it may not be read.
    pub(super) fn get(&mut self) -> Result<&[u8], Trouble> {
        match self.refill() {
            Ok(()) => Ok(&self.bytes[..self.used]),
            Err(error) => Err(Trouble::of(&self.path.display().to_string(), &error)),
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(File::open(&self.path)?);
        }
        let filled = self.fill();
        if filled.is_err() {
            self.file = None;
        }
        filled
    }

    fn fill(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        self.used = 0;
        if self.bytes.is_empty() {
            self.bytes.resize(2 * LAST_BYTES, 0);
        }
        loop {
            let count = match file.read_at(&mut self.bytes[self.used..], self.used as u64) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.used += count;
            if self.used == self.bytes.len() && self.used < MOST_BYTES {
                self.bytes.resize(self.used * 2, 0);
            } else if count < LAST_BYTES || self.used == self.bytes.len() {
                return Ok(());
            }
        }
    }
}

/// The first number of a file that holds little else.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.split_ascii_whitespace().next()?.parse().ok()
}

/// The number after a word at the start of a line.
pub(super) fn number_after(bytes: &[u8], word: &str) -> Option<u64> {
    bytes.split(|byte| *byte == b'\n').find_map(|line| {
        let rest = line.strip_prefix(word.as_bytes())?;
        rest.first().filter(|byte| byte.is_ascii_whitespace())?;
        number(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_read_anew_each_time_and_may_grow_beyond_its_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stat");
        let mut held = Held::new(path.clone());
        assert_eq!(held.read().unwrap_err().kind(), io::ErrorKind::NotFound);
        for size in [0, 10, 4096, 4097, 100_000, 3] {
            fs::write(&path, vec![b'x'; size]).unwrap();
            assert_eq!(held.read().unwrap().len(), size);
        }
    }

    #[test]
    fn a_word_is_a_whole_word() {
        let text = b"usage_usec 5\nnr_throttled 7\nnr 8\n";
        assert_eq!(number_after(text, "nr"), Some(8));
        assert_eq!(number_after(text, "nr_throttled"), Some(7));
        assert_eq!(number_after(text, "usage"), None);
    }
}
