//! ONNX Runtime: found at run time, one environment for the whole process.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    session::{Session, builder::GraphOptimizationLevel},
};

use super::EmbedError;

/// The environment variable, and its value, that keeps ONNX Runtime from reporting to its makers.
///
/// Turning it off by the library's own function is too late: by then the environment has been made,
/// and making it writes an identifier of this machine and a database of events below the home folder,
/// overwrites `.ses` in the temporary folder (through a link that somebody may have put there), and
/// sends what this program, processor and system are. With the variable set, none of that is begun.
pub const TELEMETRY_OFF: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// The process-wide environment, loading the library at `library` on the first successful call.
///
/// Later calls return the same environment whatever their path: a process can hold only one.
///
/// # Errors
/// [`EmbedError::Unavailable`] when the file is missing, is not ONNX Runtime or is too old: a later
/// call may then succeed with another path. Also without [`TELEMETRY_OFF`] in the environment, which
/// only the program itself can put there, before it has threads.
pub(in crate::search) fn environment(library: &Path) -> Result<Environment, EmbedError> {
    // Kept for ever: `ort` refuses to create a second environment even after the first is gone.
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut current = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*current {
        return Ok(environment.clone());
    }
    let refused = |error: &dyn std::fmt::Display| {
        EmbedError::Unavailable(format!(
            "ONNX Runtime could not be loaded from {}: {error}; point ORT_DYLIB_PATH at the \
             ONNX Runtime library, version 1.{} or newer",
            library.display(),
            ort::MINOR_VERSION,
        ))
    };
    let (name, value) = TELEMETRY_OFF;
    if std::env::var_os(name).is_none_or(|found| found != value) {
        return Err(EmbedError::Unavailable(format!(
            "ONNX Runtime was not loaded, because it would report to its makers: set {name}={value} \
             in the environment of this program"
        )));
    }
    // Named explicitly: the implicit look-up panics when there is no library.
    let environment = ort::init_from(library)
        .map_err(|error| refused(&error))?
        .with_name("switchy")
        .with_telemetry(false)
        .build()
        .map_err(|error| refused(&error))?;
    Ok(current.insert(environment).clone())
}

/// A session on one thread that does not spin.
pub(in crate::search) fn session(environment: &Environment, model: &[u8]) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .commit_from_memory(model)
}
