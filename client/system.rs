//! Who the key belongs to, and how the server is.

use progenitor_client::Error as Failure;

use crate::{envelope::ErrorEnvelope, generated, request::sealed::Run, types};

/// `GET /me`: see [`Client::me`](crate::Client::me).
#[derive(Clone, Debug)]
pub struct Me(pub(crate) ());

/// `GET /health`: see [`Client::health`](crate::Client::health).
#[derive(Clone, Debug)]
pub struct Health(pub(crate) ());

/// `GET /ready`: see [`Client::ready`](crate::Client::ready).
#[derive(Clone, Debug)]
pub struct Ready(pub(crate) ());

/// `GET /openapi.json`: see [`Client::openapi`](crate::Client::openapi).
#[derive(Clone, Debug)]
pub struct OpenApi(pub(crate) ());

/// `GET /mcp/openapi.json`: see [`Client::mcp_openapi`](crate::Client::mcp_openapi).
#[derive(Clone, Debug)]
pub struct McpOpenApi(pub(crate) ());

impl Run for Me {
    type Data = types::Me;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.me().send().await?.into_inner().data)
    }
}

impl Run for Health {
    type Data = types::Alive;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.health().send().await?.into_inner().data)
    }
}

impl Run for Ready {
    type Data = types::Readiness;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.ready().send().await?.into_inner().data)
    }
}

impl Run for OpenApi {
    type Data = serde_json::Value;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.openapi().send().await?.into_inner())
    }
}

impl Run for McpOpenApi {
    type Data = serde_json::Value;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.mcp_openapi().send().await?.into_inner())
    }
}
