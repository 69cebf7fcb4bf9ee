//! The footer of a segment covers itself: one hash over all of it, in its last pair of key and value.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parquet::file::metadata::KeyValue;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 4] = b"PAR1";
const KEY: &str = "runbus.footer";
const DIGITS: usize = 16;
const BLANK: [u8; DIGITS] = [b'0'; DIGITS];
/// How the pair begins in the file: the end of the key, then, in Thrift's compact protocol, that the
/// next field is a text of sixteen bytes.
const PAIR: &[u8] = b"runbus.footer\x18\x10";
/// The length of the footer, and the magic.
const TAIL: u64 = 8;
/// A footer is no larger than this: a length is a claim, and room is made for what it claims.
const MOST_BYTES: u64 = 256 << 20;

/// What a look at the footer's own check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footer {
    /// Every bit is as it was written; where it begins.
    Whole(u64),
    Damaged,
    /// It has none: a segment of version 1, or no segment.
    Unchecked,
}

/// The pair that [`seal`] fills in. It must be the last one.
pub(super) fn placeholder() -> KeyValue {
    KeyValue::new(KEY.into(), String::from_utf8_lossy(&BLANK).into_owned())
}

/// Put the hash of the footer into it.
pub(super) fn seal(file: &File) -> io::Result<()> {
    let Some((start, bytes)) = read(file)? else {
        return Err(io::Error::other("a footer was not written"));
    };
    let Some(place) = digits(&bytes) else {
        return Err(io::Error::other("a footer has no place for its check"));
    };
    let hash = format!("{:016x}", xxh3_64(&bytes));
    file.write_all_at(hash.as_bytes(), start + place as u64)
}

/// Compare the footer, and the magic of the file, with the check.
pub(super) fn check(file: &File) -> io::Result<Footer> {
    let mut magic = [0; MAGIC.len()];
    let Some((start, mut bytes)) = read(file)? else {
        return Ok(Footer::Damaged);
    };
    let Some(place) = digits(&bytes) else {
        return Ok(Footer::Unchecked);
    };
    let digits = &mut bytes[place..place + DIGITS];
    let expected = std::str::from_utf8(digits).map(|text| u64::from_str_radix(text, 16));
    // Upper case would be another text for the same number.
    let is_plain = digits
        .iter()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    digits.copy_from_slice(&BLANK);
    file.read_exact_at(&mut magic, 0)?;
    let is_whole = is_plain && expected == Ok(Ok(xxh3_64(&bytes))) && &magic == MAGIC;
    Ok(if is_whole {
        Footer::Whole(start)
    } else {
        Footer::Damaged
    })
}

/// Where the digits of the check are; what looks like it before, in a name, is not the last.
fn digits(bytes: &[u8]) -> Option<usize> {
    let place = bytes
        .windows(PAIR.len())
        .rposition(|window| window == PAIR)?
        + PAIR.len();
    (place + DIGITS <= bytes.len()).then_some(place)
}

/// Where the footer begins, and all bytes from there; `None` if there is none.
fn read(file: &File) -> io::Result<Option<(u64, Vec<u8>)>> {
    let end = file.metadata()?.len();
    let Some(tail) = end.checked_sub(TAIL) else {
        return Ok(None);
    };
    let mut length = [0; 4];
    file.read_exact_at(&mut length, tail)?;
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = tail.checked_sub(length).filter(|_| length <= MOST_BYTES) else {
        return Ok(None);
    };
    let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, start)?;
    Ok(Some((start, bytes)))
}
