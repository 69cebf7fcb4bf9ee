//! A file that several threads read parts of.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use xxhash_rust::xxh3::Xxh3;

use crate::journal::Span;

/// The crate's own reader of a `File` moves one cursor, which all its copies share.
#[derive(Clone)]
pub(super) struct Chunks {
    file: Arc<File>,
    bytes: u64,
}

impl Chunks {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self {
            file: Arc::new(file),
            bytes,
        })
    }
}

impl Chunks {
    /// XXH3-64 of these bytes, or of as many of them as there are.
    pub(super) fn hash(&self, span: Span) -> io::Result<u64> {
        const CHUNK: usize = 1 << 16;
        let mut hash = Xxh3::new();
        let (mut chunk, mut position) = (vec![0; CHUNK], span.offset);
        let end = span.offset.saturating_add(span.length);
        while position < end {
            let wanted = usize::try_from(end - position).map_or(CHUNK, |left| left.min(CHUNK));
            let count = self.file.read_at(&mut chunk[..wanted], position)?;
            if count == 0 {
                break;
            }
            hash.update(&chunk[..count]);
            position += count as u64;
        }
        Ok(hash.digest())
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Chunks {
    type T = Cursor;

    fn get_read(&self, start: u64) -> Result<Cursor> {
        Ok(Cursor {
            file: Arc::clone(&self.file),
            position: start,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        // A length is a claim: no room is made for more than the file holds.
        if start.saturating_add(length as u64) > self.bytes {
            return Err(ParquetError::EOF("a part lies beyond the end".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

pub(super) struct Cursor {
    file: Arc<File>,
    position: u64,
}

impl Read for Cursor {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
