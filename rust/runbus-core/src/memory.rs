//! Room for large columns.

/// From this size on, pages of 2 MiB pay.
const LARGE_BYTES: usize = 2 << 20;
const PAGE: usize = 4 << 10;

/// Vectors that may become large.
pub(crate) trait Big {
    /// Make room for `count` more, in huge pages where the system has them: to fault in a column
    /// in pages of 4 KiB takes longer than to fill it. What the system does not give is left to later growth.
    fn reserve_big(&mut self, count: usize);
}

impl<T> Big for Vec<T> {
    fn reserve_big(&mut self, count: usize) {
        if self.try_reserve_exact(count).is_err() {
            return;
        }
        let bytes = self.capacity() * size_of::<T>();
        if bytes < LARGE_BYTES {
            return;
        }
        let start = self.as_mut_ptr().addr();
        let first = start & !(PAGE - 1);
        // SAFETY: the range is our own allocation and the head of the page it starts in; the advice
        // changes no contents, and a refusal changes nothing.
        unsafe {
            libc::madvise(
                self.as_mut_ptr()
                    .cast::<u8>()
                    .wrapping_sub(start - first)
                    .cast(),
                start - first + bytes,
                libc::MADV_HUGEPAGE,
            )
        };
    }
}
