//! Which devices are sampled.

/// Which GPUs are sampled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// Those of the job, by the text of `CUDA_VISIBLE_DEVICES`; all without one.
    Own(Option<String>),
    /// All of the machine.
    All,
    /// These, by the numbers that the driver gives them.
    These(Vec<u32>),
}

impl Gpus {
    /// Whether a device is wanted.
    pub(super) fn wants(&self, index: u32, uuid: &str) -> bool {
        match self {
            Self::All | Self::Own(None) => true,
            Self::These(numbers) => numbers.contains(&index),
            Self::Own(Some(text)) => text
                .split(',')
                .map(str::trim)
                // CUDA sees those before the first word that names none.
                .take_while(|word| names_some(word))
                .any(|word| names(word, index, uuid)),
        }
    }
}

fn names_some(word: &str) -> bool {
    word.parse::<u32>().is_ok() || word.starts_with("GPU-") || word.starts_with("MIG-")
}

fn names(word: &str, index: u32, uuid: &str) -> bool {
    // An instance is named by itself, or by its device and numbers: `MIG-GPU-…/1/0`.
    let device = word.strip_prefix("MIG-").unwrap_or(word);
    let device = device.split('/').next().unwrap_or(device);
    match word.parse::<u32>() {
        Ok(number) => number == index,
        // The start of an id is enough. Which device has an instance is not told by its own id.
        Err(_) => (device.len() > 4 && uuid.starts_with(device)) || !device.starts_with("GPU-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_read_as_cuda_does() {
        let seen = |text: &str| -> Vec<u32> {
            let own = Gpus::Own(Some(text.to_owned()));
            (0..4)
                .filter(|index| own.wants(*index, &format!("GPU-{index}a77")))
                .collect()
        };
        assert_eq!(seen("1, 3"), [1, 3]);
        assert_eq!(seen(""), [0_u32; 0]);
        assert_eq!(seen("-1"), [0_u32; 0]);
        assert_eq!(seen("2,-1,0"), [2]);
        assert_eq!(seen("GPU-2a,GPU-0a77"), [0, 2]);
        assert_eq!(seen("MIG-GPU-3a77/1/0"), [3]);
        assert_eq!(seen("GPU-"), [0_u32; 0]);
    }

    #[test]
    fn without_the_variable_all_are_the_jobs_own() {
        assert!(Gpus::Own(None).wants(7, "GPU-7"));
        assert!(Gpus::All.wants(7, "GPU-7"));
        assert!(!Gpus::These(vec![1]).wants(7, "GPU-7"));
    }
}
