//! The frame of a record: one commit word, then the payload in little-endian words of eight bytes.
// A row is written in one run of instructions: calls between its parts took 8 ns of 45.
#![allow(clippy::inline_always)]

use super::hash;
pub(super) use super::words::WORD;

/// Bytes of the file header.
pub const HEADER_BYTES: u64 = 64;
/// The most a record holds: its length has 24 bits, in words.
pub const MAX_PAYLOAD_BYTES: usize = ((1 << 24) - 1) * WORD;

pub(super) const MAGIC: [u8; 8] = *b"\x89RUNBUS\n";
/// In version 1 ids of schemas were below 65,536, and before version 3 no values were integers; nothing
/// else is different.
pub(super) const VERSION: u32 = 3;
pub(super) const WORD_BYTES: u64 = 8;
/// Schema id and flags, step, time: what precedes the values of a row.
pub(super) const ROW_WORDS: usize = 3;
/// A flag of a row of one value, and of a column: values are not doubles but integers of 64 bits.
pub(super) const ARE_INTEGERS: u32 = 1 << 1;
/// A flag of a column: each point has a step of its own.
pub(super) const HAS_STEPS: u32 = 1;
/// Schema id and flags, time, count, first step, stride: what precedes the points of a column.
pub(super) const COLUMN_WORDS: usize = 5;
/// The most points of a column: it is hashed while it is still in the cache, and a reader that stops at
/// a number of points need not stop within one.
pub(super) const COLUMN_POINTS: usize = 4096;
/// State and reserved half, time.
pub(super) const END_WORDS: usize = 2;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The names of a row's values.
    Schema = 1,
    /// One `log` call.
    Row = 2,
    /// Opaque bytes.
    Blob = 3,
    /// The rest of a piece of the file.
    Pad = 4,
    /// The writer closed the journal.
    End = 5,
    /// Many points of one series: one `extend` call, or a part of it.
    Column = 6,
}

impl Kind {
    #[inline]
    fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Schema,
            2 => Self::Row,
            3 => Self::Blob,
            4 => Self::Pad,
            5 => Self::End,
            6 => Self::Column,
            _ => return None,
        })
    }
}

/// The low half of a commit word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) payload_words: usize,
}

impl Head {
    /// What a commit word announces; `None` when it announces nothing this version writes.
    #[inline]
    pub(super) fn of(commit_word: u64) -> Option<Self> {
        let [kind, a, b, c, ..] = commit_word.to_le_bytes();
        let payload_words = u32::from_le_bytes([a, b, c, 0]) as usize;
        Some(Self {
            kind: Kind::from_u8(kind)?,
            payload_words,
        })
    }

    #[inline]
    fn bits(self) -> u64 {
        debug_assert!(self.payload_words * WORD <= MAX_PAYLOAD_BYTES);
        self.kind as u64 | (self.payload_words as u64) << 8
    }

    /// Bytes of the whole record.
    pub(super) fn record_bytes(self) -> u64 {
        (self.payload_words as u64 + 1) * WORD_BYTES
    }

    /// The word whose store commits the record at `offset`.
    #[inline(always)]
    pub(super) fn commit_word(self, offset: u64, payload: &[u8]) -> u64 {
        self.committed(offset, hash::of(payload))
    }

    /// The same of a payload that was stored just now.
    #[inline(always)]
    pub(super) fn commit_word_of_stored(self, offset: u64, payload: &[u64]) -> u64 {
        self.committed(offset, hash::of_stored(payload))
    }

    /// The same of a payload that ends with these words, which are put there now: behind those that
    /// are `ready`.
    #[inline]
    pub(super) fn commit_word_of_copied(
        self,
        offset: u64,
        payload: &mut [u64],
        ready: usize,
        words: &[[u8; WORD]],
    ) -> u64 {
        self.committed(offset, hash::of_copied(payload, ready, words))
    }

    /// Whether this is the word that commits the record at `offset`.
    ///
    /// A fuzzer would never find one: it is taken at its word, and gets to what lies behind.
    #[inline(always)]
    pub(super) fn is_committed(self, commit_word: u64, offset: u64, payload: &[u8]) -> bool {
        cfg!(fuzzing) || self.commit_word(offset, payload) == commit_word
    }

    /// The word with the check: offset, kind and length are part of it, so bytes that were moved, or
    /// left over from another record, never validate.
    #[inline(always)]
    fn committed(self, offset: u64, hash: u64) -> u64 {
        let place = (offset ^ self.bits().rotate_left(32)).wrapping_mul(0x9E37_79B1_85EB_CA87);
        let mut mixed = hash ^ place;
        mixed = (mixed ^ mixed >> 32).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        self.bits() | mixed >> 32 << 32
    }
}

/// Bytes of the record that a commit word announces, whatever its kind; `None` while it is not stored.
pub(super) fn announced_bytes(commit_word: u64) -> Option<usize> {
    let [kind, a, b, c, ..] = commit_word.to_le_bytes();
    let payload_words = u32::from_le_bytes([a, b, c, 0]) as usize;
    (kind != 0).then_some((payload_words + 1) * WORD)
}

#[inline]
pub(super) fn words_for(bytes: usize) -> usize {
    bytes.div_ceil(WORD)
}

/// The `index`-th word of `bytes`; zero beyond its end.
#[inline]
pub(super) fn word_at(bytes: &[u8], index: usize) -> u64 {
    bytes
        .get(index * WORD..)
        .and_then(|rest| rest.first_chunk::<WORD>())
        .map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_word_gives_back_kind_and_length() {
        let head = Head {
            kind: Kind::Row,
            payload_words: 0x0012_3456,
        };
        assert_eq!(Head::of(head.commit_word(64, b"x")), Some(head));
        assert_eq!(Head::of(0), None);
        assert_eq!(Head::of(0xFF), None);
    }

    /// Computed by another implementation of XXH3 from `docs/reference/journal-format.md`.
    #[test]
    fn commit_words_are_what_the_specification_says() {
        let payload: Vec<u8> = (0..200).collect();
        let word = |kind, offset, bytes: &[u8]| {
            Head {
                kind,
                payload_words: words_for(bytes.len()),
            }
            .commit_word(offset, bytes)
        };
        assert_eq!(word(Kind::Row, 64, &payload[..32]), 0x0f27_4bb7_0000_0402);
        assert_eq!(word(Kind::Blob, 4096, &payload), 0xae1d_4b09_0000_1903);
        assert_eq!(word(Kind::End, 72, &[0; 16]), 0x76dd_57db_0000_0205);
    }

    #[test]
    fn the_check_depends_on_payload_offset_kind_and_length() {
        let head = Head {
            kind: Kind::Row,
            payload_words: 1,
        };
        let word = head.commit_word(64, &[0; 8]);
        let others = [
            head.commit_word(72, &[0; 8]),
            head.commit_word(64, &[1, 0, 0, 0, 0, 0, 0, 0]),
            Head {
                kind: Kind::Blob,
                ..head
            }
            .commit_word(64, &[0; 8]),
            Head {
                payload_words: 2,
                ..head
            }
            .commit_word(64, &[0; 8]),
        ];
        assert!(others.iter().all(|other| other >> 32 != word >> 32));
    }
}
