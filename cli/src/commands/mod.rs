//! What the commands do, one file for each resource.

mod account;
mod billing;
mod confirm;
mod delegation;
mod import;
mod invite;
mod key;
mod mcp;
mod mcp_server;
mod member;
mod memory;
mod message;
mod pages;
mod profile;
mod saved_session;
mod session;
mod space;
mod space_member;

use clap::CommandFactory;

use crate::{
    args::{Cli, Command, Global, McpCommand},
    connection::{Connection, Place},
    failure::Failure,
    output::Output,
};

/// Does what was typed.
pub async fn run(global: &Global, command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Login(options) => account::login(global, &options, output).await,
        Command::Logout => account::logout(global, output),
        Command::Whoami => account::whoami(&Connection::choose(global)?, output).await,
        Command::Profile(command) => profile::run(command, output),
        Command::Space(command) => {
            space::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Session(command) => {
            session::run(&Connection::choose(global)?, command, output).await
        }
        Command::Message(command) => {
            message::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Memory(command) => {
            memory::run(&Connection::choose(global)?, command, output).await
        }
        Command::Mcp(McpCommand::Config { client, with_key, on_behalf }) => {
            let place = Place::choose(global)?;
            mcp_server::config(&place, client, with_key, &on_behalf, output).await
        }
        Command::Mcp(McpCommand::Stdio { on_behalf }) => {
            mcp_server::stdio(Connection::choose(global)?, &on_behalf).await
        }
        Command::Mcp(McpCommand::Integrations(command)) => {
            mcp::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Member(command) => {
            member::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Invite(command) => {
            invite::run(&Connection::choose(global)?, command, output).await
        }
        Command::Key(command) => key::run(&Connection::choose(global)?, command, output).await,
        Command::Delegation(command) => {
            delegation::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Billing(command) => {
            billing::run(&Connection::choose(global)?.client()?, command, output).await
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "switchy", &mut script);
            output.write(&String::from_utf8_lossy(&script))
        }
    }
}
