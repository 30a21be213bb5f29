//! The verbs. Each file reads like its sentence in the manual.

use crate::cli::{Cli, Command};
use crate::error::Result;

pub mod connect;
pub mod serve;

/// Does what the user asked for.
///
/// # Errors
/// Whatever ends the run other than well; the kind decides the exit code.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Connect(args) => connect::run(*args).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}
