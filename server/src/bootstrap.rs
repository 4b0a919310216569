//! What the server stands on, embedded or brought along: the database and the model.

use crate::clock::Clock;
use crate::config::{CrossEncoderConfig, ModelConfig, ShortSecretKey, StorageConfig};
use crate::search::cross_encoder::{self, CrossEncoding, LocalCrossEncoder};
use crate::search::embedder::{
    DEFAULT_QUEUE, Embedder, LoadOptions, LocalEmbedder, NoEmbedder, default_threads,
};
use crate::store::migrations::{self, MigrateError};
use crate::store::requirements::{self, Versions};
use crate::store::vault::{self, Vault};
use crate::store::{ConnectError, Store, StoreConfig, secrets};
use secrecy::{ExposeSecret, SecretString};
use slog::{Logger, warn};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use switchy_runtime::{
    DataDirLock, EmbeddedPostgres, Layout, Parts, PostgresExit, PostgresOptions, Progress,
    RuntimeError, install, lock_data_dir, vault_key,
};

/// Something that the server stands on is not there; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Download, build, or the embedded PostgreSQL.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The database that was brought along.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The operator's secret.
    #[error(transparent)]
    SecretKey(#[from] ShortSecretKey),
    /// The schema.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The model.
    #[error("{0}; or start with --lexical-only to search by words alone")]
    Model(String),
    /// The cross-encoder.
    #[error(
        "{0}; point SWITCHY_CROSS_ENCODER_DIR at a folder with model.onnx, tokenizer.json and \
         config.json, or start without it"
    )]
    CrossEncoder(String),
    /// The first statements on the database.
    #[error("{0}")]
    Store(#[from] crate::error::Error),
    /// A blocking task that panicked.
    #[error("an internal task failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Whether a command may share the data folder with a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is the server: nobody else may be.
    Exclusive,
    /// It is a command beside a server, if there is one.
    Shared,
}

/// A database that is there for as long as this is.
pub struct Database {
    /// Where it is; may hold a password.
    pub url: SecretString,
    embedded: Option<EmbeddedPostgres>,
    _lock: Option<DataDirLock>,
}

impl Database {
    /// The operator's own, or the embedded one, installed and started as needed.
    pub async fn open(
        config: &StorageConfig,
        access: Access,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, HostError> {
        // before anything is started that the secret would be needed for
        config.secret_key()?;
        if let Some(url) = config.database_url() {
            return Ok(Database { url, embedded: None, _lock: own_lock(config, access)? });
        }
        let layout = Layout::resolve(config.data_dir.clone(), config.cache_dir.clone())?;
        let embedded = tokio::task::spawn_blocking(move || {
            let progress = &*progress;
            let parts = Parts { postgres: true, inference: false };
            let installed = install(&layout.cache_dir, parts, progress)?;
            let folder = installed.postgres.unwrap_or_default();
            let options = PostgresOptions::default();
            let embedded = match access {
                Access::Exclusive => EmbeddedPostgres::start(&folder, &layout.data_dir, &options),
                Access::Shared => {
                    EmbeddedPostgres::attach_or_start(&folder, &layout.data_dir, &options)
                }
            }?;
            if let Some(former) = embedded.taken_over_from() {
                progress.step(&format!("The database was taken over from the account '{former}'"));
                progress.done();
            }
            Ok::<_, RuntimeError>(embedded)
        })
        .await??;
        Ok(Database { url: embedded.url().into(), embedded: Some(embedded), _lock: None })
    }

    /// Whether it is the embedded one.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The account that the embedded one ran as before this start, when it was another one.
    pub fn taken_over_from(&self) -> Option<&'static str> {
        self.embedded.as_ref().and_then(EmbeddedPostgres::taken_over_from)
    }

    /// Checks the versions, brings the schema up to date, and opens the pool.
    pub async fn store(
        &self,
        pool: PoolConfig,
        clock: Clock,
    ) -> Result<(Store, Versions), HostError> {
        let versions = requirements::check(&self.url).await?;
        migrations::run(&self.url).await?;
        let store = Store::connect(&StoreConfig {
            url: self.url.clone(),
            pool_size: pool.size,
            checkout_timeout: pool.timeout,
            statement_timeout: pool.statement_timeout,
            clock,
        })
        .await?;
        Ok((store, versions))
    }

    /// Waits until the embedded PostgreSQL ends by itself; for ever for any other.
    pub async fn exited(&self) -> PostgresExit {
        match &self.embedded {
            Some(embedded) => embedded.exited().await,
            None => std::future::pending().await,
        }
    }

    /// Stops the embedded PostgreSQL, if it is ours.
    pub async fn stop(self) -> Result<(), HostError> {
        if let Some(embedded) = self.embedded {
            tokio::task::spawn_blocking(move || embedded.stop()).await??;
        }
        Ok(())
    }
}

