//! `setup`: downloads and builds, for images and hosts that will be offline.

use super::{CommandError, progress, say};
use crate::config::{ModelConfig, StorageConfig};
use clap::Args;
use switchy_runtime::{Layout, Parts, install};

/// `switchy-server setup`
#[derive(Args)]
pub(super) struct Setup {
    #[command(flatten)]
    storage: StorageConfig,
    #[command(flatten)]
    model: ModelConfig,
}

pub(super) async fn run(setup: Setup) -> Result<(), CommandError> {
    let parts = Parts {
        postgres: setup.storage.database_url().is_none(),
        inference: !setup.model.lexical_only
            && (setup.model.model_dir.is_none() || setup.model.ort_dylib_path.is_none()),
    };
    let layout = Layout::resolve(setup.storage.data_dir, setup.storage.cache_dir)
        .map_err(|e| CommandError(e.to_string()))?;
    let folder = layout.cache_dir.clone();
    let installed = tokio::task::spawn_blocking(move || install(&folder, parts, &*progress()))
        .await
        .map_err(|e| CommandError(e.to_string()))?
        .map_err(|e| CommandError(e.to_string()))?;
    say(&format!("Ready in {}:\n", layout.cache_dir.display()))?;
    let shown = [
        ("PostgreSQL", installed.postgres),
        ("ONNX Runtime", installed.onnxruntime),
        ("Models", installed.models),
    ];
    for (what, path) in shown {
        let path = path.map_or_else(|| "yours".into(), |path| path.display().to_string());
        say(&format!("  {what:<13} {path}\n"))?;
    }
    Ok(())
}
