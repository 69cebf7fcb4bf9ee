//! What a series or a window amounts to, as Python gets it.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use runbus_core::aggregate::{Aggregate, Point};

/// Points, last step, last, min, max, first, mean, std, p50, p95, p99, step of min, step of max.
pub(crate) struct Summary {
    points: u64,
    last_step: i64,
    numbers: [f64; 9],
    extreme_steps: [i64; 2],
}

impl From<&Aggregate> for Summary {
    fn from(aggregate: &Aggregate) -> Self {
        let value = |point: Option<Point>| point.map_or(f64::NAN, |point| point.value);
        let step = |point: Option<Point>| point.map_or(0, |point| point.step);
        Self {
            points: aggregate.count,
            last_step: step(aggregate.last),
            numbers: [
                value(aggregate.last),
                value(aggregate.min),
                value(aggregate.max),
                value(aggregate.first),
                aggregate.moments.mean(),
                aggregate.moments.variance().sqrt(),
                aggregate.quantile(0.5),
                aggregate.quantile(0.95),
                aggregate.quantile(0.99),
            ],
            extreme_steps: [step(aggregate.min), step(aggregate.max)],
        }
    }
}

impl<'py> IntoPyObject<'py> for Summary {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let mut fields = vec![
            self.points.into_pyobject(py)?.into_any(),
            self.last_step.into_pyobject(py)?.into_any(),
        ];
        for number in self.numbers {
            fields.push(number.into_pyobject(py)?.into_any());
        }
        for step in self.extreme_steps {
            fields.push(step.into_pyobject(py)?.into_any());
        }
        PyTuple::new(py, fields)
    }
}
