//! The MCP endpoint as an OpenAPI 3.1 document: one path, with a schema for every tool.

use super::ACTOR_HEADER;
use super::tools::Tool;
use crate::http::rpc::code;
use serde_json::{Map, Value, json};

const DESCRIPTION: &str = "\
The Model Context Protocol over streamable HTTP: JSON-RPC 2.0, stateless. Every message stands \
alone, so `tools/list` and `tools/call` need no `initialize` before them. An API key with the \
scopes of the tools (`mcp:memory:read`, `mcp:memory:write`, `mcp:spaces:read`, \
`mcp:sessions:read`, `mcp:messages:write`; `*` does not include them) is all that a client needs.

Failures are JSON-RPC errors; the HTTP status mirrors them, and `error.data.code` tells which it \
is. Every tool has a quota of its own, which does not touch the limits of the REST API.";

/// The document.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Switchy MCP server",
            "description": DESCRIPTION,
            "version": "2.0.0",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [
            { "url": "/", "description": "This server" },
            { "url": "https://switchy.build", "description": "The hosted service" },
        ],
        "security": [{ "apiKey": [] }],
        "tags": [{ "name": "MCP", "description": "The Model Context Protocol." }],
        "paths": { "/mcp/rpc": { "post": operation() } },
        "components": {
            "securitySchemes": { "apiKey": {
                "type": "http",
                "scheme": "bearer",
                "description": "An API key of one organization: `Authorization: Bearer sk_live_…`.",
            } },
            "schemas": schemas(),
            "responses": responses(),
        },
    })
}

fn operation() -> Value {
    let failures = FAILURES.iter().map(|failure| {
        let reference = format!("#/components/responses/{}", failure.name);
        (failure.status.to_string(), json!({ "$ref": reference }))
    });
    let mut responses = Map::new();
    responses.insert(
        "200".into(),
        json!({
            "description": "The answer to a request; for a batch, an array of answers.",
            "content": { "application/json": { "schema": {
                "oneOf": [
                    { "$ref": "#/components/schemas/Answer" },
                    { "type": "array", "items": { "oneOf": [
                        { "$ref": "#/components/schemas/Answer" },
                        { "$ref": "#/components/schemas/Failure" },
                    ] } },
                ],
            } } },
        }),
    );
    responses.insert("202".into(), json!({ "description": "A notification was taken." }));
    responses.extend(failures);
    json!({
        "tags": ["MCP"],
        "operationId": "mcp_rpc",
        "summary": "Send a message",
        "description": "A JSON-RPC request or notification. A writing tool's call with \
                        `params._meta.idempotencyKey` can be repeated for 24 hours without doing \
                        anything twice.",
        "parameters": [
            {
                "name": ACTOR_HEADER, "in": "header", "required": false,
                "description": "The user id of the member for whom the call is made: it then sees \
                                and does what that member may. The key needs the scope \
                                `act_on_behalf`, and its user no lower role than the member. \
                                Required for PRIVATE notes and `post_message`; without it, PRIVATE \
                                notes are not found either. PRIVATE notes and private sessions of \
                                another member take that member's consent to the key.",
                "schema": { "type": "string", "pattern": "^c[a-z0-9]{24}$" },
            },
            {
                "name": "MCP-Protocol-Version", "in": "header", "required": false,
                "description": "The version of the protocol; 2025-03-26 when it is missing.",
                "schema": { "type": "string", "enum": rmcp::model::ProtocolVersion::KNOWN_VERSIONS },
            },
        ],
        "requestBody": {
            "required": true,
            "content": { "application/json": {
                "schema": { "anyOf": [
                    { "$ref": "#/components/schemas/Request" },
                    { "$ref": "#/components/schemas/ToolCall" },
                    {
                        "type": "array", "minItems": 1, "maxItems": super::MAX_BATCH,
                        "description": "A batch, only in protocol version 2025-03-26.",
                        "items": { "anyOf": [
                            { "$ref": "#/components/schemas/Request" },
                            { "$ref": "#/components/schemas/ToolCall" },
                        ] },
                    },
                ] },
                "examples": {
                    "list": { "summary": "Which tools are there?", "value": {
                        "jsonrpc": "2.0", "id": 1, "method": "tools/list",
                    } },
                    "search": { "summary": "Ask the memory", "value": {
                        "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
                            "name": "search_memory",
                            "arguments": { "query": "when do we deploy to staging?" },
                        },
                    } },
                    "add": { "summary": "Write a note, at most once", "value": {
                        "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {
                            "name": "add_memory",
                            "arguments": {
                                "content": "Staging deploys happen on Tuesdays.",
                                "visibility": "ORG",
                            },
                            "_meta": { "idempotencyKey": "8e03978e-40d5-43e8-bc93-6894a57f9324" },
                        },
                    } },
                },
            } },
        },
        "responses": responses,
    })
}

