//! One call: what the hand-written half of the client adds to the generated one.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, StatusCode, header::AUTHORIZATION};
use progenitor_client::{ClientHooks, ClientInfo, Error as Failure, OperationInfo};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Error, ErrorCode,
    envelope::ErrorEnvelope,
    error::Parts,
    generated,
    retry::{self, retry_after},
};

/// The header that names a request in the server's log.
const REQUEST_ID: &str = "x-request-id";

/// Where the dialect begins in which a server may ask for newer clients.
const SAVE_SESSION: &str = "/v1/org/";

/// The header that says how new this one is.
const CLIENT_VERSION: &str = "x-client-version";

/// Waits for a time.
pub(crate) type Sleep = Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>;

/// What all calls of a client have in common.
pub(crate) struct Settings {
    pub key: Option<SecretString>,
    /// `Bearer …`, marked as sensitive.
    pub authorization: Option<HeaderValue>,
    pub timeout: Duration,
    pub max_retries: u32,
    pub sleep: Sleep,
}

/// One call, through all of its tries. The generated client is made anew for each.
#[derive(Clone)]
pub struct Call {
    pub(crate) settings: Arc<Settings>,
    answer: Arc<Mutex<Option<Answer>>>,
}

/// The last answer of the server, kept for what the generated client forgets about it.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    body: Bytes,
}

impl Call {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, answer: Arc::default() }
    }

    fn answer(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The `data` of the last answer as the server sent it; `null` when it had no body.
    pub(crate) fn raw(&self) -> Result<serde_json::Value, Error> {
        let Some(answer) = self.answer().filter(|answer| !answer.body.is_empty()) else {
            return Ok(serde_json::Value::Null);
        };
        let mut body: serde_json::Value =
            serde_json::from_slice(&answer.body).map_err(|cause| self.malformed(Some(cause)))?;
        // The OpenAPI document is the one answer without an envelope.
        Ok(match body.get_mut("data") {
            Some(data) => data.take(),
            None => body,
        })
    }

    /// The client's error for the generated client's.
    pub(crate) fn error(&self, failure: Failure<ErrorEnvelope>) -> Error {
        match failure {
            Failure::InvalidRequest(message) | Failure::Custom(message) => {
                Parts::new(ErrorCode::InvalidRequest, message).into()
            }
            Failure::CommunicationError(cause)
            | Failure::InvalidUpgrade(cause)
            | Failure::ResponseBodyError(cause) => self.transport(cause),
            Failure::ErrorResponse(response) => self.refusal(response.into_inner()),
            Failure::InvalidResponsePayload(_, cause) => self.malformed(Some(cause)),
            Failure::UnexpectedResponse(_) => self.unexpected(),
        }
    }

    /// The server said no.
    fn refusal(&self, envelope: ErrorEnvelope) -> Error {
        let answer = self.answer();
        let details = envelope.error.details.unwrap_or_default();
        let mut parts = Parts::new(envelope.error.code, self.redacted(envelope.error.message));
        parts.field_errors = details.errors.unwrap_or_default();
        for error in &mut parts.field_errors {
            error.message = self.redacted(std::mem::take(&mut error.message));
        }
        parts.request_id = envelope.metadata.request_id;
        parts.retry_after = details.retry_after.map(Duration::from_secs);
        if let Some(answer) = answer {
            parts.status = Some(answer.status);
            parts.request_id = parts.request_id.or(answer.request_id);
            parts.retry_after = answer.retry_after.or(parts.retry_after);
        }
        parts.into()
    }

    /// A status that the API does not have; it may still be its error.
    pub(crate) fn unexpected(&self) -> Error {
        let envelope = self.answer().and_then(|answer| serde_json::from_slice(&answer.body).ok());
        match envelope {
            Some(envelope) => self.refusal(envelope),
            None => self.malformed(None),
        }
    }

    /// The answer does not come from this API, or not from a version that this client knows.
    fn malformed(&self, cause: Option<serde_json::Error>) -> Error {
        let answer = self.answer();
        let status =
            answer.as_ref().map_or(String::new(), |answer| format!(" ({})", answer.status));
        let mut parts = Parts::new(
            ErrorCode::MalformedResponse,
            format!("the answer{status} is not one of the Switchy API; check the base URL"),
        );
        parts.source = cause.map(Into::into);
        if let Some(answer) = answer {
            parts.status = Some(answer.status);
            parts.request_id = answer.request_id;
            parts.retry_after = answer.retry_after;
        }
        parts.into()
    }

    /// Reads an answer to its end, and keeps it.
    pub(crate) async fn keep(
        &self,
        response: reqwest::Response,
    ) -> reqwest::Result<http::Response<Bytes>> {
        let (status, headers) = (response.status(), response.headers().clone());
        let request_id =
            headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).map(str::to_string);
        let body = response.bytes().await?;
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Answer {
            status,
            request_id,
            retry_after: retry_after(&headers),
            body: body.clone(),
        });
        let mut whole = http::Response::new(body);
        *whole.status_mut() = status;
        *whole.headers_mut() = headers;
        Ok(whole)
    }

    /// There was no answer.
    pub(crate) fn transport(&self, cause: reqwest::Error) -> Error {
        let server = cause
            .url()
            .map_or_else(|| "the server".into(), |url| url.origin().ascii_serialization());
        let cause = cause.without_url();
        let mut parts = if cause.is_timeout() {
            let seconds = self.settings.timeout.as_secs_f32();
            Parts::new(ErrorCode::Timeout, format!("{server} did not answer within {seconds} s"))
        } else if cause.is_connect() {
            let message = format!("cannot connect to {server}: {}", innermost(&cause));
            Parts::new(ErrorCode::Transport, message)
        } else {
            let message = format!("the connection to {server} broke: {}", innermost(&cause));
            Parts::new(ErrorCode::Transport, message)
        };
        parts.source = Some(cause.into());
        parts.into()
    }

    /// Without the key, should whoever answered repeat it.
    fn redacted(&self, message: String) -> String {
        match &self.settings.key {
            Some(key) if message.contains(key.expose_secret()) => {
                message.replace(key.expose_secret(), "[API key]")
            }
            _ => message,
        }
    }
}

/// The message of the last error in the chain: the one that says what really happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

impl ClientHooks<Call> for generated::Client {
    async fn exec(
        &self,
        mut request: reqwest::Request,
        _: &OperationInfo,
    ) -> reqwest::Result<reqwest::Response> {
        let call = self.inner();
        let settings = &call.settings;
        if request.url().path().contains(SAVE_SESSION) {
            let own = HeaderValue::from_static(env!("CARGO_PKG_VERSION"));
            request.headers_mut().entry(CLIENT_VERSION).or_insert(own);
        }
        if let Some(authorization) = &settings.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        *request.timeout_mut() = Some(settings.timeout);

        let mut tries_before = 0;
        let response = loop {
            // A copy has the same headers, and with them the same idempotency key.
            let copy = request.try_clone();
            let response = self.client().execute(request).await?;
            let (status, headers) = (response.status(), response.headers());
            let wait = retry::wait(status, headers, tries_before, settings.max_retries);
            match copy.zip(wait) {
                None => break response,
                Some((copy, wait)) => {
                    drop(response);
                    (settings.sleep)(wait).await;
                    request = copy;
                    tries_before += 1;
                }
            }
        };

        Ok(call.keep(response).await?.into())
    }
}
