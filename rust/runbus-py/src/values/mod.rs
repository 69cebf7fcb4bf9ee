//! What Python calls numbers, as doubles and steps.

mod arrays;
mod integers;
mod numbers;
mod on_device;
mod plain;
mod scalars;

pub(crate) use arrays::Array;
pub(crate) use numbers::{Value, all_known, step_of, value_or_device};
pub(crate) use plain::{look_at_floats, plain_bits, plain_step, plain_value};
