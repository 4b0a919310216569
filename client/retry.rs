//! When a request is sent again, and after how long.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// How often a request is sent again, unless the builder says otherwise.
pub const DEFAULT_MAX_RETRIES: u32 = 2;

/// The longest wait between two tries; when the server asks for more, the error is returned.
pub const MAX_WAIT: Duration = Duration::from_secs(60);

/// The wait after a 429 that does not say how long: the window of the limits.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(60);

/// The first wait after a 503 that does not say how long; it doubles with every try.
const UNAVAILABLE_WAIT: Duration = Duration::from_millis(500);

/// How long the answer asks to be left alone: `Retry-After` in seconds.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// How long to wait before the request is sent again; `None` when it is not.
///
/// Only 429 and 503 are worth another try: both say that the request was not carried out, or that
/// repeating it under its idempotency key is safe.
pub(crate) fn wait(
    status: StatusCode,
    headers: &HeaderMap,
    tries_before: u32,
    max_retries: u32,
) -> Option<Duration> {
    if tries_before >= max_retries {
        return None;
    }
    let asked = retry_after(headers);
    let wait = match status {
        StatusCode::TOO_MANY_REQUESTS => asked.unwrap_or(RATE_LIMIT_WAIT),
        StatusCode::SERVICE_UNAVAILABLE => {
            asked.unwrap_or(UNAVAILABLE_WAIT.saturating_mul(2u32.saturating_pow(tries_before)))
        }
        _ => return None,
    };
    (wait <= MAX_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(value) = retry_after.parse() {
            headers.insert(RETRY_AFTER, value);
        }
        headers
    }

    #[test]
    fn waits_as_long_as_the_server_says() {
        let wait = wait(StatusCode::TOO_MANY_REQUESTS, &headers("7"), 0, 2);
        assert_eq!(wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn waits_for_the_window_when_a_429_does_not_say() {
        let status = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(wait(status, &HeaderMap::new(), 0, 2), Some(RATE_LIMIT_WAIT));
        assert_eq!(wait(status, &headers("soon"), 0, 2), Some(RATE_LIMIT_WAIT));
    }

    #[test]
    fn backs_off_when_a_503_does_not_say() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let waits: Vec<_> = (0..3).map(|tries| wait(status, &HeaderMap::new(), tries, 2)).collect();
        let half = Duration::from_millis(500);
        assert_eq!(waits, [Some(half), Some(half * 2), None]);
    }

    #[test]
    fn never_waits_longer_than_a_minute() {
        let status = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(wait(status, &headers("60"), 0, 2), Some(MAX_WAIT));
        assert_eq!(wait(status, &headers("61"), 0, 2), None);
        let always = wait(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), 30, u32::MAX);
        assert_eq!(always, None);
    }

    #[test]
    fn tries_nothing_else_again() {
        for status in [200, 201, 400, 401, 404, 409, 500, 502, 504] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(wait(status, &headers("1"), 0, 2), None, "{status}");
        }
    }
}
