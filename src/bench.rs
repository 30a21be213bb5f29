//! Load: messages by a schedule, timed from when they were due, and a word on whether the figures
//! can be believed.

pub mod report;
pub mod tally;
