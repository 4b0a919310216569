//! `switchy-server`: see `switchy_server::commands`.

use std::process::ExitCode;
use switchy_server::search::embedder::TELEMETRY_OFF;

fn main() -> ExitCode {
    let (name, value) = TELEMETRY_OFF;
    #[expect(unsafe_code, reason = "ONNX Runtime can be told in no other way")]
    // SAFETY: changing the environment is sound as long as no other thread reads or changes it. This
    // is the first statement of the program: there is no other thread yet.
    unsafe {
        std::env::set_var(name, value);
    }
    switchy_server::commands::main()
}
