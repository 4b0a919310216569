-- MCP servers that organizations have registered, the secrets that they are called with, and the
-- Spaces in which they are used.

-- Sealed by the server process, under a key that is not in this table: XChaCha20-Poly1305, bound to
-- org_id and id, so that a row that is moved or swapped opens for nobody.
CREATE TABLE vault_secrets (
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    id text NOT NULL,
    -- which key sealed it: the fingerprint, never the key
    key_id text NOT NULL,
    nonce bytea NOT NULL CHECK (octet_length(nonce) = 24),
    ciphertext bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, id)
);

CREATE TABLE mcp_servers (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    display_name text NOT NULL,
    mention_slug text NOT NULL,
    endpoint_url text NOT NULL,
    auth_type text NOT NULL CHECK (auth_type IN ('NONE', 'BEARER', 'API_KEY')),
    -- a reference; the secret is in the vault before this row is here
    secret_id text,
    health text NOT NULL DEFAULT 'UNKNOWN'
        CHECK (health IN ('HEALTHY', 'DEGRADED', 'UNREACHABLE', 'UNKNOWN')),
    last_checked_at timestamptz,
    -- when a background check is due; whoever claims the row moves it on first
    next_check_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((auth_type = 'NONE') = (secret_id IS NULL)),
    UNIQUE (org_id, mention_slug),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, secret_id) REFERENCES vault_secrets (org_id, id)
);
CREATE INDEX mcp_servers_due ON mcp_servers (next_check_at);
CREATE INDEX mcp_servers_secret ON mcp_servers (org_id, secret_id);

CREATE TABLE space_mcp_servers (
    org_id text NOT NULL,
    space_id text NOT NULL,
    server_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, server_id),
    FOREIGN KEY (org_id, space_id) REFERENCES spaces (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, server_id) REFERENCES mcp_servers (org_id, id) ON DELETE CASCADE
);
CREATE INDEX space_mcp_servers_server ON space_mcp_servers (org_id, server_id);

-- Whether the caller is an OWNER or ADMIN of the org.
CREATE FUNCTION caller_runs_integrations() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM members m
            WHERE m.org_id = caller_org() AND m.user_id = caller_user()
                AND m.role IN ('OWNER', 'ADMIN'));
    END;

-- The Spaces in which the caller may say what is used: as their OWNER or EDITOR.
CREATE FUNCTION caller_edited_spaces() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT coalesce(array_agg(m.space_id), '{}')
        FROM space_members m JOIN spaces s ON s.id = m.space_id
        WHERE m.org_id = caller_org() AND m.user_id = caller_user() AND s.archived_at IS NULL
            AND m.role IN ('OWNER', 'EDITOR');
    END;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['vault_secrets', 'mcp_servers', 'space_mcp_servers'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- A request puts secrets into the vault. It reads one at a time, through the function below, and
-- the trigger removes them.
GRANT INSERT ON vault_secrets TO switchy_app;
CREATE POLICY caller_seals ON vault_secrets FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND (SELECT caller_runs_integrations()));

GRANT SELECT, INSERT, DELETE ON mcp_servers TO switchy_app;
GRANT UPDATE (health, last_checked_at, next_check_at) ON mcp_servers TO switchy_app;
CREATE POLICY caller ON mcp_servers FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller_registers ON mcp_servers FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND (SELECT caller_runs_integrations()));
CREATE POLICY caller_tests ON mcp_servers FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_runs_integrations()));
CREATE POLICY caller_removes ON mcp_servers FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_runs_integrations()));

GRANT SELECT, INSERT, DELETE ON space_mcp_servers TO switchy_app;
CREATE POLICY caller ON space_mcp_servers FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND (space_id = ANY ((SELECT caller_spaces())::text[])
            OR (SELECT caller_runs_integrations())));
CREATE POLICY caller_binds ON space_mcp_servers FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org())
        AND (space_id = ANY ((SELECT caller_edited_spaces())::text[])
            OR (SELECT caller_runs_integrations())));
CREATE POLICY caller_unbinds ON space_mcp_servers FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND (space_id = ANY ((SELECT caller_edited_spaces())::text[])
            OR (SELECT caller_runs_integrations())));

-- How many servers the caller's org has. Nobody else can register one until this transaction ends,
-- so that a limit holds under a race. Volatile: the count must see what the lock waited for.
CREATE FUNCTION count_mcp_servers() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('mcp_servers:' || caller_org(), 0));
    RETURN (SELECT count(*) FROM mcp_servers WHERE org_id = caller_org());
END
$$;

-- The sealed secret of one server of the caller's org, for those who may have it called.
CREATE FUNCTION mcp_server_secret(p_server text)
RETURNS TABLE (id text, key_id text, nonce bytea, ciphertext bytea)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT v.id, v.key_id, v.nonce, v.ciphertext
    FROM mcp_servers s JOIN vault_secrets v ON v.org_id = s.org_id AND v.id = s.secret_id
    WHERE s.id = p_server AND s.org_id = caller_org() AND caller_runs_integrations()
$$;

-- Without its server, a secret is of no use to anybody.
CREATE FUNCTION forget_mcp_secret() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM vault_secrets v WHERE v.org_id = OLD.org_id AND v.id = OLD.secret_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER forget_mcp_secret AFTER DELETE ON mcp_servers
    FOR EACH ROW WHEN (OLD.secret_id IS NOT NULL) EXECUTE FUNCTION forget_mcp_secret();

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['mcp_server_secret', 'forget_mcp_secret'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_app', f);
    END LOOP;
END
$$;
