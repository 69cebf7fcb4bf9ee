//! Fewer points that draw the same picture.
//!
//! A series is cut into buckets of equally many points, in the order in which it was logged, and a
//! few points of each are kept, as they are. [`m4`] and [`min_max`] keep the least and the greatest
//! value of each bucket, so no spike is ever lost; [`lttb`] keeps what looks typical and may lose
//! one. NaN is neither least nor greatest: it is kept only where it is the first or last point of a
//! bucket of [`m4`], or where a bucket holds nothing else. Infinities are values like others.

mod buckets;
mod extremes;
mod lttb;
mod m4;
mod minmax;

pub use extremes::extremes;
pub use lttb::lttb;
pub use m4::m4;
pub use minmax::min_max;

/// How points are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// First, last, least and greatest of each bucket.
    M4,
    /// Least and greatest of each bucket.
    MinMax,
    /// The point of each bucket that spans the largest triangle with its neighbours.
    Lttb,
}

impl Method {
    /// The method of this name: `m4`, `minmax` or `lttb`.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "m4" => Self::M4,
            "minmax" => Self::MinMax,
            "lttb" => Self::Lttb,
            _ => return None,
        })
    }

    /// The fewest points it can choose.
    #[must_use]
    pub fn fewest(self) -> usize {
        match self {
            Self::M4 => 4,
            Self::MinMax => 2,
            Self::Lttb => 3,
        }
    }
}

/// The places of at most `count` points, ascending; all of them if there are no more.
///
/// `count` must be at least [`Method::fewest`]; a smaller one is raised to it.
#[must_use]
pub fn downsample(steps: &[i64], values: &[f64], count: usize, method: Method) -> Vec<usize> {
    let count = count.max(method.fewest());
    if values.len() <= count {
        return (0..values.len()).collect();
    }
    match method {
        Method::M4 => m4(values, count),
        Method::MinMax => min_max(values, count),
        Method::Lttb => lttb(steps, values, count),
    }
}
