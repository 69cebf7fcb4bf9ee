//! The payloads of records, to and from words.

use super::format::{END_WORDS, Head, Kind, WORD, word_at, words_for};
use super::header::halves;
use super::words::bytes_of;
use crate::clock;

/// Copy bytes into words, in memory order; the last word is filled up with zeros.
#[inline]
pub(super) fn copy_bytes(words: &mut [u64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (word, chunk) in words.iter_mut().zip(whole) {
        *word = u64::from_ne_bytes(*chunk);
    }
    if !rest.is_empty() {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        words[whole.len()] = u64::from_ne_bytes(last);
    }
}

/// Schema id and count, then each name as its length and its bytes.
pub(super) fn encode_schema(id: u32, names: &[&str]) -> Vec<u8> {
    let mut payload =
        Vec::with_capacity(8 + names.iter().map(|name| 4 + name.len()).sum::<usize>());
    payload.extend(id.to_le_bytes());
    payload.extend(short_len(names.len()).to_le_bytes());
    for name in names {
        payload.extend(short_len(name.len()).to_le_bytes());
        payload.extend(name.as_bytes());
    }
    payload.resize(words_for(payload.len()) * WORD, 0);
    payload
}

fn short_len(length: usize) -> u32 {
    // The writer refuses what is longer before it comes here; a reader would report a damage.
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The schema id and the names; `None` when the payload is no schema.
pub(super) fn decode_schema(payload: &[u8]) -> Option<(u32, Vec<&str>)> {
    let (id, count) = halves(word_at(payload, 0));
    let mut rest = payload.get(8..)?;
    // A count is a claim: room for it is made only as names really turn up.
    let mut names = Vec::with_capacity((count as usize).min(rest.len() / 4));
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (name, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        names.push(std::str::from_utf8(name).ok()?);
        rest = after;
    }
    (!names.is_empty() && rest.len() < WORD).then_some((id, names))
}

/// The bytes of a blob; `None` when the payload is no blob.
pub(super) fn decode_blob(payload: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(word_at(payload, 0)).ok()?;
    let bytes = payload.get(WORD..)?;
    (words_for(length) == bytes.len() / WORD).then(|| &bytes[..length])
}

/// The final record of a journal whose records end at `position`.
pub(super) fn end_record(position: u64, state: u32) -> [u8; (END_WORDS + 1) * WORD] {
    let payload = [
        u64::from(state).to_le(),
        clock::unix_ns().cast_unsigned().to_le(),
    ];
    let head = Head {
        kind: Kind::End,
        payload_words: END_WORDS,
    };
    let commit = head.commit_word(position, bytes_of(&payload)).to_le();
    let mut record = [0; (END_WORDS + 1) * WORD];
    record.copy_from_slice(bytes_of(&[commit, payload[0], payload[1]]));
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_reads_back() {
        let payload = encode_schema(7, &["loss", "größe", "a"]);
        assert_eq!(payload.len() % WORD, 0);
        assert_eq!(
            decode_schema(&payload),
            Some((7, vec!["loss", "größe", "a"]))
        );
    }

    #[test]
    fn a_schema_that_claims_too_much_is_refused() {
        let mut payload = encode_schema(7, &["loss"]);
        payload[4] = 0xFF;
        payload[7] = 0xFF;
        assert_eq!(decode_schema(&payload), None);
        assert_eq!(decode_schema(&[]), None);
    }

    #[test]
    fn a_blob_of_any_length_reads_back() {
        for length in 0..40 {
            let bytes: Vec<u8> = (1..=length).collect();
            let mut words = vec![0; 1 + words_for(bytes.len())];
            words[0] = u64::from(length).to_le();
            copy_bytes(&mut words[1..], &bytes);
            assert_eq!(decode_blob(bytes_of(&words)), Some(&bytes[..]));
        }
    }
}
