//! Bodies of requests, which are read only for a caller who is known.

use super::issues::Check;
use super::json::parse;
use crate::error::{Error, Result};
use async_trait::async_trait;
use dropshot::{
    ApiEndpointBodyContentType, Body, ExclusiveExtractor, ExtractorMetadata, HttpError,
    RequestContext, ServerContext, TypedBody,
};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::marker::PhantomData;
use tokio::sync::Semaphore;

/// Bodies of so many bytes are parsed off the threads that answer requests.
const LARGE: usize = 64 * 1024;

/// Large bodies that are parsed at once.
static LARGE_AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Whether the body is announced as JSON.
pub(crate) fn is_json(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge { limit });
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Error::Malformed("the request body could not be read".into()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Err(Error::TooLarge { limit });
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

/// A JSON body.
pub struct Json<T> {
    value: Result<T>,
    digest: [u8; 32],
}

impl<T> Json<T> {
    /// The body, or everything that is wrong with it.
    pub fn into_inner(self) -> Result<T> {
        self.value
    }

    /// The body if it is acceptable, without consuming it.
    pub fn peek(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// SHA-256 of the bytes as they came.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

impl Json<()> {
    /// For a request that has no body.
    pub fn none() -> Self {
        Json { value: Ok(()), digest: [0; 32] }
    }
}

/// A JSON body that nobody has looked at yet.
///
/// Dropshot extracts before the handler runs, that is before anybody was authenticated. So this
/// keeps the body as it comes from the network, and `Call::body` reads it once the key and its
/// limit have been checked: a stranger makes the server read nothing, and learns nothing about what
/// a valid body looks like. In the OpenAPI document it looks like Dropshot's own.
pub struct Unread<T> {
    request: http::Request<Body>,
    limit: usize,
    documented: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + JsonSchema + Check + Send + 'static> Unread<T> {
    /// Reads and checks it. To be called for a caller who is known.
    pub async fn read(self) -> Json<T> {
        let announced = is_json(self.request.headers());
        let bytes = match read(self.request.into_body(), self.limit).await {
            Ok(bytes) => bytes,
            Err(error) => return Json { value: Err(error), digest: [0; 32] },
        };
        if T::MAY_BE_ABSENT && bytes.is_empty() {
            return Json { value: parse(b"{}"), digest: Sha256::digest(&bytes).into() };
        }
        if !announced {
            return Json { value: Err(Error::UnsupportedMediaType), digest: [0; 32] };
        }
        let json =
            |bytes: &[u8]| Json { value: parse(bytes), digest: Sha256::digest(bytes).into() };
        parsed(bytes, json).await.unwrap_or_else(|e| Json { value: Err(e), digest: [0; 32] })
    }
}

/// Parses a body; a large one where no other request waits for the thread, and few at a time.
pub(crate) async fn parsed<R: Send + 'static>(
    bytes: Vec<u8>,
    parse: impl FnOnce(&[u8]) -> R + Send + 'static,
) -> Result<R> {
    if bytes.len() < LARGE {
        return Ok(parse(&bytes));
    }
    let _place = LARGE_AT_ONCE.acquire().await.map_err(Error::internal)?;
    tokio::task::spawn_blocking(move || parse(&bytes)).await.map_err(Error::internal)
}

#[async_trait]
impl<T> ExclusiveExtractor for Unread<T>
where
    T: DeserializeOwned + JsonSchema + Check + Send + Sync + 'static,
{
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: http::Request<Body>,
    ) -> Result<Self, HttpError> {
        Ok(Unread { request, limit: rqctx.request_body_max_bytes(), documented: PhantomData })
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        TypedBody::<T>::metadata(content_type)
    }
}

/// A body for whoever checks it byte by byte; nothing of it is read yet. `T` documents its form.
pub struct Raw<T> {
    body: Body,
    documented: PhantomData<fn() -> T>,
}

impl<T> Raw<T> {
    /// Its bytes, at most `limit`.
    pub async fn read(self, limit: usize) -> Result<Vec<u8>> {
        read(self.body, limit).await
    }
}

#[async_trait]
impl<T> ExclusiveExtractor for Raw<T>
where
    T: DeserializeOwned + JsonSchema + Send + Sync + 'static,
{
    async fn from_request<C: ServerContext>(
        _rqctx: &RequestContext<C>,
        request: http::Request<Body>,
    ) -> Result<Self, HttpError> {
        Ok(Raw { body: request.into_body(), documented: PhantomData })
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        TypedBody::<T>::metadata(content_type)
    }
}
