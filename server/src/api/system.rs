//! Whether the server is well, and what it can do.

use super::{Ctx, document_3_1};
use crate::error::{Error, Result};
use crate::http::Failure;
use crate::http::openapi::print;
use crate::http::reply::{Answer, Documented, Ok200, Recorded, Reply};
use crate::security_contact;
use dropshot::{ApiEndpointResponse, Body, HttpResponse, HttpResponseOk, endpoint};
use http::{HeaderValue, Response, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::OnceLock;

/// That the process is alive.
#[derive(Serialize, JsonSchema)]
struct Alive {
    /// Always `ok`.
    status: String,
    /// The server's version.
    version: String,
}

/// That requests can be served.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Readiness {
    /// Always `ready`.
    status: String,
    /// Whether the embedding model is loaded and the database is searched with it; otherwise search
    /// is by words alone.
    semantic_search: bool,
}

/// A document of its own, without the envelope.
pub(super) struct Document;

impl Documented for Document {
    const STATUS: StatusCode = StatusCode::OK;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseOk::<OpenApiDocument>::response_metadata()
    }
}

/// An OpenAPI 3.1.0 document.
#[derive(Serialize, JsonSchema)]
struct OpenApiDocument {
    /// The version of OpenAPI: `3.1.0`.
    openapi: String,
    /// Title, version, licence.
    info: serde_json::Map<String, serde_json::Value>,
    /// Every operation, by path and method.
    paths: serde_json::Map<String, serde_json::Value>,
    /// Schemas, responses and headers that the operations refer to.
    components: serde_json::Map<String, serde_json::Value>,
}

/// Liveness
///
/// Answers as long as the process runs. Asks nothing of the database.
#[endpoint { method = GET, path = "/api/health", tags = ["System"], operation_id = "health" }]
pub(super) async fn health(_ctx: Ctx) -> Answer<Ok200<Alive>> {
    Reply::ok(Alive { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Readiness
///
/// Answers 200 when the database can be reached and is migrated, 503 otherwise. Without an
/// embedding model the server is ready all the same, and says so.
#[endpoint { method = GET, path = "/api/ready", tags = ["System"], operation_id = "ready" }]
pub(super) async fn ready(ctx: Ctx) -> Answer<Ok200<Readiness>> {
    let app = ctx.context();
    // a statement of the app role over a migrated table: proves pool, role and schema at once
    app.store.ping().await?;
    Reply::ok(Readiness {
        status: "ready".into(),
        semantic_search: app.search.is_ready(&app.store).await?,
    })
}

/// The same where load balancers look by default.
#[endpoint { method = GET, path = "/health", tags = ["System"], unpublished = true }]
pub(super) async fn health_at_root(_ctx: Ctx) -> Answer<Ok200<Alive>> {
    Reply::ok(Alive { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
}

/// Likewise.
#[endpoint { method = GET, path = "/ready", tags = ["System"], unpublished = true }]
pub(super) async fn ready_at_root(ctx: Ctx) -> Answer<Ok200<Readiness>> {
    let app = ctx.context();
    app.store.ping().await?;
    Reply::ok(Readiness {
        status: "ready".into(),
        semantic_search: app.search.is_ready(&app.store).await?,
    })
}

/// Whom to tell of a hole in this server, where the operator says so (RFC 9116). It is for people,
/// and without the envelope.
#[endpoint { method = GET, path = "/.well-known/security.txt", tags = ["System"], unpublished = true }]
pub(super) async fn security_txt(ctx: Ctx) -> Result<Response<Body>, Failure> {
    let app = ctx.context();
    let contact = app.security_contact.as_ref().ok_or_else(|| {
        Error::not_found("page: this server's operator has set no SWITCHY_SECURITY_CONTACT")
    })?;
    let page = contact.page(&app.public_url.at(security_contact::PATH), app.store.clock().now());
    let mut response = Response::new(Body::from(page));
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    Ok(response)
}

/// This document
///
/// The whole API as an OpenAPI 3.1.0 document, without an envelope.
#[endpoint { method = GET, path = "/api/openapi.json", tags = ["System"], operation_id = "openapi" }]
pub(super) async fn openapi(_ctx: Ctx) -> Answer<Document> {
    Ok(Reply::from_recorded(Recorded {
        status: StatusCode::OK,
        body: served_document()?.to_owned(),
        location: None,
    }))
}

/// The document, made once.
fn served_document() -> Result<&'static str> {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    if let Some(document) = DOCUMENT.get() {
        return Ok(document);
    }
    let document = print(&document_3_1().map_err(Error::internal)?);
    Ok(DOCUMENT.get_or_init(|| document))
}
