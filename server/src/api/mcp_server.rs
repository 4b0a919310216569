//! The MCP endpoint (contract B9), and its description. What it does is in `mcp::server`.

use super::system::Document;
use super::{App, Ctx, MAX_BODY_BYTES};
use crate::error::{Error, Result};
use crate::http::Failure;
use crate::http::body::{is_json, read};
use crate::http::openapi::print;
use crate::http::reply::{Answer, Documented, Recorded, Reply};
use crate::mcp::server::{McpServer, document};
use dropshot::{ApiEndpointResponse, Body, HttpResponse, HttpResponseOk, RawRequest, endpoint};
use http::{Request, StatusCode};
use std::sync::OnceLock;

/// A JSON-RPC message, without the envelope.
pub(super) struct RpcMessage;

impl Documented for RpcMessage {
    const STATUS: StatusCode = StatusCode::OK;
    fn metadata() -> ApiEndpointResponse {
        HttpResponseOk::<serde_json::Value>::response_metadata()
    }
}

/// The MCP endpoint. It has a document of its own: one path with many methods is not what the rest
/// of the API looks like.
#[endpoint { method = POST, path = "/mcp/rpc", tags = ["System"], operation_id = "mcp_rpc", unpublished = true }]
pub(super) async fn mcp_rpc(ctx: Ctx, raw: RawRequest) -> Answer<RpcMessage> {
    let App { store, search, key_secret, key_cache, limits, seats, mcp_quotas, .. } = ctx.context();
    let server = McpServer {
        store,
        search,
        key_secret,
        key_cache,
        failures: limits.failures,
        seats,
        quotas: mcp_quotas,
    };
    let body = read_body(raw.into_inner());
    let peer = ctx.request.remote_addr().ip();
    Ok(Reply::from_recorded(server.answer(ctx.request.headers(), peer, body).await))
}

async fn read_body(request: Request<Body>) -> Result<Vec<u8>> {
    let announced = is_json(request.headers());
    let bytes = read(request.into_body(), MAX_BODY_BYTES).await?;
    if announced { Ok(bytes) } else { Err(Error::UnsupportedMediaType) }
}

/// The MCP endpoint's document
///
/// `POST /mcp/rpc`, its tools with their arguments and results, and its failures, as an OpenAPI
/// 3.1.0 document, without an envelope.
#[endpoint { method = GET, path = "/api/mcp/openapi.json", tags = ["System"], operation_id = "mcp_openapi" }]
pub(super) async fn mcp_openapi(_ctx: Ctx) -> Answer<Document> {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let body = DOCUMENT.get_or_init(|| print(&document::document())).clone();
    Ok::<_, Failure>(Reply::from_recorded(Recorded {
        status: StatusCode::OK,
        body,
        location: None,
    }))
}
