//! The log: text for people, JSON lines for programs, always on standard error.

use crate::config::{LogConfig, LogFormat, LogLevel};
use slog::{Drain, Level, LevelFilter, Logger};

/// Lines that may wait to be written; beyond that the oldest callers wait, none is lost.
const QUEUE: usize = 4096;

/// A logger as configured. Keep the guard until the program ends: it writes what still waits.
pub fn logger(config: &LogConfig) -> (Logger, slog_async::AsyncGuard) {
    let level = match config.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    let drain: Box<dyn Drain<Ok = (), Err = slog::Never> + Send> = match config.log_format {
        LogFormat::Terminal => {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let mut decorator = slog_term::TermDecorator::new().stderr();
            if !colour {
                decorator = decorator.force_plain();
            }
            Box::new(
                slog_term::FullFormat::new(decorator.build()).use_original_order().build().fuse(),
            )
        }
        LogFormat::Json => Box::new(
            slog_json::Json::new(std::io::stderr())
                .set_newlines(true)
                .add_default_keys()
                .build()
                .fuse(),
        ),
    };
    let (drain, guard) = slog_async::Async::new(drain)
        .chan_size(QUEUE)
        .overflow_strategy(slog_async::OverflowStrategy::Block)
        .build_with_guard();
    // outside: what is not logged does not wake the thread that writes
    (Logger::root(LevelFilter::new(drain.fuse(), level).fuse(), slog::o!()), guard)
}
