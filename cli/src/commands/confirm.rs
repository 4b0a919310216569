//! Asking before something is gone, or open to others.

use std::io::{self, IsTerminal};

use crate::{failure::Failure, output::printable};

/// Whether to go on: `yes` says so, and so does the absence of somebody to ask.
pub fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes || !is_anybody_there() {
        return Ok(true);
    }
    Ok(inquire::Confirm::new(&printable(question)).with_default(false).prompt()?)
}

/// The same for what nobody may do by accident: without somebody to ask, `--yes` has to say so.
pub fn confirmed_by_somebody(yes: bool, question: &str) -> Result<bool, Failure> {
    if !yes && !is_anybody_there() {
        let question = printable(question);
        return Err(Failure::usage(format!("{question} Nobody can be asked here: pass --yes")));
    }
    confirmed(yes, question)
}

fn is_anybody_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}
