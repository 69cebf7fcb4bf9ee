//! Times that no clock change moves.

/// Seconds since the machine booted, as `/proc/uptime` writes them: whole hundredths.
pub(crate) fn uptime() -> String {
    let time = boot_time();
    // Formatting a float takes a page of stack more than all the rest.
    format!("{}.{:02}", time.tv_sec, time.tv_nsec / 10_000_000)
}

/// Seconds of a clock that runs also while the machine sleeps, and is never set.
pub(crate) fn now() -> f64 {
    let time = boot_time();
    #[expect(clippy::cast_precision_loss, reason = "uptimes are far below 2^53")]
    let whole = time.tv_sec as f64;
    #[expect(clippy::cast_precision_loss, reason = "below 10^9")]
    let part = time.tv_nsec as f64;
    whole + part / 1e9
}

fn boot_time() -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    time
}

/// Read a number of seconds that is finite and not negative.
pub(crate) fn seconds(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number)
}

/// Sleep; a signal may end it early.
pub(crate) fn sleep(seconds: f64) {
    std::thread::sleep(std::time::Duration::from_secs_f64(seconds));
}
