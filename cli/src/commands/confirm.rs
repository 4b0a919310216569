//! Asking before something is gone.

use std::io::{self, IsTerminal};

use crate::{failure::Failure, output::printable};

/// Whether to go on: `yes` says so, and so does the absence of somebody to ask.
pub fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    Ok(inquire::Confirm::new(&printable(question)).with_default(false).prompt()?)
}
