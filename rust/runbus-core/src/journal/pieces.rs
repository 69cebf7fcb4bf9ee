//! The records in bytes that were read of a journal: what a copy of it takes over.
//!
//! Nothing is checked: what is damaged is copied as it is, for the reader of the copy to judge.

use super::format::{Kind, WORD, announced_bytes, word_at};
use super::header;

/// How much of some bytes is whole records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// So many bytes, from the start.
    pub bytes: usize,
    /// How many bytes the next record has that is there in part; 0 if none is.
    pub wanted: usize,
}

/// How much of `data`, bytes of a journal from between two records on, is whole records.
///
/// With `at_start` they are the first of the file, and the header comes before the records. A word
/// that is zero ends them: the first word of a record is stored last.
#[must_use]
pub fn whole_records(data: &[u8], at_start: bool) -> Whole {
    let mut records = Records::new(data, at_start);
    records.by_ref().for_each(drop);
    Whole {
        bytes: records.offset,
        wanted: records.wanted,
    }
}

/// The blobs in bytes as [`whole_records`] takes them, each with the place where its record begins.
pub fn blobs(data: &[u8], at_start: bool) -> impl Iterator<Item = (usize, &[u8])> {
    Records::new(data, at_start).filter_map(|(offset, record)| {
        let payload = record.get(2 * WORD..)?;
        let length = usize::try_from(word_at(record, 1)).unwrap_or(usize::MAX);
        let is_blob = record[0] == Kind::Blob as u8;
        is_blob.then(|| (offset, &payload[..length.min(payload.len())]))
    })
}

/// Walks over whole records.
struct Records<'a> {
    data: &'a [u8],
    offset: usize,
    wanted: usize,
}

impl<'a> Records<'a> {
    fn new(data: &'a [u8], at_start: bool) -> Self {
        let (data, offset) = match data.get(..header::BYTES) {
            _ if !at_start => (data, 0),
            Some(header) if header.iter().any(|byte| *byte != 0) => (data, header::BYTES),
            _ => (&data[..0], 0),
        };
        Self {
            data,
            offset,
            wanted: 0,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.data[self.offset..];
        let length = announced_bytes(u64::from_le_bytes(*rest.first_chunk::<WORD>()?))?;
        let Some(record) = rest.get(..length) else {
            self.wanted = length;
            return None;
        };
        let offset = self.offset;
        self.offset += length;
        Some((offset, record))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::{BlobWriter, Options};

    fn record(kind: u8, payload_words: u8) -> Vec<u8> {
        let mut bytes = vec![7; (usize::from(payload_words) + 1) * WORD];
        bytes[..WORD].copy_from_slice(&[kind, payload_words, 0, 0, 1, 2, 3, 4]);
        bytes
    }

    #[test]
    fn a_record_that_is_there_in_part_says_how_long_it_is() {
        let data = record(4, 100);
        let in_part = Whole {
            bytes: 0,
            wanted: 808,
        };
        assert_eq!(whole_records(&data[..8], false), in_part);
        assert_eq!(whole_records(&data[..807], false), in_part);
        let whole = Whole {
            bytes: 808,
            wanted: 0,
        };
        assert_eq!(whole_records(&data, false), whole);
    }

    #[test]
    fn a_blob_that_claims_to_be_longer_than_its_record_ends_with_it() {
        let mut data = record(Kind::Blob as u8, 3);
        data[WORD..2 * WORD].copy_from_slice(&u64::MAX.to_le_bytes());
        let found: Vec<_> = blobs(&data, false).collect();
        assert_eq!(found, [(0, &[7; 16][..])]);
        assert_eq!(blobs(&record(Kind::Blob as u8, 0), false).count(), 0);
    }

    #[test]
    fn the_blobs_of_a_journal_are_those_that_were_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let mut writer = BlobWriter::create(&path, Options::default()).unwrap();
        let written: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; usize::from(n) * 3]).collect();
        for blob in &written {
            writer.append(blob).unwrap();
        }
        let data = std::fs::read(&path).unwrap();
        let found: Vec<&[u8]> = blobs(&data, true).map(|(_, blob)| blob).collect();
        assert_eq!(found, written);
        let whole = whole_records(&data, true);
        assert!(data[whole.bytes..].iter().all(|byte| *byte == 0));
    }

    proptest! {
        /// A journal that arrives in pieces is walked as one that is there at once.
        #[test]
        fn any_bytes_are_walked_to_an_end(data: Vec<u8>, at_start: bool, cut: usize) {
            let whole = whole_records(&data, at_start);
            prop_assert!(whole.bytes <= data.len());
            prop_assert!(whole.wanted == 0 || whole.bytes + whole.wanted > data.len());
            for (offset, blob) in blobs(&data, at_start) {
                prop_assert!(offset + blob.len() <= whole.bytes);
            }
            let cut = cut % (data.len() + 1);
            let first = whole_records(&data[..cut], at_start).bytes;
            let rest = whole_records(&data[first..], at_start && first == 0).bytes;
            prop_assert_eq!(first + rest, whole.bytes);
        }
    }
}
