//! A model of a thread's own, built anew after it has panicked.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a model's user says that it panicked.
pub(super) trait ModelError {
    /// There is no model, for this reason.
    fn unavailable(reason: String) -> Self;
    /// There is one, and it failed, for this reason.
    fn failed(reason: String) -> Self;
}

/// The model, if there is one at the moment, and how to get another.
pub(super) struct PanicGuard<M, F> {
    model: Option<M>,
    build: F,
}

impl<M, E: ModelError, F: Fn() -> Result<M, E>> PanicGuard<M, F> {
    /// With this one; without, the first that is needed is built.
    pub(super) fn new(first: Option<M>, build: F) -> Self {
        Self { model: first, build }
    }

    /// Builds one if there is none. To be called before waiting for work, so that no work waits for
    /// it; a failure is reported by the next call, which tries again.
    pub(super) fn prepare(&mut self) {
        let _ = self.model();
    }

    fn model(&mut self) -> Result<&mut M, E> {
        match &mut self.model {
            Some(model) => Ok(model),
            none => {
                let model = catch_unwind(AssertUnwindSafe(|| (self.build)()))
                    .unwrap_or_else(|panic| Err(E::unavailable(message(&*panic))))?;
                Ok(none.insert(model))
            }
        }
    }

    /// Runs `work`; after a panic the model's state is unknown, and the next call gets a new one.
    pub(super) fn call<T>(&mut self, work: impl FnOnce(&mut M) -> Result<T, E>) -> Result<T, E> {
        let model = self.model()?;
        catch_unwind(AssertUnwindSafe(|| work(model))).unwrap_or_else(|panic| {
            let broken = self.model.take();
            let _ = catch_unwind(AssertUnwindSafe(|| drop(broken)));
            Err(E::failed(message(&*panic)))
        })
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the model panicked: {}", text.unwrap_or("no message"))
}
