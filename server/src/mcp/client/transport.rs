//! Streamable HTTP as the protocol's library wants it, over a client that keeps to the rules: one
//! URL, no redirects, nothing large, and every failure told apart.

use super::credential::Credential;
use super::error::UpstreamError;
use crate::mcp::guard::{Guard, Trust, UrlError};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SetOnce;
use url::Url;

/// Largest request, in bytes.
pub const MAX_REQUEST: usize = 50 * 1024;
/// Largest response, in bytes, streams included; nothing is decompressed.
pub const MAX_RESPONSE: usize = 5 * 1024 * 1024;

/// What [`Transport`] fails with; why is in its [`Transport::failed`].
#[derive(Debug, thiserror::Error)]
#[error("the request failed")]
pub(super) struct TransportError;

/// Requests to one MCP server.
#[derive(Clone)]
pub(super) struct Transport(Arc<Inner>);

struct Inner {
    guard: Guard,
    tenants: reqwest::Client,
    operators: reqwest::Client,
    url: Url,
    credential: Credential,
    deadline: Duration,
    /// The first failure: the library's own errors are far from it.
    failure: SetOnce<UpstreamError>,
}

/// With what requests are sent.
#[derive(Clone)]
pub(super) struct Http {
    pub guard: Guard,
    /// Resolves to nothing that is forbidden, and speaks HTTPS only.
    pub tenants: reqwest::Client,
    /// Resolves to anything, for hosts that the operator lists.
    pub operators: reqwest::Client,
    /// For each request, its answer included.
    pub deadline: Duration,
}

type PostResult = Result<StreamableHttpPostResponse, StreamableHttpError<TransportError>>;

/// The error of that type that led to `error`.
fn caused_by<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<T>() {
            return Some(found);
        }
        // what an I/O error wraps is not its source: that is the source of what it wraps
        let wrapped = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    None
}

/// An answer's body, as far as it may go.
fn bounded(
    response: reqwest::Response,
    transport: Transport,
) -> impl Stream<Item = Result<Bytes, TransportError>> {
    let mut left = MAX_RESPONSE;
    response.bytes_stream().map(move |chunk| {
        let chunk = chunk.map_err(|error| transport.sent(&error))?;
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return Err(transport.note(UpstreamError::response_too_large(MAX_RESPONSE))),
        }
        Ok(chunk)
    })
}

impl Transport {
    pub(super) fn new(http: Http, url: Url, credential: Credential) -> Self {
        let Http { guard, tenants, operators, deadline } = http;
        let failure = SetOnce::new();
        Transport(Arc::new(Inner { guard, tenants, operators, url, credential, deadline, failure }))
    }

    /// The first failure so far.
    pub(super) fn failure(&self) -> Option<UpstreamError> {
        self.0.failure.get().cloned()
    }

    /// Waits for the first failure.
    pub(super) async fn failed(&self) -> UpstreamError {
        self.0.failure.wait().await.clone()
    }

    fn note(&self, failure: UpstreamError) -> TransportError {
        // a later failure follows from the first
        let _ = self.0.failure.set(failure);
        TransportError
    }

    fn refuse(&self, failure: UpstreamError) -> StreamableHttpError<TransportError> {
        StreamableHttpError::Client(self.note(failure))
    }