/// `search_memory` as `SearchMemory`.
fn type_name(tool: Tool) -> String {
    tool.name()
        .split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
                .collect::<String>()
        })
        .collect()
}

fn schemas() -> Value {
    let mut schemas = Map::new();
    let mut calls = Vec::new();
    let mut results = Vec::new();
    for tool in Tool::ALL {
        let name = type_name(tool);
        let definition = tool.definition();
        let described = |mut schema: Map<String, Value>, description: String| {
            schema.insert("description".into(), description.into());
            Value::Object(schema)
        };
        schemas.insert(
            format!("{name}Arguments"),
            described(
                (*definition.input_schema).clone(),
                format!(
                    "Arguments of `{}`, which needs the scope `{}`. {}",
                    tool.name(),
                    tool.scope().as_str(),
                    definition.description.as_deref().unwrap_or_default()
                ),
            ),
        );
        if let Some(output) = &definition.output_schema {
            let description = format!("`structuredContent` of `{}`.", tool.name());
            schemas.insert(format!("{name}Result"), described((**output).clone(), description));
            results.push(json!({ "$ref": format!("#/components/schemas/{name}Result") }));
        }
        calls.push(json!({
            "type": "object",
            "title": tool.name(),
            "properties": {
                "name": { "const": tool.name() },
                "arguments": { "$ref": format!("#/components/schemas/{name}Arguments") },
                "_meta": { "$ref": "#/components/schemas/Meta" },
            },
            "required": ["name", "arguments"],
        }));
    }
    let id = json!({ "type": ["string", "integer"] });
    schemas.insert(
        "Meta".into(),
        json!({
            "type": "object",
            "properties": { "idempotencyKey": {
                "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$",
                "description": "Makes a writing call safe to repeat for 24 hours.",
            } },
        }),
    );
    schemas.insert(
        "ToolCall".into(),
        json!({
            "type": "object",
            "description": "A call of a tool.",
            "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": id,
                "method": { "const": "tools/call" },
                "params": { "oneOf": calls },
            },
            "required": ["jsonrpc", "id", "method", "params"],
        }),
    );
    schemas.insert(
        "Request".into(),
        json!({
            "type": "object",
            "description": "Any other request or, without `id`, a notification.",
            "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": id,
                "method": {
                    "type": "string",
                    "not": { "const": "tools/call" },
                    "examples": [
                        "initialize", "ping", "tools/list", "resources/list",
                        "resources/templates/list", "resources/read", "prompts/list", "prompts/get",
                        "notifications/initialized",
                    ],
                },
                "params": { "type": "object" },
            },
            "required": ["jsonrpc", "method"],
        }),
    );
    schemas.insert("Answer".into(), json!({
        "type": "object",
        "description": "The result; of a tool's call, `structuredContent` holds what the tool's \
                        result schema says, and `content` the same as text.",
        "properties": {
            "jsonrpc": { "const": "2.0" },
            "id": id,
            "result": {
                    "type": "object",
                    "properties": { "structuredContent": { "anyOf": results } },
                },
        },
        "required": ["jsonrpc", "id", "result"],
    }));
    schemas.insert(
        "Failure".into(),
        json!({
            "type": "object",
            "description": "What went wrong.",
            "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": { "type": ["string", "integer", "null"] },
                "error": {
                    "type": "object",
                    "properties": {
                        "code": { "type": "integer" },
                        "message": { "type": "string" },
                        "data": { "$ref": "#/components/schemas/FailureData" },
                    },
                    "required": ["code", "message"],
                },
            },
            "required": ["jsonrpc", "id", "error"],
        }),
    );
    schemas.insert("FailureData".into(), json!({
        "type": "object",
        "description": "More about a failure.",
        "properties": {
            "code": {
                "type": "string",
                "description": "What a program branches on.",
                "enum": [
                    "VALIDATION_ERROR", "AUTH_ERROR", "SCOPE_MISSING", "ACTOR_REQUIRED",
                    "ACTOR_FORBIDDEN", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "RATE_LIMIT",
                    "INTERNAL_ERROR",
                ],
            },
            "errors": {
                "type": "array",
                "description": "With `VALIDATION_ERROR`: everything that is wrong.",
                "items": {
                    "type": "object",
                    "properties": {
                        "path": { "type": "array", "items": { "type": ["string", "integer"] } },
                        "code": { "type": "string" },
                        "message": { "type": "string" },
                    },
                },
            },
            "scope": { "type": "string", "description": "With `SCOPE_MISSING`: which." },
            "cap": { "type": "integer", "description": "With `RATE_LIMIT`: calls a minute." },
            "kind": { "const": "minute", "description": "With `RATE_LIMIT`: of which period." },
            "retryAfterMs": {
                "type": "integer", "minimum": 0,
                "description": "Milliseconds to wait before trying again.",
            },
            "requestId": {
                "type": "string",
                "description": "With `INTERNAL_ERROR`: identifies the request in the server's log.",
            },
        },
    }));
    Value::Object(schemas)
}

