//! The probe of `connect`: send this, expect that, in command-line order.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The steps of a probe in the order they were written.
#[derive(Clone, Debug, Default)]
pub struct Script {}

impl FromArgMatches for Script {
    fn from_arg_matches(_matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self::default())
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Script {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