/// A server on a database of one's own needs no data folder; where one is named, it is guarded all
/// the same.
fn own_lock(config: &StorageConfig, access: Access) -> Result<Option<DataDirLock>, HostError> {
    match (&config.data_dir, access) {
        (Some(dir), Access::Exclusive) => Ok(Some(lock_data_dir(dir)?)),
        _ => Ok(None),
    }
}

/// How the pool is sized.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Most connections.
    pub size: u32,
    /// Longest wait for one.
    pub timeout: Duration,
    /// Longest time for a statement.
    pub statement_timeout: Duration,
}

impl PoolConfig {
    /// For a command that does one thing after the other.
    pub fn for_command() -> Self {
        PoolConfig {
            size: 1,
            timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        }
    }
}

/// The secret under which this database's keys are digested.
pub async fn key_secret(
    store: &Store,
    config: &StorageConfig,
) -> Result<crate::auth::KeySecret, HostError> {
    Ok(secrets::key_secret(store, config.secret_key()?.as_ref()).await?)
}

/// The vault of this installation's secrets. Its key comes from the operator; with the embedded
/// database it is a file beside it; servers that share a database without either find it there.
pub async fn vault(
    store: &Store,
    config: &StorageConfig,
    log: &Logger,
) -> Result<Vault, HostError> {
    let vault = match (config.secret_key()?, config.database_url()) {
        (Some(secret), _) => Vault::derive(secret.expose_secret().as_bytes())?,
        (None, None) => {
            let layout = Layout::resolve(config.data_dir.clone(), config.cache_dir.clone())?;
            let key = tokio::task::spawn_blocking(move || vault_key(&layout.data_dir)).await??;
            Vault::derive(key.expose_secret())?
        }
        (None, Some(_)) => {
            warn!(
                log,
                "the key that encrypts the secrets of integrations is kept in the database, \
                beside what it encrypts: set SWITCHY_SECRET_KEY"
            );
            Vault::of_database(store).await?
        }
    };
    let lost = vault::unreadable(store, &vault).await?;
    if lost > 0 {
        warn!(log, "secrets of integrations were encrypted under another key and cannot be read: \
            start with that key, or let them be registered again"; "secrets" => lost);
    }
    Ok(vault)
}

/// Where model and runtime are, downloaded and built as needed.
pub async fn model_files(
    storage: &StorageConfig,
    model: &ModelConfig,
    progress: Arc<dyn Progress>,
) -> Result<(PathBuf, PathBuf), HostError> {
    if let (Some(dir), Some(library)) = (&model.model_dir, &model.ort_dylib_path) {
        return Ok((dir.clone(), library.clone()));
    }
    let layout = Layout::resolve(storage.data_dir.clone(), storage.cache_dir.clone())?;
    let installed = tokio::task::spawn_blocking(move || {
        install(&layout.cache_dir, Parts { postgres: false, inference: true }, &*progress)
    })
    .await??;
    let dir = model.model_dir.clone().or(installed.models).unwrap_or_default();
    let library = model.ort_dylib_path.clone().or(installed.onnxruntime).unwrap_or_default();
    Ok((dir, library))
}

/// The embedder as configured.
pub async fn embedder(
    storage: &StorageConfig,
    model: &ModelConfig,
    progress: Arc<dyn Progress>,
) -> Result<Arc<dyn Embedder>, HostError> {
    if model.lexical_only {
        return Ok(Arc::new(NoEmbedder::new("the server was started with --lexical-only")));
    }
    let (model_dir, onnxruntime) = model_files(storage, model, progress).await?;
    let threads = model.embed_threads.map_or_else(default_threads, usize::from);
    let options = LoadOptions { model_dir, onnxruntime, threads, queue: DEFAULT_QUEUE };
    let loaded = tokio::task::spawn_blocking(move || LocalEmbedder::load(options)).await?;
    Ok(Arc::new(loaded.map_err(|e| HostError::Model(e.to_string()))?))
}

/// The cross-encoder as configured, if there is one.
pub async fn cross_encoding(
    storage: &StorageConfig,
    model: &ModelConfig,
    config: &CrossEncoderConfig,
    progress: Arc<dyn Progress>,
) -> Result<Option<CrossEncoding>, HostError> {
    let Some(dir) = config.cross_encoder_dir.clone().filter(|_| !model.lexical_only) else {
        return Ok(None);
    };
    let (_, onnxruntime) = model_files(storage, model, progress).await?;
    let options = cross_encoder::LoadOptions { model_dir: dir, onnxruntime };
    let loaded = tokio::task::spawn_blocking(move || LocalCrossEncoder::load(options)).await?;
    Ok(Some(CrossEncoding {
        encoder: Arc::new(loaded.map_err(|e| HostError::CrossEncoder(e.to_string()))?),
        deadline: Duration::from_millis(config.cross_encoder_deadline_ms),
    }))
}
