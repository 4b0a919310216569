//! Every policy of row-level security, and a statement that it alone stops.

/// As whom a statement runs: the role in the organization and the role in the Space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// A MEMBER outside of the Space.
    Stranger,
    /// A MEMBER, VIEWER of the Space.
    Viewer,
    /// A MEMBER, EDITOR of the Space.
    Editor,
    /// An ADMIN outside of the Space.
    Admin,
    /// An OWNER of the organization outside of the Space.
    Owner,
}

/// A statement that touches no row as long as the policy is there, and does when it is not.
pub struct Probe {
    pub table: &'static str,
    pub policy: &'static str,
    pub who: As,
    /// What the database's owner does before.
    pub before: &'static str,
    pub sql: &'static str,
}

const fn probe(
    table: &'static str,
    policy: &'static str,
    who: As,
    before: &'static str,
    sql: &'static str,
) -> Probe {
    Probe { table, policy, who, before, sql }
}

use As::{Admin, Editor, Owner, Stranger, Viewer};

/// `{kind}` is the id of what the stage has under that name; besides there are `{me}`, `{org}`, and
/// `{elsewhere}`, another organization.
pub const PROBES: &[Probe] = &[
    probe("orgs", "caller", Owner, "", "SELECT FROM orgs WHERE id = '{elsewhere}'"),
    probe("members", "caller", Owner, "", "SELECT FROM members WHERE org_id = '{elsewhere}'"),
    probe(
        "members",
        "caller_promotes",
        Admin,
        "",
        "UPDATE members SET role = 'OWNER' WHERE user_id = '{me}'",
    ),
    probe(
        "members",
        "caller_dismisses",
        Viewer,
        "",
        "DELETE FROM members WHERE user_id = '{uguest}'",
    ),
    probe("users", "caller", Owner, "", "SELECT FROM users WHERE email = 'owner@globex.test'"),
    probe("api_keys", "caller", Owner, "", "SELECT id FROM api_keys WHERE org_id = '{elsewhere}'"),
    probe(
        "api_keys",
        "own_or_managed",
        Viewer,
        "",
        "SELECT id FROM api_keys WHERE id = '{ktheirs}'",
    ),
    probe(
        "api_keys",
        "caller_mints",
        Viewer,
        "",
        "INSERT INTO api_keys (id, org_id, user_id, name, prefix, digest, scopes)
         VALUES ('k', '{org}', '{me}', 'x', 'x', 'x', '{}')",
    ),
    probe(
        "api_keys",
        "caller_revokes",
        Admin,
        "UPDATE api_keys SET revoked_at = now() WHERE id = '{ktheirs}'",
        "UPDATE api_keys SET revoked_at = NULL WHERE id = '{ktheirs}'",
    ),
    probe("delegations", "caller", Owner, "", "SELECT FROM delegations WHERE key_id = '{kguests}'"),
    probe(
        "delegations",
        "caller_allows",
        Owner,
        "",
        "INSERT INTO delegations (org_id, user_id, key_id, key_user_id)
         VALUES ('{org}', '{uguest}', '{kown}', '{me}')",
    ),
    probe(
        "delegations",
        "caller_ends",
        Owner,
        "DELETE FROM delegations WHERE user_id = '{me}'",
        "DELETE FROM delegations",
    ),
    probe(
        "idempotency_keys",
        "caller",
        Owner,
        "INSERT INTO idempotency_keys VALUES ('{ktheirs}', 'POST', '/x', 'x', '{org}', 'x', 201,
             'secret', NULL, now())",
        "SELECT FROM idempotency_keys WHERE key_id = '{ktheirs}'",
    ),
    probe("spaces", "caller", Owner, "", "SELECT FROM spaces WHERE org_id = '{elsewhere}'"),
    probe(
        "spaces",
        "caller_creates",
        Owner,
        "",
        "INSERT INTO spaces (id, org_id, slug, name, created_by_user_id)
         VALUES ('s', '{org}', 's', 's', '{uguest}')",
    ),
    // without a condition no column is read, and so no other policy is asked
    probe(
        "spaces",
        "caller_changes",
        Owner,
        "UPDATE spaces SET archived_at = now() WHERE org_id = '{org}'",
        "UPDATE spaces SET archived_at = now()",
    ),
    probe(
        "spaces",
        "editors_only",
        Viewer,
        "",
        "UPDATE spaces SET name = 'x' WHERE id = '{space}'",
    ),
    probe(
        "space_members",
        "caller",
        Owner,
        "",
        "SELECT FROM space_members WHERE org_id = '{elsewhere}'",
    ),
    probe(
        "space_members",
        "caller_admits",
        Editor,
        "",
        "INSERT INTO space_members VALUES ('{org}', '{space}', '{unobody}', 'VIEWER', now())",
    ),
    probe(
        "space_members",
        "caller_promotes",
        Editor,
        "",
        "UPDATE space_members SET role = 'OWNER' WHERE user_id = '{me}'",
    ),
    probe(
        "space_members",
        "caller_dismisses",
        Editor,
        "",
        "DELETE FROM space_members WHERE user_id = '{uguest}'",
    ),
    probe("sessions", "caller", Editor, "", "SELECT FROM sessions WHERE id = '{shidden}'"),
    probe(
        "sessions",
        "own_name",
        Editor,
        "",
        "INSERT INTO sessions (id, org_id, space_id, created_by_user_id)
         VALUES ('s', '{org}', '{space}', '{uguest}')",
    ),
    probe(
        "sessions",
        "writers_only",
        Viewer,
        "",
        "INSERT INTO sessions (id, org_id, space_id, created_by_user_id)
         VALUES ('s', '{org}', '{space}', '{me}')",
    ),
    probe(
        "sessions",
        "changers_only",
        Viewer,
        "",
        "UPDATE sessions SET title = 'x' WHERE id = '{stheirs}'",
    ),
    probe(
        "session_participants",
        "caller",
        Editor,
        "INSERT INTO session_participants VALUES ('{org}', '{shidden}', '{uguest}')",
        "SELECT FROM session_participants WHERE session_id = '{shidden}'",
    ),
    probe(
        "session_participants",
        "caller_admits",
        Viewer,
        "",
        "INSERT INTO session_participants VALUES ('{org}', '{stheirs}', '{me}')",
    ),
    probe("messages", "caller", Editor, "", "SELECT FROM messages WHERE id = '{mhidden}'"),
    probe(
        "messages",
        "caller_posts",
        Viewer,
        "",
        "INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
         VALUES ('m', '{org}', '{stheirs}', 'USER', '{me}', 'x')",
    ),
    probe(
        "message_reactions",
        "caller",
        Editor,
        "INSERT INTO message_reactions VALUES ('{org}', '{shidden}', '{mhidden}', '{uguest}', 'x')",
        "SELECT FROM message_reactions WHERE message_id = '{mhidden}'",
    ),
    probe(
        "message_reactions",
        "caller_reacts",
        Viewer,
        "",
        "INSERT INTO message_reactions VALUES ('{org}', '{stheirs}', '{mtheirs}', '{me}', 'x')",
    ),
    probe(
        "message_reactions",
        "caller_takes_back",
        Editor,
        "INSERT INTO message_reactions VALUES ('{org}', '{stheirs}', '{mtheirs}', '{uguest}', 'x')",
        "DELETE FROM message_reactions WHERE message_id = '{mtheirs}'",
    ),
    probe(
        "session_events",
        "caller",
        Editor,
        "",
        "SELECT FROM session_events WHERE session_id = '{shidden}'",
    ),
    probe(
        "invitations",
        "caller",
        Viewer,
        "",
        "SELECT id FROM invitations WHERE id = '{invitation}'",
    ),
    probe(
        "invitations",
        "caller_invites",
        Viewer,
        "",
        "INSERT INTO invitations (id, org_id, email, role, digest, invited_by_user_id, created_at,
             expires_at)
         VALUES ('i', '{org}', 'x@x.test', 'ADMIN', 'x', '{me}', now(), now())",
    ),
    probe(
        "invitations",
        "caller_ends",
        Admin,
        "UPDATE invitations SET status = 'ACCEPTED', ended_at = now() WHERE id = '{invitation}'",
        "UPDATE invitations SET status = 'REVOKED' WHERE id = '{invitation}'",
    ),
    probe(
        "invitation_mails",
        "caller",
        Viewer,
        "INSERT INTO invitation_mails (invitation_id, org_id) VALUES ('{invitation}', '{org}')",
        "SELECT invitation_id FROM invitation_mails WHERE invitation_id = '{invitation}'",
    ),
    probe(
        "invitation_mails",
        "caller_invites",
        Viewer,
        "",
        "INSERT INTO invitation_mails (invitation_id, org_id, nonce, next_attempt_at)
         VALUES ('{invitation}', '{org}', 'x', now())",
    ),
    probe("memories", "caller", Owner, "", "SELECT FROM memories WHERE id = '{ntheirprivate}'"),
    probe(
        "memories",
        "own_name",
        Owner,
        "",
        "INSERT INTO memories (id, org_id, author_user_id, visibility, content)
         VALUES ('n', '{org}', '{uguest}', 'ORG', 'x')",
    ),
    probe(
        "memories",
        "writers_only",
        Viewer,
        "",
        "INSERT INTO memories (id, org_id, author_user_id, visibility, space_id, content)
         VALUES ('n', '{org}', '{me}', 'SPACE', '{space}', 'x')",
    ),
    probe(
        "memories",
        "author_only",
        Owner,
        "",
        "UPDATE memories SET content = 'x' WHERE id = '{ntheirorg}'",
    ),
    probe(
        "memories",
        "removers_only",
        Viewer,
        "",
        "DELETE FROM memories WHERE id IN ('{ntheirorg}', '{ntheirspace}')",
    ),
    probe(
        "memory_embeddings",
        "caller",
        Owner,
        "INSERT INTO memory_embeddings SELECT '{ntheirprivate}', 'm', 0, '{org}', NULL, '{uguest}',
             'PRIVATE', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
        "SELECT FROM memory_embeddings WHERE memory_id = '{ntheirprivate}'",
    ),
    probe(
        "memory_embeddings",
        "own_name",
        Owner,
        "",
        "INSERT INTO memory_embeddings SELECT '{nownorg}', 'm', 0, '{org}', NULL, '{uguest}',
             'ORG', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
    ),
    probe(
        "memory_embeddings",
        "writers_only",
        Viewer,
        "",
        "INSERT INTO memory_embeddings SELECT '{nownspace}', 'm', 0, '{org}', '{space}', '{me}',
             'SPACE', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
    ),
    probe(
        "memory_embeddings",
        "own_note",
        Owner,
        "",
        "INSERT INTO memory_embeddings SELECT '{ntheirorg}', 'm', 0, '{org}', NULL, '{me}',
             'ORG', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
    ),
    probe(
        "memory_embeddings",
        "author_only",
        Owner,
        "INSERT INTO memory_embeddings SELECT '{ntheirorg}', 'm', 0, '{org}', NULL, '{uguest}',
             'ORG', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
        "UPDATE memory_embeddings SET ends_at = 1 WHERE memory_id = '{ntheirorg}'",
    ),
    probe(
        "memory_embeddings",
        "author_removes",
        Owner,
        "INSERT INTO memory_embeddings SELECT '{ntheirorg}', 'm', 0, '{org}', NULL, '{uguest}',
             'ORG', 0, 0, array_fill(1::real, ARRAY[384])::halfvec",
        "DELETE FROM memory_embeddings WHERE memory_id = '{ntheirorg}'",
    ),
    probe(
        "memory_expansions",
        "caller",
        Owner,
        "INSERT INTO memory_expansions VALUES ('{ntheirprivate}', '{org}', 'm', NULL)",
        "SELECT FROM memory_expansions WHERE memory_id = '{ntheirprivate}'",
    ),
    probe(
        "memory_expansions",
        "own_note",
        Owner,
        "",
        "INSERT INTO memory_expansions VALUES ('{ntheirorg}', '{org}', 'm', NULL)",
    ),
    probe(
        "memory_expansions",
        "author_only",
        Owner,
        "INSERT INTO memory_expansions VALUES ('{ntheirorg}', '{org}', 'm', NULL)",
        "UPDATE memory_expansions SET model_id = 'x' WHERE memory_id = '{ntheirorg}'",
    ),
    probe(
        "memory_expansions",
        "author_removes",
        Owner,
        "INSERT INTO memory_expansions VALUES ('{ntheirorg}', '{org}', 'm', NULL)",
        "DELETE FROM memory_expansions WHERE memory_id = '{ntheirorg}'",
    ),
    probe(
        "memory_backlog",
        "own_name",
        Owner,
        "",
        "INSERT INTO memory_backlog (memory_id, org_id, author_user_id)
         VALUES ('{ntheirorg}', '{org}', '{uguest}')",
    ),
    probe(
        "billing_accounts",
        "caller",
        Owner,
        "",
        "SELECT FROM billing_accounts WHERE org_id = '{elsewhere}'",
    ),
    probe(
        "stripe_accounts",
        "caller",
        Owner,
        "",
        "SELECT FROM stripe_accounts WHERE org_id = '{elsewhere}'",
    ),
    probe(
        "credit_balances",
        "caller",
        Owner,
        "INSERT INTO credit_balances (org_id) VALUES ('{elsewhere}') ON CONFLICT DO NOTHING",
        "SELECT FROM credit_balances WHERE org_id = '{elsewhere}'",
    ),
    probe(
        "vault_secrets",
        "caller_seals",
        Viewer,
        "",
        "INSERT INTO vault_secrets VALUES ('{org}', 'v', 'k', decode(repeat('00', 24), 'hex'), 'x')",
    ),
    probe(
        "mcp_servers",
        "caller",
        Owner,
        "INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, endpoint_url, auth_type)
         VALUES ('y', '{elsewhere}', 'x', 'x', 'x', 'NONE')",
        "SELECT FROM mcp_servers WHERE org_id = '{elsewhere}'",
    ),
    probe(
        "mcp_servers",
        "caller_registers",
        Viewer,
        "",
        "INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, endpoint_url, auth_type)
         VALUES ('x', '{org}', 'x', 'x', 'x', 'NONE')",
    ),
    probe(
        "mcp_servers",
        "caller_tests",
        Viewer,
        "",
        "UPDATE mcp_servers SET health = 'HEALTHY' WHERE id = '{mcp}'",
    ),
    probe(
        "mcp_servers",
        "caller_removes",
        Viewer,
        "",
        "DELETE FROM mcp_servers WHERE id = '{mcp}'",
    ),
    probe(
        "space_mcp_servers",
        "caller",
        Stranger,
        "",
        "SELECT FROM space_mcp_servers WHERE space_id = '{space}'",
    ),
    probe(
        "space_mcp_servers",
        "caller_binds",
        Viewer,
        "DELETE FROM space_mcp_servers WHERE space_id = '{space}'",
        "INSERT INTO space_mcp_servers (org_id, space_id, server_id)
         VALUES ('{org}', '{space}', '{mcp}')",
    ),
    probe(
        "space_mcp_servers",
        "caller_unbinds",
        Viewer,
        "",
        "DELETE FROM space_mcp_servers WHERE space_id = '{space}'",
    ),
];