    /// What went wrong on the way.
    fn sent(&self, error: &(dyn std::error::Error + 'static)) -> TransportError {
        let timed_out = caused_by::<reqwest::Error>(error).is_some_and(reqwest::Error::is_timeout);
        self.note(if let Some(refusal) = caused_by::<UrlError>(error) {
            UpstreamError::from(refusal)
        } else if timed_out {
            UpstreamError::timed_out(self.0.deadline)
        } else if caused_by::<rustls::Error>(error).is_some() {
            UpstreamError::tls()
        } else {
            UpstreamError::connect()
        })
    }

    /// A request to the server's URL. The rules are looked at again, each time: an address in the
    /// URL is resolved by nobody.
    fn request(&self, method: http::Method) -> Result<reqwest::RequestBuilder, TransportError> {
        let Inner { guard, url, credential, deadline, .. } = &*self.0;
        let client = match guard.inspect(url) {
            Ok(Trust::Tenant) => &self.0.tenants,
            Ok(Trust::Operator) => &self.0.operators,
            Err(refusals) => {
                let failure = refusals.first().map(UpstreamError::from);
                return Err(self.note(failure.unwrap_or_else(UpstreamError::connect)));
            }
        };
        let mut request = client.request(method, url.clone()).timeout(*deadline);
        if let Some((name, value)) = credential.header() {
            request = request.header(name.clone(), value.clone());
        }
        Ok(request)
    }

    /// The status is a success, and nothing needs unpacking.
    fn accept(
        &self,
        response: &reqwest::Response,
    ) -> Result<(), StreamableHttpError<TransportError>> {
        if !response.status().is_success() {
            return Err(self.refuse(UpstreamError::status(response.status())));
        }
        let packed =
            response.headers().get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity");
        if packed {
            return Err(self.refuse(UpstreamError::protocol("its answer is compressed, unasked")));
        }
        if response.content_length().is_some_and(|length| length > MAX_RESPONSE as u64) {
            return Err(self.refuse(UpstreamError::response_too_large(MAX_RESPONSE)));
        }
        Ok(())
    }

    async fn post(
        &self,
        message: &ClientJsonRpcMessage,
        session: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> PostResult {
        let body = serde_json::to_vec(message)?;
        if body.len() > MAX_REQUEST {
            return Err(self.refuse(UpstreamError::request_too_large(MAX_REQUEST)));
        }
        let mut request = self.request(http::Method::POST).map_err(StreamableHttpError::Client)?;
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(HEADER_SESSION_ID, session);
        }
        let response = request
            .header(ACCEPT, format!("{JSON_MIME_TYPE}, {EVENT_STREAM_MIME_TYPE}"))
            .header(CONTENT_TYPE, JSON_MIME_TYPE)
            .body(body)
            .send()
            .await
            .map_err(|error| StreamableHttpError::Client(self.sent(&error)))?;
        self.accept(&response)?;
        if matches!(response.status(), StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let header = |name: &str| {
            response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        let session = header(HEADER_SESSION_ID);
        let content_type = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case(EVENT_STREAM_MIME_TYPE) {
            let events = SseStream::from_bytes_stream(bounded(response, self.clone()).boxed());
            return Ok(StreamableHttpPostResponse::Sse(events.boxed(), session));
        }
        let is_json = media_type.eq_ignore_ascii_case(JSON_MIME_TYPE);
        let mut body = Vec::new();
        let mut chunks = bounded(response, self.clone()).boxed();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(StreamableHttpError::Client)?);
        }
        let expects_answer = matches!(message, ClientJsonRpcMessage::Request(_));
        if body.is_empty() && !expects_answer {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if !is_json {
            return Err(self.refuse(UpstreamError::protocol("its answer is not JSON")));
        }
        match serde_json::from_slice::<ServerJsonRpcMessage>(&body) {
            Ok(message) => Ok(StreamableHttpPostResponse::Json(message, session)),
            Err(_) => Err(self.refuse(UpstreamError::protocol("its answer is not JSON-RPC"))),
        }
    }
}

impl StreamableHttpClient for Transport {
    type Error = TransportError;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> PostResult {
        self.post(&message, session_id.as_deref(), custom_headers).await
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), StreamableHttpError<TransportError>> {
        // a courtesy: whether it is heard makes no difference
        let mut request =
            self.request(http::Method::DELETE).map_err(StreamableHttpError::Client)?;
        for (name, value) in custom_headers {
            request = request.header(name, value);
        }
        let sent = request.header(HEADER_SESSION_ID, &*session_id).send().await;
        sent.map(drop).map_err(|_| StreamableHttpError::Client(TransportError))
    }

    /// A stream for what the server says unasked, or to go on with one that broke. Nothing is to
    /// be said unasked, and what breaks has failed.
    async fn get_stream(
        &self,
        _uri: Arc<str>,
        _session_id: Option<Arc<str>>,
        _last_event_id: Option<String>,
        _auth_header: Option<String>,
        _custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, StreamableHttpError<TransportError>>
    {
        Err(StreamableHttpError::ServerDoesNotSupportSse)
    }
}
