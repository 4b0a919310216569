//! Every operation, asked about everything that makes a difference to who may: one's own and
//! others', shared and private, of every role.

use super::stage::Stage;
use serde_json::{Value, json};

/// A request: the path below `/api`, and a body.
pub struct Ask {
    pub path: String,
    pub body: Option<Value>,
}

/// An operation about something.
pub struct Case {
    /// Its `operationId`, or the tool's name.
    pub operation: &'static str,
    /// What it is about; empty when there is only one thing.
    pub target: String,
    pub ask: Box<dyn Fn(&Stage) -> Ask + Send + Sync>,
}

fn case(
    operation: &'static str,
    target: &str,
    ask: impl Fn(&Stage) -> Ask + Send + Sync + 'static,
) -> Case {
    Case { operation, target: target.to_owned(), ask: Box::new(ask) }
}

fn at(path: impl Into<String>) -> Ask {
    Ask { path: path.into(), body: None }
}

fn with(path: impl Into<String>, body: Value) -> Ask {
    Ask { path: path.into(), body: Some(body) }
}

const SESSIONS: [&str; 4] = ["own", "ownprivate", "theirs", "hidden"];
const LEVELS: [&str; 3] = ["PRIVATE", "SPACE", "ORG"];

/// All cases of the REST API and of the Save Session dialect.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    spaces(&mut all);
    sessions(&mut all);
    memory(&mut all);
    saved(&mut all);
    org(&mut all);
    rest(&mut all);
    all
}

fn spaces(all: &mut Vec<Case>) {
    let project = |s: &Stage| format!("/projects/{}", s.id("space"));
    let members = move |s: &Stage| format!("{}/members", project(s));
    let guest = move |s: &Stage| format!("{}/{}", members(s), s.id("uguest"));
    all.extend([
        case("space_list", "", |_| at("/projects?limit=100")),
        case("space_create", "", |s| with("/projects", json!({ "name": s.fresh("New ") }))),
        case("space_view", "", move |s| at(project(s))),
        case("space_update", "", move |s| with(project(s), json!({ "name": "Other" }))),
        case("space_archive", "", move |s| at(project(s))),
        case("space_member_list", "", move |s| at(members(s))),
        case("space_member_add", "", move |s| {
            with(members(s), json!({ "userId": s.id("unobody"), "role": "VIEWER" }))
        }),
        case("space_member_update", "", move |s| with(guest(s), json!({ "role": "EDITOR" }))),
        case("space_member_remove", "other", move |s| at(guest(s))),
        case("space_member_remove", "self", move |s| at(format!("{}/{}", members(s), s.caller))),
        case("space_mcp_list", "", |s| at(format!("/spaces/{}/mcps", s.slug()))),
    ]);
    for operation in ["space_mcp_bind", "space_mcp_unbind"] {
        let path = |s: &Stage| at(format!("/spaces/{}/mcps/{}", s.slug(), s.id("mcp")));
        all.push(case(operation, "", path));
    }
}

fn sessions(all: &mut Vec<Case>) {
    let list = |s: &Stage| format!("/spaces/{}/sessions", s.slug());
    all.push(case("session_list", "", move |s| at(list(s))));
    all.push(case("session_create", "", move |s| with(list(s), json!({ "name": "New" }))));
    all.push(case("message_search", "", |s| {
        with(format!("/spaces/{}/messages/search", s.slug()), json!({ "query": "said" }))
    }));
    for kind in SESSIONS {
        let session = move |s: &Stage| format!("{}/{}", list(s), s.id(&format!("s{kind}")));
        let messages = move |s: &Stage| format!("{}/messages", session(s));
        let message = move |s: &Stage| {
            format!("/spaces/{}/messages/{}/reactions", s.slug(), s.id(&format!("m{kind}")))
        };
        let said = || json!({ "body": "said" });
        all.extend([
            case("session_view", kind, move |s| at(session(s))),
            case("session_update", kind, move |s| with(session(s), json!({ "title": "x" }))),
            case("session_update", &format!("{kind}, share"), move |s| {
                with(session(s), json!({ "visibility": "workspace" }))
            }),
            case("session_archive", kind, move |s| at(session(s))),
            case("session_events", kind, move |s| at(format!("{}/events", session(s)))),
            case("message_list", kind, move |s| at(messages(s))),
            case("message_send", kind, move |s| with(messages(s), said())),
            case("reaction_add", kind, move |s| with(message(s), json!({ "emoji": "👍" }))),
            case("reaction_remove", kind, move |s| at(format!("{}/%F0%9F%91%8D", message(s)))),
        ]);
    }
    all.push(case("message_send", "theirs, as an agent", move |s| {
        let path = format!("{}/{}/messages", list(s), s.id("stheirs"));
        with(path, json!({ "body": "said", "authorAgent": "bot" }))
    }));
}

