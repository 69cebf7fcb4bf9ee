//! The first 64 bytes of a journal: what it is and who writes it.

use xxhash_rust::xxh3::xxh3_64;

use super::format::{HEADER_BYTES, MAGIC, VERSION, word_at};
use crate::os::ProcessIdentity;

pub(super) const BYTES: usize = 64;
const CHECKED_BYTES: usize = BYTES - 8;
const _: () = assert!(BYTES as u64 == HEADER_BYTES);
/// A damaged header is still ours when no more bits of the magic than this differ.
const MAGIC_TOLERANCE_BITS: u32 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum JournalKind {
    Metrics = 1,
    Events = 2,
}

impl JournalKind {
    pub(super) fn described(self) -> &'static str {
        match self {
            Self::Metrics => "a metrics",
            Self::Events => "an event",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number in the file: a reader compares it with the kind it can read.
    pub(super) kind: u32,
    pub(super) created_ns: i64,
    pub(super) writer: ProcessIdentity,
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderState {
    /// Too short or still zero: the writer has not come this far.
    Missing,
    Whole(Header),
    /// Ours by its magic, but the check fails: the records may be whole all the same.
    Damaged,
    Version(u32),
    Foreign,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created_ns.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.writer.pid.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.writer.pid_namespace.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.writer.start_ticks.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.writer.boot_id_hash.to_le_bytes());
        let check = xxh3_64(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Judge the first bytes of a file, at most [`HEADER_BYTES`] of them.
    pub(super) fn decode(bytes: &[u8]) -> HeaderState {
        let Some(bytes) = bytes.first_chunk::<BYTES>() else {
            let is_ours = MAGIC.iter().zip(bytes).all(|(a, b)| a == b);
            let is_blank = bytes.iter().all(|&byte| byte == 0);
            return if is_ours || is_blank {
                HeaderState::Missing
            } else {
                HeaderState::Foreign
            };
        };
        if bytes.iter().all(|&byte| byte == 0) {
            return HeaderState::Missing;
        }
        let differing = word_at(bytes, 0) ^ u64::from_le_bytes(MAGIC);
        if differing.count_ones() > MAGIC_TOLERANCE_BITS {
            return HeaderState::Foreign;
        }
        if xxh3_64(&bytes[..CHECKED_BYTES]) != word_at(bytes, 7) || differing != 0 {
            return HeaderState::Damaged;
        }
        let (version, kind) = halves(word_at(bytes, 1));
        if !(1..=VERSION).contains(&version) {
            return HeaderState::Version(version);
        }
        let (pid, pid_namespace) = halves(word_at(bytes, 3));
        HeaderState::Whole(Self {
            kind,
            created_ns: word_at(bytes, 2).cast_signed(),
            writer: ProcessIdentity {
                pid,
                pid_namespace,
                start_ticks: word_at(bytes, 4),
                boot_id_hash: word_at(bytes, 5),
            },
        })
    }
}

/// The low and the high half of a word.
pub(super) fn halves(word: u64) -> (u32, u32) {
    ((word & 0xFFFF_FFFF) as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            kind: 1,
            created_ns: -5,
            writer: ProcessIdentity::current(),
        }
    }

    #[test]
    fn a_header_reads_back() {
        assert_eq!(
            Header::decode(&header().encode()),
            HeaderState::Whole(header())
        );
    }

    #[test]
    fn a_cut_header_is_missing_and_a_flipped_one_damaged() {
        let bytes = header().encode();
        for cut in 0..bytes.len() {
            assert_eq!(
                Header::decode(&bytes[..cut]),
                HeaderState::Missing,
                "cut at {cut}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), HeaderState::Damaged, "bit {bit}");
        }
    }

    #[test]
    fn another_file_is_foreign() {
        assert_eq!(Header::decode(&[b'x'; 64]), HeaderState::Foreign);
        assert_eq!(Header::decode(b"{\"json\""), HeaderState::Foreign);
    }
}