struct FailureStatus {
    status: u16,
    name: &'static str,
    code: i32,
    data: &'static str,
    description: &'static str,
    message: &'static str,
}

const FAILURES: [FailureStatus; 11] = [
    FailureStatus {
        status: 400,
        name: "Invalid",
        code: code::INVALID_PARAMS,
        data: "VALIDATION_ERROR",
        description: "The body is no JSON (-32700), no request (-32600), or its parameters are not \
                      acceptable (-32602; `data.errors` lists everything that is wrong).",
        message: "query must not be empty",
    },
    FailureStatus {
        status: 401,
        name: "Unauthenticated",
        code: code::SERVER_ERROR,
        data: "AUTH_ERROR",
        description: "The API key is missing, unknown, revoked or expired.",
        message: "send an API key as `Authorization: Bearer sk_live_…`",
    },
    FailureStatus {
        status: 403,
        name: "Forbidden",
        code: code::SERVER_ERROR,
        data: "SCOPE_MISSING",
        description: "The key lacks a scope, or the call must be made for a member and is not, or \
                      may not be made for that one.",
        message: "this key lacks the scope `mcp:memory:read`",
    },
    FailureStatus {
        status: 404,
        name: "NotFound",
        code: code::SERVER_ERROR,
        data: "NOT_FOUND",
        description: "Absent, invisible, or closed to the member's role; or no such method \
                      (-32601).",
        message: "no such Space",
    },
    FailureStatus {
        status: 405,
        name: "MethodNotAllowed",
        code: code::SERVER_ERROR,
        data: "NOT_FOUND",
        description: "Messages are sent by POST; there is no stream to GET.",
        message: "this route does not answer GET",
    },
    FailureStatus {
        status: 409,
        name: "Conflict",
        code: code::SERVER_ERROR,
        data: "CONFLICT",
        description: "The session is archived; or the idempotency key was used for another call, \
                      or its first call is still running.",
        message: "this session is archived: it takes no more messages",
    },
    FailureStatus {
        status: 413,
        name: "TooLarge",
        code: code::INVALID_REQUEST,
        data: "VALIDATION_ERROR",
        description: "The body is larger than 1 MiB.",
        message: "the request body is larger than 1048576 bytes",
    },
    FailureStatus {
        status: 415,
        name: "UnsupportedMediaType",
        code: code::INVALID_REQUEST,
        data: "VALIDATION_ERROR",
        description: "The body is not sent as `Content-Type: application/json`.",
        message: "the request body must be sent as Content-Type: application/json",
    },
    FailureStatus {
        status: 429,
        name: "RateLimited",
        code: code::SERVER_ERROR,
        data: "RATE_LIMIT",
        description: "The tool's quota is spent: `data` has `cap`, `kind` and `retryAfterMs`. Or as \
                      many requests of the key or its organization are running as may: `data` has \
                      `retryAfterMs`.",
        message: "rate limit of 30 requests a minute exceeded; retry in 12 s",
    },
    FailureStatus {
        status: 500,
        name: "InternalError",
        code: code::INTERNAL_ERROR,
        data: "INTERNAL_ERROR",
        description: "Unexpected; `data.requestId` identifies it in the server's log.",
        message: "an unexpected error occurred; the request id identifies it in the server's log",
    },
    FailureStatus {
        status: 503,
        name: "Unavailable",
        code: code::SERVER_ERROR,
        data: "INTERNAL_ERROR",
        description: "Overloaded, shutting down, past the deadline, or the database is away.",
        message: "the database is not reachable at the moment",
    },
];

fn responses() -> Value {
    let mut responses = Map::new();
    for failure in &FAILURES {
        let mut data = json!({ "code": failure.data });
        if failure.status == 429 {
            data["retryAfterMs"] = json!(12_000);
            data["cap"] = json!(30);
            data["kind"] = json!("minute");
        }
        let mut response = json!({
            "description": failure.description,
            "content": { "application/json": {
                "schema": { "$ref": "#/components/schemas/Failure" },
                "example": {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "error": { "code": failure.code, "message": failure.message, "data": data },
                },
            } },
        });
        if matches!(failure.status, 429 | 503) {
            response["headers"] = json!({ "Retry-After": {
                "description": "Seconds to wait before trying again.",
                "schema": { "type": "integer", "minimum": 1 },
            } });
        }
        responses.insert(failure.name.into(), response);
    }
    Value::Object(responses)
}
