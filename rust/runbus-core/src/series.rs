//! The points of one metric, of all writers.

use std::collections::HashMap;
use std::sync::Arc;

use crate::downsample::{self, Method};
use crate::frame::{Frames, Point};
use crate::integer::{self, joined};
use crate::shared::Shared;

/// Points as columns of one length. Cheap to clone: nobody changes them.
#[derive(Clone, Debug, Default)]
pub struct SeriesData {
    /// `i64`, in any order.
    pub steps: Shared<i64>,
    /// Bit for bit as logged; of integers beyond doubles the nearest one.
    pub values: Shared<f64>,
    /// What is missing in those: for each value what is to be added, or nothing for all of them.
    pub rests: Shared<i16>,
    /// Unix nanoseconds.
    pub times: Shared<i64>,
}

/// Which steps are wanted: those of the arithmetic progression from `first` below `end`.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// The least step.
    pub first: i64,
    /// The step behind the greatest one; `None` is no limit.
    pub end: Option<i64>,
    /// The distance of steps, at least 1.
    pub stride: u64,
}

impl Steps {
    /// Whether some step between these two, both included, may be wanted.
    pub(crate) fn meet(&self, (least, greatest): (i64, i64)) -> bool {
        greatest >= self.first && self.end.is_none_or(|end| least < end)
    }

    fn holds(&self, step: i64) -> bool {
        step >= self.first
            && self.end.is_none_or(|end| step < end)
            && step.abs_diff(self.first).is_multiple_of(self.stride)
    }
}

impl SeriesData {
    /// How many points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The point at a place.
    fn point(&self, place: usize) -> Point {
        Point {
            step: self.steps[place],
            time: self.times[place],
            value: self.values[place],
            rest: self.rests.get(place).copied().unwrap_or(0),
        }
    }

    /// All points.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        (0..self.len()).map(|place| self.point(place))
    }

    /// The values as integers of 64 bits, if some of them are none that a double represents; `None` also
    /// where another value is not an integer.
    #[must_use]
    pub fn integers(&self) -> Option<Vec<i64>> {
        if self.rests.iter().all(|rest| *rest == 0) {
            return None;
        }
        let values = self.values.iter().zip(&*self.rests);
        values.map(|(value, rest)| joined(*value, *rest)).collect()
    }

    /// The points at these places.
    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        Self {
            steps: places.iter().map(|place| self.steps[*place]).collect(),
            values: places.iter().map(|place| self.values[*place]).collect(),
            times: places.iter().map(|place| self.times[*place]).collect(),
            rests: if self.rests.is_empty() {
                Shared::default()
            } else {
                places.iter().map(|place| self.rests[*place]).collect()
            },
        }
    }

    /// The points at the steps that are wanted.
    #[must_use]
    pub fn select(&self, wanted: &Steps) -> Self {
        let steps = self.steps.iter().enumerate();
        let places: Vec<usize> = steps
            .filter_map(|(place, step)| wanted.holds(*step).then_some(place))
            .collect();
        if places.len() == self.len() {
            return self.clone();
        }
        self.at(&places)
    }

    /// At most `count` points that draw the same picture: see [`downsample`].
    #[must_use]
    pub fn downsample(&self, count: usize, method: Method) -> Self {
        self.at(&downsample::downsample(
            &self.steps,
            &self.values,
            count,
            method,
        ))
    }

    /// The exponential moving average of the values, corrected for its start at nothing.
    ///
    /// With `alpha` the weight of the newest value, between 0 and 1: the mean of the values so far,
    /// weighted by `(1 - alpha)^age`. A value that is not finite is passed on as it is, and has no
    /// part in the averages after it.
    #[must_use]
    pub fn smooth(&self, alpha: f64) -> Self {
        let (mut sum, mut weight) = (0.0, 0.0);
        let smoothed = self.values.iter().map(|&value| {
            if !value.is_finite() {
                return value;
            }
            sum = (1.0 - alpha) * sum + alpha * value;
            weight = (1.0 - alpha) * weight + alpha;
            sum / weight
        });
        Self {
            values: smoothed.collect(),
            rests: Shared::default(),
            ..self.clone()
        }
    }

    /// For each point the value of `axis` at its step: the last one that was logged under that step,
    /// or else under the nearest one below it. NaN where there is none.
    #[must_use]
    pub fn over(&self, axis: &Self) -> Shared<f64> {
        let values = axis.values.iter().copied();
        let mut marks: Vec<(i64, f64)> = axis.steps.iter().copied().zip(values).collect();
        // Stable, and quick where they are in order already.
        marks.sort_by_key(|(step, _)| *step);
        let mut passed = 0;
        let positions = self.steps.iter().map(|step| {
            let is_right = |passed: usize| {
                marks.get(passed).is_none_or(|next| next.0 > *step)
                    && (passed == 0 || marks[passed - 1].0 <= *step)
            };
            // Mostly steps ascend, and the axis has a point at each or at few of them.
            if passed < marks.len() && is_right(passed + 1) {
                passed += 1;
            } else if !is_right(passed) {
                passed = marks.partition_point(|(mark, _)| mark <= step);
            }
            passed.checked_sub(1).map_or(f64::NAN, |last| marks[last].1)
        });
        positions.collect()
    }

    /// The series of each name in what one writer wrote.
    #[must_use]
    pub fn of_frames(frames: Frames) -> Vec<(Box<str>, Self)> {
        let mut found = Parts::default();
        let long = frames.long;
        let stretches: Vec<_> = long
            .stretches()
            .map(|(name, range)| (Box::from(name), range))
            .collect();
        let (steps, times) = (Arc::new(long.steps), Arc::new(long.times));
        let rests = long.rests.shared(long.values.len());
        let (values, order) = (Arc::new(long.values), long.order.map(Arc::new));
        for (name, range) in stretches {
            let order = order
                .as_ref()
                .map(|order| Shared::part(order, range.clone()));
            let data = Self {
                steps: Shared::part(&steps, range.clone()),
                values: Shared::part(&values, range.clone()),
                rests: integer::part(&rests, range.clone()),
                times: Shared::part(&times, range),
            };
            found.add(name, order.unwrap_or_default(), data);
        }
        for frame in frames.wide {
            let order = Shared::from(frame.order);
            let (steps, times) = (Shared::from(frame.steps), Shared::from(frame.times));
            for (name, values) in frame.names.into_iter().zip(frame.values) {
                let data = Self {
                    steps: steps.clone(),
                    values: values.into(),
                    rests: Shared::default(),
                    times: times.clone(),
                };
                found.add(name, order.clone(), data);
            }
        }
        found.joined()
    }

    /// One series of those of several writers.
    ///
    /// The points of a writer stay in its order, whatever their times say: a clock may be set back.
    /// Between writers, each point has its place by the latest time that its writer had given to a
    /// point of the series by then; at one time, writers come in the order of `parts`.
    #[must_use]
    pub fn merged(parts: &[Self]) -> Self {
        if let [only] = parts {
            return only.clone();
        }
        let latest: Vec<Vec<i64>> = parts.iter().map(Self::latest_times).collect();
        interleaved(parts, |part, place| latest[part][place])
    }

    /// For each point the latest time so far.
    fn latest_times(&self) -> Vec<i64> {
        let mut latest = i64::MIN;
        let times = self.times.iter().map(|time| {
            latest = latest.max(*time);
            latest
        });
        times.collect()
    }
}

