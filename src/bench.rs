//! Load: messages by a schedule, timed from when they were due, and a word on whether the figures
//! can be believed.
//!
//! `run` has the threads do one thing after the other and adds up what they say; a `worker` is one
//! of them, with its connections, its part of the schedule and its tally.

mod clock;
mod connection;
mod failure;
mod frames;
mod lane;
mod matching;
mod outbox;
mod payload;
mod pending;
mod plan;
mod progress;
pub mod report;
mod result;
mod run;
mod saturation;
mod schedule;
mod stamp;
pub mod tally;
mod worker;

pub use matching::Matching;
pub use payload::{Sizes, Template};
pub(crate) use plan::Plan;
pub(crate) use result::asked;
pub(crate) use run::run;
