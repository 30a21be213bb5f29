//! The probe of `connect`: send this, expect that, in command-line order.
//!
//! A [`Script`] is what the flags say. A [`Session`] plays it against one connection, decides how
//! the run ended and writes the reports:
//!
//! - [`Session::greet`] holds the outcome of connecting against what is expected of it,
//! - [`Session::watch`] makes the far end count what passes,
//! - [`Session::play`] plays the steps,
//! - [`Session::finish`] writes the reports.

mod codes;
mod end;
mod flags;
mod handshake;
mod inbox;
mod junit;
mod pattern;
mod play;
mod record;
mod reports;
mod script;
mod session;
mod step;
mod tap;
mod template;
mod wire;

pub use script::Script;
pub use session::{Next, Session};
