//! One line of `/proc/PID/stat`.

/// What is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) major_faults: u64,
    /// Clock ticks of the process itself.
    pub(super) own_ticks: u64,
    /// Clock ticks of children that it has waited for.
    pub(super) waited_ticks: u64,
    pub(super) threads: u64,
    /// Clock ticks from boot to its start: with the number, what tells it from another process.
    pub(super) started: u64,
    pub(super) resident_pages: u64,
}

impl Stat {
    /// The name, which may hold anything, and the rest.
    pub(super) fn parse(bytes: &[u8]) -> Option<(&[u8], Self)> {
        let open = bytes.iter().position(|byte| *byte == b'(')?;
        let close = bytes.iter().rposition(|byte| *byte == b')')?;
        let name = bytes.get(open + 1..close)?;
        let rest = std::str::from_utf8(bytes.get(close + 1..)?).ok()?;
        // Field 3 is the first after the name.
        let mut fields = [0u64; 25];
        for (field, text) in fields[3..].iter_mut().zip(rest.split_ascii_whitespace()) {
            // The state is a letter, and some that are not used may be negative.
            *field = text.parse().unwrap_or(0);
        }
        let state = rest.split_ascii_whitespace().next()?;
        let sum = |first: u64, second: u64| first.saturating_add(second);
        (state.len() == 1 && fields[22] != 0).then_some((
            name,
            Self {
                parent: u32::try_from(fields[4]).ok()?,
                session: u32::try_from(fields[6]).ok()?,
                major_faults: fields[12],
                own_ticks: sum(fields[14], fields[15]),
                waited_ticks: sum(fields[16], fields[17]),
                threads: fields[20],
                started: fields[22],
                resident_pages: fields[24],
            },
        ))
    }

    /// All that was ever used by it and by those it has waited for.
    pub(super) fn ticks(&self) -> u64 {
        self.own_ticks.saturating_add(self.waited_ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let line = b"7 (a) R (b) S 1 7 7 0 -1 4194560 10 0 3 0 5 6 7 8 20 0 2 0 99 1000 12 18446";
        let (name, stat) = Stat::parse(line).unwrap();
        assert_eq!(name, b"a) R (b");
        let wanted = Stat {
            parent: 1,
            session: 7,
            major_faults: 3,
            own_ticks: 11,
            waited_ticks: 15,
            threads: 2,
            started: 99,
            resident_pages: 12,
        };
        assert_eq!(stat, wanted);
    }

    #[test]
    fn what_is_cut_off_is_no_process() {
        for line in [
            "",
            "7",
            "7 (a",
            "7 (a)",
            "7 )a(",
            "7 (a) S 1 7 7",
            "7 (\u{e9}) S",
        ] {
            assert_eq!(Stat::parse(line.as_bytes()), None, "{line}");
        }
    }
}
