//! Which series of a run are read.

/// Which series are wanted.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// All.
    All,
    /// Those of these names; `*` in a name stands for any characters, `?` for any one.
    Matching(Vec<String>),
}

impl Wanted {
    /// Whether the series of this name is wanted.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Matching(patterns) => patterns
                .iter()
                .any(|pattern| pattern == name || matches(pattern.as_bytes(), name.as_bytes())),
        }
    }
}

/// Whether a pattern describes a name; linear, as only the last `*` is ever tried again.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, place));
                at += 1;
            }
            Some(b'?') => {
                at += 1;
                place = character_end(name, place);
            }
            Some(byte) if *byte == name[place] => {
                at += 1;
                place += 1;
            }
            _ => match star {
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    (at, place) = (back + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// The end of the character of UTF-8 that starts at `place`.
fn character_end(name: &[u8], place: usize) -> usize {
    let rest = name[place + 1..].iter();
    place + 1 + rest.take_while(|byte| **byte & 0xC0 == 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_would_but_across_slashes() {
        let cases = [
            ("*", "", true),
            ("train/*", "train/loss/0", true),
            ("train/*", "train", false),
            ("*/norm", "layer/0/norm", true),
            ("*/norm", "layer/norm/x", false),
            ("l?ss", "loss", true),
            ("l?ss", "löss", true),
            ("l?ss", "lss", false),
            ("a*b*c", "aXbXbXc", true),
            ("a*b*c", "aXbXbX", false),
            ("", "", true),
            ("", "x", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_name_that_looks_like_a_pattern_matches_itself() {
        assert!(Wanted::Matching(vec!["a*".into()]).holds("a*"));
    }
}
