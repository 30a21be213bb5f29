//! `connect`: two ends, joined once.

use crate::cli::ConnectArgs;
use crate::error::Result;

/// Joins the two addresses.
pub async fn run(_args: ConnectArgs) -> Result<()> {
    Ok(())
}