fn memory(all: &mut Vec<Case>) {
    let new = |s: &Stage, level: &str| {
        let space = (level == "SPACE").then(|| s.id("space"));
        json!({ "content": "zulu", "visibility": level, "spaceId": space })
    };
    all.extend([
        case("memory_list", "", |_| at("/memory?limit=100")),
        case("memory_list", "of the Space", |s| at(format!("/memory?spaceId={}", s.id("space")))),
        case("memory_search", "", |s| {
            with("/memory/search", json!({ "query": s.fresh("zulu "), "limit": 100 }))
        }),
        case("memory_search", "of the Space", |s| {
            with("/memory/search", json!({ "query": "zulu", "spaceId": s.id("space") }))
        }),
    ]);
    for level in LEVELS {
        all.push(case("memory_create", level, move |s| with("/memory", new(s, level))));
        all.push(case("memory_batch", level, move |s| {
            with("/memory/batch", json!({ "memories": [new(s, "PRIVATE"), new(s, level)] }))
        }));
    }
    for author in ["own", "their"] {
        for level in LEVELS {
            let note = move |s: &Stage| {
                format!("/memory/{}", s.id(&format!("n{author}{}", level.to_lowercase())))
            };
            let target = format!("{author} {level}");
            all.extend([
                case("memory_view", &target, move |s| at(note(s))),
                case("memory_update", &target, move |s| with(note(s), json!({ "tags": ["x"] }))),
                case("memory_delete", &target, move |s| at(note(s))),
            ]);
        }
    }
    for (level, target) in [("SPACE", "own PRIVATE to SPACE"), ("ORG", "own PRIVATE to ORG")] {
        all.push(case("memory_update", target, move |s| {
            let space = (level == "SPACE").then(|| s.id("space"));
            let body = json!({ "visibility": level, "spaceId": space });
            with(format!("/memory/{}", s.id("nownprivate")), body)
        }));
    }
}

fn saved(all: &mut Vec<Case>) {
    let list = |s: &Stage| format!("/v1/org/{}/ws/{}/sessions", s.org_slug, s.slug());
    all.extend([
        case("saved_session_list", "", move |s| at(format!("{}?archived=any", list(s)))),
        case("saved_session_facets", "", move |s| at(format!("{}/facets", list(s)))),
        case("saved_session_save", "new", move |s| {
            with(list(s), json!({ "id": s.uuid("new"), "model": "m" }))
        }),
    ]);
    for kind in SESSIONS {
        let session = move |s: &Stage| format!("{}/{}", list(s), s.uuid(kind));
        let transcript = move |s: &Stage| format!("{}/transcript", session(s));
        let turn = || json!({ "messages": [{ "role": "user", "content": "x" }] });
        all.extend([
            case("saved_session_save", kind, move |s| {
                with(list(s), json!({ "id": s.uuid(kind), "model": "m" }))
            }),
            case("saved_session_view", kind, move |s| at(session(s))),
            case("saved_session_update", kind, move |s| with(session(s), json!({ "title": "x" }))),
            case("saved_session_update", &format!("{kind}, share"), move |s| {
                with(session(s), json!({ "visibility": "workspace" }))
            }),
            case("saved_session_archive", kind, move |s| at(format!("{}/archive", session(s)))),
            case("saved_session_unarchive", kind, move |s| at(format!("{}/unarchive", session(s)))),
            case("saved_session_transcript", kind, move |s| at(transcript(s))),
            case("saved_session_transcript_append", kind, move |s| with(transcript(s), turn())),
        ]);
    }
}

