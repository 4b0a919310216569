//! Asking before something that cannot be undone.

use std::io::{self, IsTerminal};

use crate::failure::Failure;

/// Whether to go on. Scripts, which have no terminal, are not asked.
///
/// # Errors
///
/// When the question is not answered.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    Ok(inquire::Confirm::new(question).with_default(false).prompt()?)
}
