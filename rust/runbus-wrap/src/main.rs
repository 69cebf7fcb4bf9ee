//! The program: the C entry point of `runbus_wrap`.
#![no_main]

/// Called by the C runtime: without Rust's own start-up a wrapper keeps less memory beside its job.
#[unsafe(no_mangle)]
extern "C" fn main(count: i32, words: *const *const libc::c_char) -> i32 {
    // SAFETY: the C runtime passes so many strings, which live as long as the process.
    unsafe { runbus_wrap::main(count, words) }
}
