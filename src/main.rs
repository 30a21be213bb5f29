//! Parse, run, turn the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use towline::cli::Cli;
use towline::error::{Error, Kind, Result};
use towline::{command, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    report::init(&cli.report);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let silent =
                matches!(error.kind(), Kind::ClosedOutput | Kind::Interrupted | Kind::Terminated);
            if !silent {
                report::error(&error);
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new().map_err(Error::io)?;
    let outcome = runtime.block_on(command::run(cli));
    // A read of stdin cannot be cancelled; the process does not wait for it.
    runtime.shutdown_background();
    outcome
}