/// Points, and for each the number of its row.
type Ordered = (Shared<u64>, SeriesData);

/// The points of each name, in parts.
#[derive(Default)]
struct Parts {
    found: Vec<(Box<str>, Vec<Ordered>)>,
    places: HashMap<Box<str>, usize>,
}

impl Parts {
    fn add(&mut self, name: Box<str>, order: Shared<u64>, data: SeriesData) {
        let place = *self.places.entry(name.clone()).or_insert_with(|| {
            self.found.push((name, Vec::new()));
            self.found.len() - 1
        });
        self.found[place].1.push((order, data));
    }

    fn joined(mut self) -> Vec<(Box<str>, SeriesData)> {
        let first = |parts: &[Ordered]| {
            let rows = parts.iter().map(|(order, _)| order.first().copied());
            rows.min().flatten().unwrap_or(0)
        };
        self.found.sort_by_key(|(_, parts)| first(parts));
        let joined = self.found.into_iter().map(|(name, parts)| {
            let (orders, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let order = |part: usize, place: usize| -> u64 {
                orders[part].get(place).copied().unwrap_or(place as u64)
            };
            (name, interleaved(&parts, order))
        });
        joined.collect()
    }
}

/// The points of all parts, by their keys; those of one key in the order of the parts.
fn interleaved<K: Ord>(parts: &[SeriesData], key: impl Fn(usize, usize) -> K) -> SeriesData {
    if let [only] = parts {
        return only.clone();
    }
    let mut places: Vec<(K, usize, usize)> = Vec::new();
    for (part, data) in parts.iter().enumerate() {
        places.extend((0..data.len()).map(|place| (key(part, place), part, place)));
    }
    // Stable, and quick where each part is in order already.
    places.sort_by(|a, b| a.0.cmp(&b.0));
    let each = || {
        places
            .iter()
            .map(|(_, part, place)| (&parts[*part], *place))
    };
    SeriesData {
        steps: each().map(|(part, place)| part.steps[place]).collect(),
        values: each().map(|(part, place)| part.values[place]).collect(),
        rests: if parts.iter().all(|part| part.rests.is_empty()) {
            Shared::default()
        } else {
            each().map(|(part, place)| part.point(place).rest).collect()
        },
        times: each().map(|(part, place)| part.times[place]).collect(),
    }
}