fn org(all: &mut Vec<Case>) {
    let org = |s: &Stage| format!("/org/{}", s.org);
    let members = move |s: &Stage| format!("{}/members", org(s));
    let invitations = move |s: &Stage| format!("{}/invitations", org(s));
    all.push(case("member_list", "", move |s| at(members(s))));
    for (kind, role) in [("umember", "MEMBER"), ("uadmin", "ADMIN"), ("uowner", "OWNER")] {
        let member = move |s: &Stage| format!("{}/{}", members(s), s.id(kind));
        all.push(case("member_update", role, move |s| {
            with(member(s), json!({ "role": if role == "MEMBER" { "ADMIN" } else { "MEMBER" } }))
        }));
        all.push(case("member_remove", role, move |s| at(member(s))));
    }
    all.extend([
        case("member_remove", "self", move |s| at(format!("{}/{}", members(s), s.caller))),
        case("invitation_list", "", move |s| at(invitations(s))),
        case("invitation_create", "", move |s| {
            let email = format!("{}@stage.test", s.fresh("new"));
            with(invitations(s), json!({ "email": email, "role": "ADMIN" }))
        }),
        case("invitation_revoke", "", move |s| {
            at(format!("{}/{}", invitations(s), s.id("invitation")))
        }),
    ]);
    for target in ["own", "another's"] {
        let accept = |s: &Stage| at(format!("/invitations/{}/accept", s.token));
        all.push(case("invitation_accept", target, accept));
    }
}

fn rest(all: &mut Vec<Case>) {
    all.extend([
        case("me", "", |_| at("/me")),
        case("credit_balance", "", |_| at("/billing/credits")),
        case("billing_checkout", "", |_| with("/billing/checkout", json!({ "plan": "pro" }))),
        case("billing_portal", "", |_| with("/billing/portal", json!({}))),
        case("billing_topup", "", |_| with("/billing/topup", json!({ "pack": "small" }))),
        case("key_list", "", |_| at("/keys")),
        case("key_create", "", |_| {
            with("/keys", json!({ "name": "minted", "scopes": ["keys:write"] }))
        }),
        case("mcp_server_list", "", |_| at("/mcp/servers")),
        case("mcp_server_create", "", |s| {
            with(
                "/mcp/servers",
                json!({
                    "displayName": "x", "mentionSlug": format!("{}-{}", s.tag, s.fresh("new")),
                    "endpointUrl": "https://127.0.0.1:1/", "authType": "NONE"
                }),
            )
        }),
        case("mcp_server_delete", "", |s| at(format!("/mcp/servers/{}", s.id("mcp")))),
        case("mcp_server_test", "", |s| {
            at(format!("/mcp/servers/{}/test-connection", s.id("mcp")))
        }),
    ]);
    let delegation = |s: &Stage, kind: &str| at(format!("/me/delegations/{}", s.id(kind)));
    all.push(case("delegation_list", "", |_| at("/me/delegations")));
    for (target, kind) in [("a key that acts", "kacts"), ("a key that does not", "ktheirs")] {
        all.push(case("delegation_allow", target, move |s| delegation(s, kind)));
        all.push(case("delegation_end", target, move |s| delegation(s, kind)));
    }
    for (target, kind) in [("own", "kown"), ("another's", "ktheirs")] {
        let key = move |s: &Stage| format!("/keys/{}", s.id(kind));
        all.push(case("key_revoke", target, move |s| at(key(s))));
        all.push(case("key_rotate", target, move |s| at(format!("{}/rotate", key(s)))));
    }
}

