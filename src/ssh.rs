//! SSH: what OpenSSH's files and flags say, read the way OpenSSH reads them.

mod certificate;
pub mod forward;
pub mod known_hosts;
mod pattern;
mod place;

#[cfg(test)]
mod testing;

pub use place::Place;
