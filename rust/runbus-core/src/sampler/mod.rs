//! Samples a host and its devices: one thread, two tiers, no Python.
//!
//! [`Getter`]s read one thing each; an [`Engine`] reads those that are due at a tick into a [`Row`] and
//! knows what each costs; a [`Sampler`] is the thread that does so and hands rows to a [`Sink`].

mod asked;
mod call;
mod clock;
mod engine;
mod getter;
mod held;
mod host;
mod journal;
mod late;
mod machine;
mod nvml;
mod place;
mod program;
mod rate;
mod rocm;
mod row;
mod run;
mod slot;
mod thread;
mod wanted;
mod window;

pub use asked::Asked;
pub use clock::{Clock, SystemClock};
pub use engine::{Engine, Finder, Rhythm};
pub use getter::{Getter, Moment, Tier, Trouble};
pub use host::{Heavy, Host, Processes};
pub use journal::{JournalSink, SharedJournal};
pub use machine::Machine;
pub use nvml::NvidiaGpus;
pub use place::Place;
pub use program::{Beside, sample_job};
pub use rocm::AmdGpus;
pub use row::{NameId, Row};
pub use run::RunJournal;
pub use slot::{Cost, Standing};
pub use thread::{Sampler, Sink, Wait, run as sample};
pub use wanted::Gpus;

pub use crate::os::host_name;