/// For whom a call says that it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Nobody,
    Oneself,
    /// A MEMBER of the organization, OWNER of the Space, who has not consented.
    Another,
}

/// A call of a tool: its name, what it is about, for whom it is made, and the arguments. In place of
/// a tool, what else may be asked of the MCP server.
pub struct ToolCase {
    pub tool: &'static str,
    pub target: String,
    pub scope: &'static str,
    pub acting: For,
    pub method: &'static str,
    pub params: Box<dyn Fn(&Stage) -> Value + Send + Sync>,
}

/// All cases of the MCP server.
pub fn tool_cases() -> Vec<ToolCase> {
    let mut all = Vec::new();
    type Arguments = Box<dyn Fn(&Stage) -> Value + Send + Sync>;
    let mut add = |tool: &'static str, target: &str, scope, acting, arguments: Arguments| {
        let whom = |whom: &str| format!("{target}, for {whom}").trim_start_matches(", ").to_owned();
        let target = match acting {
            For::Oneself => target.to_owned(),
            For::Nobody => whom("nobody"),
            For::Another => whom("another"),
        };
        let (method, params): (_, Arguments) = match tool.split_once('/') {
            None => (
                "tools/call",
                Box::new(move |s| json!({ "name": tool, "arguments": arguments(s) })),
            ),
            Some(_) => (tool, arguments),
        };
        all.push(ToolCase { tool, target, scope, acting, method, params });
    };
    for acting in [For::Oneself, For::Nobody, For::Another] {
        let (read, write) = ("mcp:memory:read", "mcp:memory:write");
        add(
            "search_memory",
            "",
            read,
            acting,
            Box::new(|s| json!({ "query": s.fresh("zulu "), "limit": 100 })),
        );
        add(
            "search_memory",
            "of the Space",
            read,
            acting,
            Box::new(|s| json!({ "query": "zulu", "spaceSlug": s.slug() })),
        );
        for level in LEVELS {
            let arguments = move |s: &Stage| {
                let slug = (level == "SPACE").then(|| s.slug());
                json!({ "content": "zulu", "visibility": level, "spaceSlug": slug })
            };
            add("add_memory", level, write, acting, Box::new(arguments));
        }
        let spaces = "mcp:spaces:read";
        add("list_spaces", "", spaces, acting, Box::new(|_| json!({ "limit": 100 })));
        add("get_space", "", spaces, acting, Box::new(|s| json!({ "slug": s.slug() })));
        let sessions = "mcp:sessions:read";
        add(
            "list_sessions",
            "",
            sessions,
            acting,
            Box::new(|s| json!({ "spaceSlug": s.slug(), "includeArchived": true })),
        );
        for kind in SESSIONS {
            let of = move |s: &Stage| json!({ "sessionId": s.id(&format!("s{kind}")) });
            add("get_session_transcript", kind, sessions, acting, Box::new(of));
            let said =
                move |s: &Stage| json!({ "sessionId": s.id(&format!("s{kind}")), "content": "x" });
            add("post_message", kind, "mcp:messages:write", acting, Box::new(said));
        }
        for author in ["own", "their"] {
            for level in LEVELS {
                let uri = move |s: &Stage| {
                    let id = s.id(&format!("n{author}{}", level.to_lowercase()));
                    json!({ "uri": format!("switchy://memory/{id}") })
                };
                add("resources/read", &format!("{author} {level}"), read, acting, Box::new(uri));
            }
        }
        let space = |s: &Stage| json!({ "uri": format!("switchy://spaces/{}", s.slug()) });
        add("resources/read", "the Space", spaces, acting, Box::new(space));
        let recall =
            |s: &Stage| json!({ "name": "recall", "arguments": { "query": s.fresh("zulu ") } });
        add("prompts/get", "recall", read, acting, Box::new(recall));
    }
    all
}
