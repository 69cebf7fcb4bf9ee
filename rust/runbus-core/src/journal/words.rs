//! The unit of a journal: words of eight bytes.

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<u64>();

/// Words as the bytes they have in memory, to be stored into.
#[inline]
pub(super) fn bytes_of_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as below; and any bytes make words.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// Words as the bytes they have in memory.
#[inline]
pub(super) fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: every byte of an initialised u64 is an initialised u8, with a weaker alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
