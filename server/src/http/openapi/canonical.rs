//! What the documents say of the Save Session dialect: its failures, its second way to send a key,
//! and the version that a client may tell.

use serde_json::{Map, Value, json};

/// A status that every operation of the dialect can answer with.
struct FailureStatus {
    status: u16,
    name: &'static str,
    kind: &'static str,
    description: &'static str,
    detail: &'static str,
}

/// In the order of their statuses (contract C1, E1).
const FAILURES: [FailureStatus; 14] = [
    FailureStatus {
        status: 400,
        name: "InvalidRequest",
        kind: "invalid_request",
        description: "The request cannot be read: the body is no JSON object, or a header is not \
                      well-formed.",
        detail: "the request body must be a JSON object",
    },
    FailureStatus {
        status: 401,
        name: "AuthenticationFailed",
        kind: "authentication_failed",
        description: "No API key, or one that is unknown, revoked or expired, or whose user has \
                      left the organization.",
        detail: "send an API key as `Authorization: Bearer sk_live_…`",
    },
    FailureStatus {
        status: 403,
        name: "CanonicalForbidden",
        kind: "forbidden",
        description: "The key belongs to another organization or lacks the scope, or its user has \
                      not the role; also a session that is to become private again.",
        detail: "you are not a member of this Space",
    },
    FailureStatus {
        status: 404,
        name: "CanonicalNotFound",
        kind: "not_found",
        description: "There is no such workspace or session, or it is invisible to the caller.",
        detail: "no such session",
    },
    FailureStatus {
        status: 409,
        name: "AlreadyExists",
        kind: "already_exists",
        description: "Somebody else's session, or one of another workspace, has this id; or the \
                      session is archived. Also an `Idempotency-Key` that was used for another \
                      body, or whose first request is still running (then with `Retry-After`).",
        detail: "a session with this id exists already",
    },
    FailureStatus {
        status: 413,
        name: "PayloadTooLarge",
        kind: "payload_too_large",
        description: "More than 1 MiB was sent.",
        detail: "the request body is larger than 1048576 bytes",
    },
    FailureStatus {
        status: 415,
        name: "CanonicalUnsupportedMediaType",
        kind: "unsupported_media_type",
        description: "The body was not sent as `Content-Type: application/json`.",
        detail: "the request body must be sent as Content-Type: application/json",
    },
    FailureStatus {
        status: 422,
        name: "CanonicalValidationError",
        kind: "validation_error",
        description: "The request can be read, and something in it is not acceptable; `errors` \
                      lists everything that is wrong.",
        detail: "id is required (and 1 more)",
    },
    FailureStatus {
        status: 426,
        name: "UpgradeRequired",
        kind: "upgrade_required",
        description: "`X-Client-Version` is lower than this server accepts. `Upgrade` names the \
                      version that is needed.",
        detail: "this server needs a client of version 1.4.0 or newer: upgrade it",
    },
    FailureStatus {
        status: 429,
        name: "RateLimited",
        kind: "rate_limited",
        description: "The key's limit is spent, which is the same one as for the rest of the API. \
                      Or as many requests of the key or its organization are running as may. Wait \
                      for `Retry-After` seconds.",
        detail: "rate limit of 20 requests a minute exceeded; retry in 12 s",
    },
    FailureStatus {
        status: 500,
        name: "CanonicalInternalError",
        kind: "internal_error",
        description: "Unexpected; `X-Request-Id` identifies it in the server's log.",
        detail: "an unexpected error occurred; the request id identifies it in the server's log",
    },
    FailureStatus {
        status: 502,
        name: "BadGateway",
        kind: "bad_gateway",
        description: "A server that this one asked failed.",
        detail: "the upstream server failed",
    },
    FailureStatus {
        status: 503,
        name: "ServiceUnavailable",
        kind: "service_unavailable",
        description: "Overloaded, shutting down, past the deadline, or no database. Wait for \
                      `Retry-After` seconds.",
        detail: "the database is not reachable at the moment",
    },
    FailureStatus {
        status: 504,
        name: "GatewayTimeout",
        kind: "gateway_timeout",
        description: "A server that this one asked did not answer in time.",
        detail: "the upstream server did not answer in time",
    },
];

/// The failures that an operation can answer with, as references by status.
pub(super) fn failures(has_body: bool) -> impl Iterator<Item = (String, Value)> {
    FAILURES.iter().filter(move |f| has_body || !matches!(f.status, 413 | 415)).map(|failure| {
        let reference = format!("#/components/responses/{}", failure.name);
        (failure.status.to_string(), json!({ "$ref": reference }))
    })
}

/// Either way to send the key will do.
pub(super) fn security() -> Value {
    json!([{ "apiKey": [] }, { "apiKeyHeader": [] }])
}

/// A version as Semantic Versioning 2.0 writes it; no number of one is longer than 15 digits.
const VERSION: &str = "^(0|[1-9][0-9]{0,14})(\\.(0|[1-9][0-9]{0,14})){2}\
    (-(0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)\
    (\\.(0|[1-9][0-9]{0,14}|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?\
    (\\+[0-9A-Za-z-]+(\\.[0-9A-Za-z-]+)*)?$";

/// What a client may tell of itself with every operation.
pub(super) fn client_version() -> Value {
    json!({
        "in": "header",
        "name": "X-Client-Version",
        "description": "The client's own version, as `MAJOR.MINOR.PATCH`. One that is lower than \
                        the server accepts is answered 426; without the header every client is \
                        served.",
        "schema": { "type": "string", "pattern": VERSION, "example": "1.4.0" },
    })
}

/// Adds what the operations of the dialect refer to.
pub(super) fn add_components(components: &mut Value) {
    components["securitySchemes"]["apiKeyHeader"] = json!({
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same API key in a header of its own; for saved sessions alone.",
    });
    components["headers"]["Upgrade"] = json!({
        "description": "What the client must be upgraded to.",
        "schema": { "type": "string" },
        "example": "switchy-client/1.4.0",
    });
    let Some(responses) = components["responses"].as_object_mut() else { return };
    for failure in &FAILURES {
        responses.insert(failure.name.to_owned(), response(failure));
    }
}

fn response(failure: &FailureStatus) -> Value {
    let mut example = json!({
        "code": failure.status,
        "detail": failure.detail,
        "type": failure.kind,
    });
    if failure.status == 422 {
        example["errors"] = json!([
            { "loc": ["body", "id"], "msg": "is required", "type": "required" },
            { "loc": ["body", "labels", "env", 0], "msg": "must not be empty", "type": "too_short" },
        ]);
    }
    let headers: Map<String, Value> = match failure.status {
        429 | 503 => &["Retry-After"][..],
        426 => &["Upgrade"],
        _ => &[],
    }
    .iter()
    .map(|name| (name.to_string(), json!({ "$ref": format!("#/components/headers/{name}") })))
    .collect();
    let mut response = json!({
        "description": failure.description,
        "content": { "application/json": {
            "schema": { "$ref": "#/components/schemas/CanonicalError" },
            "example": example,
        } },
    });
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}
