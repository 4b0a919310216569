//! `switchy`: the command line of the Switchy workspace server.

mod args;
mod commands;
mod config;
mod connection;
mod failure;
mod output;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use output::Output;

#[tokio::main]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let output = Output::new(global.output);
    match commands::run(&global, command, &output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report().into(),
    }
}
