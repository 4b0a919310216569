//! `switchy-server`: see `switchy_server::commands`.

use std::process::ExitCode;

fn main() -> ExitCode {
    switchy_server::commands::main()
}
