//! How a machine is to be sampled, as the variable `RUNBUS_SYSTEM` says it.

use std::time::Duration;

use super::engine::Rhythm;
use super::wanted::Gpus;

const LONGEST_S: f64 = 86_400.0;

/// How a machine is to be sampled.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How often it is read, and what that may cost.
    pub rhythm: Rhythm,
    /// How long a run lasts before.
    pub after: Duration,
    /// Which GPUs; those of the job if none are named.
    pub gpus: Option<Gpus>,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            rhythm: Rhythm::default(),
            after: Duration::ZERO,
            gpus: None,
        }
    }
}

impl Asked {
    /// Read `1`, or fields such as `every_s=0.1,gpus=all`, of which numbers of GPUs are joined by `+`.
    ///
    /// None where nothing is to be sampled: for `0`, and for text that cannot be read. `init` tells what is
    /// wrong with it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut asked = Self::default();
        match text {
            "0" => return None,
            "" | "1" => return Some(asked),
            _ => {}
        }
        for field in text.split(',') {
            let (name, value) = field.split_once('=')?;
            let value = value.trim();
            match name.trim() {
                "every_s" => asked.rhythm.every = seconds(value, 0.001)?,
                "slow_every_s" => asked.rhythm.slow_every = seconds(value, 0.001)?,
                "window_s" => asked.rhythm.window = seconds(value, 0.0)?,
                "after_s" => asked.after = seconds(value, 0.0)?,
                "budget" => asked.rhythm.budget = part(value)?,
                "gpus" => asked.gpus = gpus(value)?,
                _ => return None,
            }
        }
        Some(asked)
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

fn part(text: &str) -> Option<f64> {
    number(text).filter(|part| *part > 0.0 && *part <= 1.0)
}

fn seconds(text: &str, least: f64) -> Option<Duration> {
    let given = number(text).filter(|given| *given >= least && *given <= LONGEST_S)?;
    Duration::try_from_secs_f64(given).ok()
}

#[allow(clippy::option_option)] // Wrong, or those of the job.
fn gpus(text: &str) -> Option<Option<Gpus>> {
    match text {
        "own" => Some(None),
        "all" => Some(Some(Gpus::All)),
        numbers => {
            let numbers = numbers.split('+').map(|number| number.parse().ok());
            Some(Some(Gpus::These(numbers.collect::<Option<_>>()?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_says_how() {
        let asked =
            Asked::parse("every_s=0.1, slow_every_s = 5,window_s=1,after_s=30,budget=1,gpus=0+3");
        let asked = asked.unwrap();
        let Rhythm {
            every,
            slow_every,
            window,
            budget,
        } = asked.rhythm;
        assert_eq!(
            [every, slow_every, window, asked.after].map(|time| time.as_millis()),
            [100, 5_000, 1_000, 30_000]
        );
        assert!(budget >= 1.0);
        assert_eq!(asked.gpus, Some(Gpus::These(vec![0, 3])));
        assert_eq!(Asked::parse("gpus=all").unwrap().gpus, Some(Gpus::All));
        assert_eq!(Asked::parse("gpus=own").unwrap().gpus, None);
        for usual in ["", "1"] {
            assert_eq!(
                Asked::parse(usual).unwrap().rhythm.every,
                Duration::from_secs(1)
            );
        }
    }

    #[test]
    fn what_says_nothing_samples_nothing() {
        for text in [
            "0",
            "2",
            "yes",
            "every_s",
            "every_s=",
            "every_s=0",
            "every_s=nan",
            "every_s=-1",
            "slow_every_s=86401",
            "budget=0",
            "budget=1.5",
            "gpus=",
            "gpus=a",
            "often=1",
            "every_s=1,",
        ] {
            assert!(Asked::parse(text).is_none(), "{text}");
        }
    }
}
