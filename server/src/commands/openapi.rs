//! `openapi`: the document, without a server.

use super::{CommandError, say};
use crate::api::{document_3_0, document_3_1};
use crate::http::openapi::print;
use clap::{Args, ValueEnum};

/// `switchy-server openapi`
#[derive(Args)]
pub(super) struct OpenApi {
    /// Which version of OpenAPI
    #[arg(long, value_name = "VERSION", default_value = "3.1")]
    version: Version,
}

#[derive(Clone, Copy, ValueEnum)]
enum Version {
    #[value(name = "3.0")]
    V30,
    #[value(name = "3.1")]
    V31,
}

pub(super) fn run(command: &OpenApi) -> Result<(), CommandError> {
    let document = match command.version {
        Version::V30 => document_3_0()?,
        Version::V31 => document_3_1()?,
    };
    say(&print(&document))
}
