//! Waiting: an import takes as long as the server's limits make it take.

use std::{future::IntoFuture, time::Duration};

use indicatif::ProgressBar;
use switchy::{Error, ErrorCode};

/// The wait after a 429 that does not say how long: the window of the limits.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// The first wait after other troubles that may pass; it doubles with every try.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How often other troubles than the rate limit are waited out, for one request.
const MAX_TRIES: u32 = 6;

/// Sends a request until it is answered, or until it is no use.
///
/// Every request of an import can be repeated: it reads, or has an idempotency key.
pub async fn patiently<R, T>(bar: &ProgressBar, request: impl Fn() -> R) -> Result<T, Error>
where
    R: IntoFuture<Output = Result<T, Error>>,
{
    let mut troubles = 0;
    loop {
        let error = match request().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let limited = is_rate_limit(&error);
        match wait(&error, troubles) {
            Some(time) => {
                sleep(bar, time, if limited { "rate limit" } else { "server busy" }).await
            }
            None => return Err(error),
        }
        if !limited {
            troubles += 1;
        }
    }
}

fn is_rate_limit(error: &Error) -> bool {
    error.status().is_some_and(|status| status.as_u16() == 429)
}

/// How long to wait before the next try; `None` when there is none.
fn wait(error: &Error, troubles: u32) -> Option<Duration> {
    if is_rate_limit(error) {
        return Some(error.retry_after().unwrap_or(RATE_LIMIT_WAIT));
    }
    let passes = match (error.code(), error.status().map(|status| status.as_u16())) {
        (_, Some(502..=504)) => true,
        (ErrorCode::Transport | ErrorCode::Timeout, _) => true,
        // The first request with this idempotency key is still running.
        (ErrorCode::Conflict, _) => error.retry_after().is_some(),
        _ => false,
    };
    let backoff = FIRST_WAIT.saturating_mul(2u32.saturating_pow(troubles));
    (passes && troubles < MAX_TRIES).then(|| error.retry_after().unwrap_or(backoff))
}

/// Waits, and says so.
async fn sleep(bar: &ProgressBar, time: Duration, why: &str) {
    if bar.is_hidden() {
        eprintln!("{why}: going on in {} s", time.as_secs());
        tokio::time::sleep(time).await;
        return;
    }
    for left in (1..=time.as_secs()).rev() {
        bar.set_message(format!("{why}: going on in {left} s"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bar.set_message("");
}
