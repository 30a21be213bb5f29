//! `completions`: what a shell needs to know.

use clap_complete::Shell;

use crate::cli;
use crate::error::Result;
use crate::report;

/// Prints the completion script.
///
/// # Errors
/// stdout cannot be written.
pub(super) fn run(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "towline", &mut script);
    report::page(&script)
}
