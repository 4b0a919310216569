// The server that the examples of the documentation talk to: each of them includes this file, so
// that they are not only compiled, but run. It answers everything with the same few resources.

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, method, path, path_regex},
};

const ID: &str = "cmo5w1c2t8zq4k7n3x9b6d0fh";
const UUID: &str = "3f2b8c1e-5a77-4d0e-9c1b-2f8e6a4d7b90";
const NOW: &str = "2026-04-19T12:34:56.789Z";

/// A server whose API is at `/api`.
pub async fn start() -> MockServer {
    let organization = json!({ "id": ID, "name": "Analytical Engines", "slug": "engines" });
    let space = json!({
        "id": ID, "slug": "platform-team", "name": "Platform team", "organizationId": ID,
        "tags": [], "createdAt": NOW, "updatedAt": null
    });
    let session = json!({
        "id": ID, "spaceId": ID, "title": "Postgres 18", "participantUserIds": [ID],
        "createdByUserId": ID, "createdAt": NOW, "externalId": UUID, "visibility": "workspace",
        "origin": "user", "labels": {}, "usage": {
            "totalInputTokens": 0, "totalOutputTokens": 0, "totalCacheReadInputTokens": 0,
            "totalCacheCreationInputTokens": 0, "totalToolCallCount": 0, "messageCount": 0
        }
    });
    let message = json!({
        "id": ID, "sessionId": ID, "authorType": "USER", "authorUserId": ID,
        "body": "Shall we go to Postgres 18?", "mentions": [], "createdAt": NOW
    });
    let events = format!(
        "retry: 2000\nid: 1\n: connected\n\nid: 2\nevent: message.created\ndata: {}\n\n\
         event: end\ndata: {}\n\n",
        json!({ "message": message }),
        json!({ "reason": "session_hidden", "message": "the session is not visible any more" })
    );
    let note = json!({
        "id": ID, "organizationId": ID, "authorUserId": ID, "visibility": "ORG",
        "content": "Staging deploys happen on Tuesdays.", "tags": ["deploys"], "createdAt": NOW
    });
    let mcp_server = json!({
        "id": ID, "organizationId": ID, "displayName": "Deploy tools", "mentionSlug": "deploys",
        "endpointUrl": "https://mcp.example.com/mcp", "authType": "BEARER", "health": "UNKNOWN",
        "lastCheckedAt": null, "createdAt": NOW
    });
    let delegation = json!({
        "keyId": ID, "keyName": "Chat bot", "keyPrefix": "sk_live_4fQz", "keyUserId": ID,
        "createdAt": NOW
    });
    let me = json!({
        "key": { "id": ID, "name": "Laptop", "prefix": "sk_live_4fQz", "expiresAt": null },
        "user": { "id": ID, "email": "ada@example.com", "name": "Ada" },
        "organization": organization, "role": "OWNER", "scopes": ["spaces:read"],
        "spaces": [{ "id": ID, "name": "Platform team", "slug": "platform-team", "role": "OWNER" }]
    });

    let saved = json!({
        "id": UUID, "model": "claude-sonnet-4-5", "title": "Postgres upgrade", "message_count": 0,
        "visibility": "private", "origin": "user", "labels": { "env": ["staging"] },
        "user_id": ID, "created_at": NOW, "updated_at": NOW, "usage": {
            "total_input_tokens": 0, "total_output_tokens": 0,
            "total_cache_read_input_tokens": 0, "total_cache_creation_input_tokens": 0,
            "total_tool_call_count": 0, "total_cost_usd": 0.0, "compaction_count": 0,
            "current_message_count": 0, "total_message_count": 0
        }
    });
    let member = json!({
        "userId": ID, "organizationId": ID, "role": "ADMIN", "email": "ada@example.com",
        "name": "Ada", "joinedAt": NOW
    });
    let invitation = json!({
        "id": ID, "organizationId": ID, "email": "grace@example.com", "role": "MEMBER",
        "status": "PENDING", "expiresAt": NOW, "createdAt": NOW, "invitedByUserId": ID,
        "delivery": "SENT"
    });
    let mut new_invitation = invitation.clone();
    new_invitation["token"] = "inv_example".into();
    let space_member = json!({
        "userId": ID, "role": "MEMBER", "email": "ada@example.com", "name": "Ada", "joinedAt": NOW
    });
    let minted = json!({
        "id": ID, "name": "Deploy bot", "prefix": "sk_live_4fQz", "scopes": ["memory:read"],
        "userId": ID, "createdAt": NOW, "secret": "sk_live_4fQz…"
    });
    let balance = json!({
        "organizationId": ID, "plan": "TEAM", "interval": "MONTHLY", "balance": 9500,
        "monthlyAllotment": 9000, "topupBalance": 1000, "periodEnd": NOW, "pastDue": false,
        "cancelAtPeriodEnd": false
    });
    let page = json!({ "url": "https://checkout.stripe.com/c/pay/cs_live_a1b2c3" });

    let server = MockServer::start().await;
    // the Save Session dialect has no envelope
    for (verb, route, body) in [
        ("POST", "sessions$", saved.clone()),
        ("PATCH", "sessions/[^/]+$", saved.clone()),
        (
            "POST",
            "sessions/[^/]+/transcript$",
            json!({ "messages": [], "appended": 1, "session": saved }),
        ),
    ] {
        Mock::given(method(verb))
            .and(path_regex(format!("^/api/v1/org/[^/]+/ws/[^/]+/{route}")))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&server)
            .await;
    }
    let answers = [
        ("GET", "^/api/org/[^/]+/members$", 200, json!({ "members": [member] })),
        ("PATCH", "^/api/org/[^/]+/members/[^/]+$", 200, json!({ "member": member })),
        ("GET", "^/api/org/[^/]+/invitations$", 200, json!({ "invitations": [invitation] })),
        ("POST", "^/api/org/[^/]+/invitations$", 201, json!({ "invitation": new_invitation })),
        ("POST", "^/api/invitations/[^/]+/accept$", 200, json!({ "membership": member })),
        ("GET", "^/api/me$", 200, me),
        (
            "GET",
            "^/api/projects$",
            200,
            json!({ "projects": [space], "page": 1, "limit": 20, "total": 1 }),
        ),
        ("POST", "^/api/projects$", 201, json!({ "project": space })),
        ("PATCH", "^/api/projects/[^/]+$", 200, json!({ "project": space })),
        ("GET", "^/api/projects/[^/]+/members$", 200, json!({ "members": [space_member] })),
        ("POST", "^/api/projects/[^/]+/members$", 201, json!({ "member": space_member })),
        ("PATCH", "^/api/projects/[^/]+/members/[^/]+$", 200, json!({ "member": space_member })),
        ("POST", "^/api/spaces/[^/]+/sessions$", 201, json!({ "session": session })),
        ("PATCH", "^/api/spaces/[^/]+/sessions/[^/]+$", 200, json!({ "session": session })),
        (
            "GET",
            "^/api/spaces/[^/]+/sessions/[^/]+/messages$",
            200,
            json!({ "messages": [message], "replyCount": {}, "reactions": {}, "total": 1 }),
        ),
        ("POST", "^/api/spaces/[^/]+/sessions/[^/]+/messages$", 201, json!({ "message": message })),
        (
            "POST",
            "^/api/spaces/[^/]+/messages/[^/]+/reactions$",
            201,
            json!({ "reaction": { "messageId": ID, "emoji": "👍", "count": 1 } }),
        ),
        ("POST", "^/api/mcp/servers$", 201, json!({ "server": mcp_server })),
        (
            "POST",
            "^/api/mcp/servers/[^/]+/test-connection$",
            200,
            json!({
                "ok": true, "health": "HEALTHY", "latencyMs": 87, "error": null,
                "serverInfo": { "name": "deploys", "version": "1.2.0",
                    "protocolVersion": "2025-11-25" },
                "toolCount": 3
            }),
        ),
        ("GET", "^/api/memory$", 200, json!({ "memories": [note], "total": 1 })),
        ("GET", "^/api/billing/credits$", 200, json!({ "balance": balance })),
        ("POST", "^/api/billing/(checkout|topup|portal)$", 200, page),
        ("POST", "^/api/memory$", 201, json!({ "memory": note })),
        ("POST", "^/api/memory/batch$", 201, json!({ "memories": [note, note] })),
        ("PATCH", "^/api/memory/[^/]+$", 200, json!({ "memory": note })),
        ("PUT", "^/api/me/delegations/[^/]+$", 200, json!({ "delegation": delegation })),
        ("POST", "^/api/keys$", 201, json!({ "key": minted })),
        ("POST", "^/api/keys/[^/]+/rotate$", 200, json!({ "key": minted })),
        (
            "POST",
            "^/api/memory/search$",
            200,
            json!({
                "results": [{ "memory": note, "score": 0.87, "highlights": [] }], "degraded": false
            }),
        ),
        (
            "POST",
            "^/api/spaces/[^/]+/messages/search$",
            200,
            json!({ "results": [{
                "message": message, "sessionName": null, "score": 0.87, "highlights": [],
                "before": [], "after": []
            }] }),
        ),
    ];
    for (verb, route, status, data) in answers {
        Mock::given(method(verb))
            .and(path_regex(route))
            .respond_with(ResponseTemplate::new(status).set_body_json(success(data)))
            .mount(&server)
            .await;
    }
    Mock::given(path_regex("^/api/spaces/[^/]+/sessions/[^/]+/events$"))
        .respond_with(ResponseTemplate::new(200).set_body_raw(events, "text/event-stream"))
        .mount(&server)
        .await;
    Mock::given(method("DELETE")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    Mock::given(method("PUT")).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    Mock::given(path("/api/projects/nobody"))
        .respond_with(ResponseTemplate::new(404).set_body_json(json!({
            "success": false,
            "error": { "code": "NOT_FOUND", "message": "no such Space", "details": {} },
            "metadata": { "timestamp": NOW, "requestId": "5b0f1f0a" }
        })))
        .mount(&server)
        .await;
    Mock::given(any())
        .respond_with(ResponseTemplate::new(500))
        .with_priority(250)
        .mount(&server)
        .await;
    server
}

/// A server, and a client of it.
#[allow(dead_code, reason = "some examples make their client themselves")]
pub async fn client() -> Result<(MockServer, switchy::Client), switchy::BuildError> {
    let server = start().await;
    let client = switchy::Client::new(format!("{}/api", server.uri()), "sk_live_example")?;
    Ok((server, client))
}

fn success(data: Value) -> Value {
    json!({ "success": true, "data": data, "metadata": { "timestamp": NOW, "requestId": "5b0f1f0a" } })
}
