//! The verbs. Each file reads like its sentence in the manual.

use crate::cli::{Cli, Command};
use crate::error::Result;

pub mod bench;
mod completions;
pub mod connect;
mod help;
mod man;
pub mod proxy;
pub mod serve;
pub mod tunnel;

/// Does what the user asked for.
///
/// # Errors
/// Whatever ends the run other than well; the kind decides the exit code.
pub async fn run(cli: Cli) -> Result<()> {
    match cli.command {
        Command::Connect(args) => connect::run(*args).await,
        Command::Serve(args) => serve::run(*args).await,
        Command::Proxy(args) => proxy::run(*args).await,
        Command::Tunnel(args) => tunnel::run(*args).await,
        Command::Bench(args) => bench::run(*args).await,
        Command::Completions { shell } => completions::run(shell),
        Command::Man { page, dir } => man::run(page, dir.as_deref()),
        Command::Help { topic } => help::run(topic),
    }
}
