//! What an installation tells the person who waits for it.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the spinner moves while nothing else changes.
const TICK: Duration = Duration::from_millis(120);

/// Receives the steps of an installation, in order, from one thread.
pub trait Progress: Send + Sync {
    /// A new step begins: a short phrase such as "Building the embedding model".
    fn step(&self, what: &str);
    /// Bytes of the current step done so far, of `total` if that is known.
    fn bytes(&self, done: u64, total: Option<u64>);
    /// Nothing more follows, because the work is finished or has failed.
    fn done(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _: &str) {}
    fn bytes(&self, _: u64, _: Option<u64>) {}
    fn done(&self) {}
}

/// Draws on standard error: a bar on a terminal, one plain line a step elsewhere.
///
/// `NO_COLOR`, set and not empty, turns colours off.
pub struct TerminalProgress {
    interactive: bool,
    colour: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl TerminalProgress {
    /// Looks at standard error and the environment.
    pub fn new() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            interactive: stderr().is_terminal() && !dumb,
            colour: !set("NO_COLOR"),
            bar: Mutex::new(None),
        }
    }

    fn spinner(&self) -> ProgressStyle {
        self.style(if self.colour {
            "{spinner:.cyan} {msg} {elapsed:.dim}"
        } else {
            "{spinner} {msg} {elapsed}"
        })
    }

    fn measured(&self) -> ProgressStyle {
        self.style(if self.colour {
            "{spinner:.cyan} {msg} {bar:24.cyan/dim} {bytes}/{total_bytes} {elapsed:.dim}"
        } else {
            "{spinner} {msg} {bar:24} {bytes}/{total_bytes} {elapsed}"
        })
    }

    /// A template that does not parse costs the looks, not the installation.
    fn style(&self, template: &str) -> ProgressStyle {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    }

    fn swap(&self, next: Option<ProgressBar>) {
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *bar, next) {
            old.finish_and_clear();
        }
    }
}

impl Default for TerminalProgress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for TerminalProgress {
    fn step(&self, what: &str) {
        if !self.interactive {
            eprintln!("{what}");
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(self.spinner());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        self.swap(Some(bar));
    }

    fn bytes(&self, done: u64, total: Option<u64>) {
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(bar), Some(total)) = (&*bar, total) {
            if bar.length() != Some(total) {
                bar.set_length(total);
                bar.set_style(self.measured());
            }
            bar.set_position(done.min(total));
        }
    }

    fn done(&self) {
        self.swap(None);
    }
}
