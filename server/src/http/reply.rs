//! Successful answers: a finished response, documented by its type.

use super::envelope::Envelope;
use super::sse;
use super::{CanonicalFailure, Failure};
use crate::error::{Error, Result};
use dropshot::{
    ApiEndpointResponse, Body, HttpError, HttpResponse, HttpResponseCreated, HttpResponseDeleted,
    HttpResponseOk,
};
use http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use std::marker::PhantomData;

/// What a handler returns: a documented answer, or a failure for the gateway to render.
pub type Answer<T> = Result<Reply<T>, Failure>;

/// What a handler of the Save Session dialect returns.
pub type BareAnswer<T> = Result<Reply<T>, CanonicalFailure>;

/// How an answer is documented: its success status and its body.
pub trait Documented: Send + Sync + 'static {
    /// The status of a fresh (not replayed) answer.
    const STATUS: StatusCode;
    /// For the OpenAPI document.
    fn metadata() -> ApiEndpointResponse;
}

/// 200, with `T` in the envelope.
pub struct Ok200<T>(PhantomData<T>);
/// 200, with `T` as the whole body: the Save Session dialect.
pub struct Bare200<T>(PhantomData<T>);
/// 201, with `T` in the envelope.
pub struct Created<T>(PhantomData<T>);
/// 204, without a body.
pub struct NoContent;
/// 200, with a stream of server-sent events, each of which a `T` describes.
pub struct EventStream<T>(PhantomData<T>);

/// An answer that is made of data.
pub trait Rendered: Documented {
    /// The body of the answer.
    type Data;
    /// Status and body for `data`.
    fn recorded(data: &Self::Data) -> Result<Recorded>;
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Rendered for Ok200<T> {
    type Data = T;
    fn recorded(data: &T) -> Result<Recorded> {
        Recorded::json::<Self>(&Envelope::new(data))
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Rendered for Bare200<T> {
    type Data = T;
    fn recorded(data: &T) -> Result<Recorded> {
        Recorded::json::<Self>(data)
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Rendered for Created<T> {
    type Data = T;
    fn recorded(data: &T) -> Result<Recorded> {
        Recorded::json::<Self>(&Envelope::new(data))
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Documented for Ok200<T> {
    const STATUS: StatusCode = StatusCode::OK;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseOk::<Envelope<T>>::response_metadata()
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Documented for Bare200<T> {
    const STATUS: StatusCode = StatusCode::OK;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseOk::<T>::response_metadata()
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Documented for Created<T> {
    const STATUS: StatusCode = StatusCode::CREATED;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseCreated::<Envelope<T>>::response_metadata()
    }
}

impl<T: JsonSchema + Serialize + Send + Sync + 'static> Documented for EventStream<T> {
    const STATUS: StatusCode = StatusCode::OK;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseOk::<T>::response_metadata()
    }
}

impl Documented for NoContent {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseDeleted::response_metadata()
    }
}

/// Status and body of an answer before it becomes a response: what an idempotency key records.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON, byte for byte; empty for 204.
    pub body: String,
    /// The `Location` header of a created resource.
    pub location: Option<String>,
}

impl Recorded {
    /// `body` as JSON, with `D`'s status.
    fn json<D: Documented>(body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_string(body).map_err(Error::internal)?;
        Ok(Recorded { status: D::STATUS, body, location: None })
    }

    /// No body at all.
    pub fn empty<D: Documented>() -> Self {
        Recorded { status: D::STATUS, body: String::new(), location: None }
    }

    /// What the caller is told of `error`.
    pub fn failure(error: &Error) -> Result<Self> {
        let body = super::envelope::body_of(error)?;
        Ok(Recorded { status: super::envelope::status_of(error), body, location: None })
    }
}

/// A finished answer, documented as `D`.
pub struct Reply<D> {
    response: Response<Body>,
    documented: PhantomData<D>,
}

impl<D: Documented> Reply<D> {
    /// From what was recorded, just now or long ago.
    pub fn from_recorded(recorded: Recorded) -> Self {
        let mut response = if recorded.body.is_empty() {
            Response::new(Body::empty())
        } else {
            let mut response = Response::new(Body::from(recorded.body));
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            response
        };
        *response.status_mut() = recorded.status;
        if let Some(location) = recorded.location
            && let Ok(location) = HeaderValue::from_str(&location)
        {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Reply { response, documented: PhantomData }
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Reply<Ok200<T>> {
    /// 200 with `data`.
    pub fn ok(data: T) -> Answer<Ok200<T>> {
        Ok(Reply::from_recorded(Ok200::recorded(&data)?))
    }
}

impl<T: Serialize + JsonSchema + Send + Sync + 'static> Reply<Bare200<T>> {
    /// 200 with `data` as the whole body.
    pub fn bare(data: T) -> BareAnswer<Bare200<T>> {
        Ok(Reply::from_recorded(Bare200::recorded(&data)?))
    }
}

impl<T> Reply<EventStream<T>> {
    /// 200 with events that are still to come.
    pub fn stream(blocks: sse::Blocks) -> Answer<EventStream<T>> {
        let mut response = Response::new(Body::wrap(blocks));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(sse::CONTENT_TYPE));
        // proxies that collect an answer before they pass it on are asked not to
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(Reply { response, documented: PhantomData })
    }
}

impl Reply<NoContent> {
    /// 204.
    pub fn no_content() -> Answer<NoContent> {
        Ok(Reply::from_recorded(Recorded::empty::<NoContent>()))
    }
}

impl<D: Documented> HttpResponse for Reply<D> {
    fn to_result(self) -> Result<Response<Body>, HttpError> {
        Ok(self.response)
    }
    fn response_metadata() -> ApiEndpointResponse {
        D::metadata()
    }
    fn status_code(&self) -> StatusCode {
        self.response.status()
    }
}
