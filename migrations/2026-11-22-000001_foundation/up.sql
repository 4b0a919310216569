-- The tenant model, and row-level security behind every table of it.
--
-- Two roles stand between the server and the rows:
--   switchy_app     what a request runs as: every policy below applies to it
--   switchy_system  what maintenance runs as (admin commands, expiry, embedding what was left
--                   over), and the owner of the SECURITY DEFINER functions: it sees every row
-- Neither can log in; the server's own login is a member of both and switches by SET ROLE.
-- Roles belong to the whole cluster, so another database may have made them already.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['switchy_app', 'switchy_system'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this cluster was a moment faster
            END;
        END IF;
        -- the right to SET ROLE is its own since PostgreSQL 16
        IF NOT pg_has_role(current_user, wanted,
            CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET'
                 ELSE 'MEMBER' END)
        THEN
            BEGIN
                EXECUTE format('GRANT %I TO %I', wanted, current_user);
            EXCEPTION WHEN unique_violation THEN
                NULL; -- likewise
            END;
        END IF;
    END LOOP;
END
$$;

DO $$
BEGIN
    -- ALTER ... OWNER TO switchy_system needs CREATE on the schema for the new owner.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO switchy_system', current_schema());
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO switchy_app', current_schema());
END
$$;

CREATE TABLE orgs (
    id text PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id text PRIMARY KEY,
    email text NOT NULL,
    name text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE members (
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE spaces (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    tags text[] NOT NULL DEFAULT '{}',
    default_model text,
    created_by_user_id text NOT NULL REFERENCES users,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (org_id, slug),
    UNIQUE (org_id, id)
);

CREATE TABLE space_members (
    org_id text NOT NULL,
    space_id text NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL CHECK (role IN ('OWNER', 'EDITOR', 'MEMBER', 'VIEWER')),
    joined_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (space_id, user_id),
    FOREIGN KEY (org_id, space_id) REFERENCES spaces (org_id, id) ON DELETE CASCADE,
    -- leaving the org is leaving its Spaces
    FOREIGN KEY (org_id, user_id) REFERENCES members (org_id, user_id) ON DELETE CASCADE
);
CREATE INDEX space_members_user ON space_members (org_id, user_id);

CREATE TABLE sessions (
    id text PRIMARY KEY,
    external_id uuid NOT NULL DEFAULT gen_random_uuid(),
    org_id text NOT NULL,
    space_id text NOT NULL,
    title text,
    description text,
    default_agent text,
    model text,
    created_by_user_id text NOT NULL REFERENCES users,
    visibility text NOT NULL DEFAULT 'workspace' CHECK (visibility IN ('private', 'workspace')),
    origin text NOT NULL DEFAULT 'user' CHECK (origin IN ('user', 'eval', 'worker')),
    labels jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    archived_at timestamptz,
    UNIQUE (org_id, external_id),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, space_id) REFERENCES spaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_space ON sessions (org_id, space_id, updated_at DESC);

CREATE TABLE session_participants (
    org_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL,
    PRIMARY KEY (session_id, user_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions (org_id, id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, user_id) REFERENCES members (org_id, user_id) ON DELETE CASCADE
);

CREATE TABLE api_keys (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    name text NOT NULL,
    prefix text NOT NULL,
    -- HMAC-SHA-256 of the key under the server's secret; the key itself is nowhere
    digest bytea NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
CREATE INDEX api_keys_org ON api_keys (org_id, user_id);

-- What the servers of one database must agree on. `key_secret` is there only while the operator
-- keeps no secret of his own; `key_secret_check` tells a server that was given another one.
CREATE TABLE server_secrets (
    name text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE TABLE rate_limits (
    subject text NOT NULL,
    bucket text NOT NULL,
    -- exact log of the last minute, oldest first (limits up to 1,000)
    hits timestamptz[] NOT NULL DEFAULT '{}',
    -- two fixed windows (limits above that)
    window_start timestamptz,
    window_hits integer NOT NULL DEFAULT 0,
    previous_hits integer NOT NULL DEFAULT 0,
    touched_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (subject, bucket)
);
CREATE INDEX rate_limits_touched ON rate_limits (touched_at);

CREATE TABLE idempotency_keys (
    key_id text NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    method text NOT NULL,
    path text NOT NULL,
    idempotency_key text NOT NULL,
    org_id text NOT NULL,
    request_digest bytea NOT NULL,
    status smallint NOT NULL,
    -- byte for byte what the first request was answered
    body text NOT NULL,
    location text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, method, path, idempotency_key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- The caller of this transaction, as its first statement set them. Empty when nobody is set, which
-- no id equals: a transaction that forgot its caller sees nothing.
CREATE FUNCTION caller_org() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('switchy.org_id', true), '');

CREATE FUNCTION caller_user() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('switchy.user_id', true), '');

-- The live Spaces that the caller is a member of. Policies read it through a scalar sub-select, so
-- that it runs once a statement and can serve as an index condition.
CREATE FUNCTION caller_spaces() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT coalesce(array_agg(m.space_id), '{}')
        FROM space_members m JOIN spaces s ON s.id = m.space_id
        WHERE m.org_id = caller_org() AND m.user_id = caller_user() AND s.archived_at IS NULL;
    END;

-- Whether the caller is an OWNER of the org.
CREATE FUNCTION caller_owns_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM members m
            WHERE m.org_id = caller_org() AND m.user_id = caller_user() AND m.role = 'OWNER');
    END;

-- Whether the caller is an OWNER of the Space.
CREATE FUNCTION owned_by_caller(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM space_members m
            WHERE m.space_id = space AND m.user_id = caller_user() AND m.role = 'OWNER');
    END;

-- Whether the caller has just made the Space: nobody is in it yet.
CREATE FUNCTION founded_by_caller(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM spaces s WHERE s.id = space
                AND s.created_by_user_id = caller_user())
            AND NOT EXISTS (SELECT FROM space_members m WHERE m.space_id = space);
    END;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['orgs', 'users', 'members', 'spaces', 'space_members', 'sessions',
        'session_participants', 'api_keys', 'idempotency_keys', 'server_secrets', 'rate_limits']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

GRANT SELECT ON orgs, users, members TO switchy_app;
GRANT SELECT, INSERT, UPDATE ON spaces, sessions TO switchy_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON space_members, session_participants TO switchy_app;
GRANT SELECT, INSERT, DELETE ON idempotency_keys TO switchy_app;
-- the app role never reads digests: a request is authenticated by the function below
GRANT SELECT (id, org_id, user_id, name, prefix, scopes, created_at, expires_at, revoked_at,
    last_used_at) ON api_keys TO switchy_app;

CREATE POLICY caller ON orgs FOR SELECT TO switchy_app
    USING (id = (SELECT caller_org()));
CREATE POLICY caller ON members FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller ON users FOR SELECT TO switchy_app
    USING (id IN (SELECT m.user_id FROM members m WHERE m.org_id = (SELECT caller_org())));
CREATE POLICY caller ON api_keys FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
-- a kept answer tells what its key's user may know, and nobody else
CREATE POLICY caller ON idempotency_keys TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM api_keys k
            WHERE k.id = key_id AND k.user_id = (SELECT caller_user())));
-- A Space of the org that the caller is not in must be told from none at all (403 against 404),
-- so reading Spaces and their members ends at the org; writing does not get that far.
CREATE POLICY caller ON spaces FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller_creates ON spaces FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND created_by_user_id = (SELECT caller_user()));
CREATE POLICY caller_changes ON spaces FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND (id = ANY ((SELECT caller_spaces())::text[]) OR (SELECT caller_owns_org())))
    WITH CHECK (org_id = (SELECT caller_org()));
CREATE POLICY caller ON space_members FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller_admits ON space_members FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND (owned_by_caller(space_id)
        OR (user_id = (SELECT caller_user()) AND founded_by_caller(space_id))));
CREATE POLICY caller_promotes ON space_members FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND owned_by_caller(space_id));
CREATE POLICY caller_dismisses ON space_members FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND (user_id = (SELECT caller_user()) OR owned_by_caller(space_id)));
CREATE POLICY caller ON sessions TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND space_id = ANY ((SELECT caller_spaces())::text[])
        AND (visibility = 'workspace' OR created_by_user_id = (SELECT caller_user())));
-- nobody begins anything in another's name
CREATE POLICY own_name ON sessions AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (created_by_user_id = (SELECT caller_user()));
CREATE POLICY caller ON session_participants TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id));

-- One request against one limit: never more than p_limit in any 60 seconds, across all servers.
-- Exact up to 1,000 (a log of the hits); above that two fixed windows, weighted. A refused request
-- is not counted. p_now is the test's clock; the database's own otherwise, read after the row is
-- locked so that times in one log never run backwards.
CREATE FUNCTION count_request(
    p_subject text, p_bucket text, p_limit integer, p_now timestamptz,
    OUT allowed boolean, OUT remaining integer, OUT reset_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    r rate_limits;
    t timestamptz;
    used double precision;
BEGIN
    IF p_limit <= 0 THEN
        allowed := true;
        RETURN;
    END IF;
    INSERT INTO rate_limits (subject, bucket) VALUES (p_subject, p_bucket) ON CONFLICT DO NOTHING;
    SELECT * INTO r FROM rate_limits WHERE subject = p_subject AND bucket = p_bucket FOR UPDATE;
    t := coalesce(p_now, clock_timestamp());
    IF p_limit <= 1000 THEN
        r.hits := coalesce((SELECT array_agg(h ORDER BY h) FROM unnest(r.hits) h
            WHERE h > t - interval '60 seconds'), '{}');
        allowed := cardinality(r.hits) < p_limit;
        IF allowed THEN
            r.hits := r.hits || t;
        END IF;
        remaining := greatest(p_limit - cardinality(r.hits), 0);
        -- when the next place is free: after a lowered limit, several must go first
        reset_at := r.hits[greatest(cardinality(r.hits) - p_limit, 0) + 1] + interval '60 seconds';
        r.window_start := NULL;
    ELSE
        IF r.window_start IS NULL OR t >= r.window_start + interval '120 seconds' THEN
            r.window_start := t;
            r.window_hits := 0;
            r.previous_hits := 0;
        ELSIF t >= r.window_start + interval '60 seconds' THEN
            r.window_start := r.window_start + interval '60 seconds';
            r.previous_hits := r.window_hits;
            r.window_hits := 0;
        END IF;
        used := r.window_hits + r.previous_hits
            * (1 - extract(epoch FROM t - r.window_start)::double precision / 60);
        allowed := used + 1 <= p_limit;
        IF allowed THEN
            r.window_hits := r.window_hits + 1;
            used := used + 1;
        END IF;
        remaining := greatest(floor(p_limit - used)::integer, 0);
        reset_at := r.window_start + interval '60 seconds';
        r.hits := '{}';
    END IF;
    UPDATE rate_limits SET hits = r.hits, window_start = r.window_start,
        window_hits = r.window_hits, previous_hits = r.previous_hits, touched_at = t
        WHERE subject = p_subject AND bucket = p_bucket;
END
$$;

-- Who calls, and may they now? One round trip for both. p_digest NULL stands for a key that its
-- checksum already refused: only the address is counted then.
CREATE FUNCTION authenticate(
    p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer,
    p_now timestamptz,
    OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[],
    OUT allowed boolean, OUT remaining integer, OUT reset_at timestamptz, OUT at timestamptz
) LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    used_at timestamptz;
BEGIN
    -- A lost count costs nobody anything: a crash must not be waited for here.
    PERFORM set_config('synchronous_commit', 'off', true);
    at := coalesce(p_now, clock_timestamp());
    SELECT k.id, k.user_id, k.org_id, m.role, k.scopes, k.last_used_at
        INTO key_id, user_id, org_id, role, scopes, used_at
        FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
        WHERE k.digest = p_digest AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > at);
    IF key_id IS NULL THEN
        SELECT c.allowed, c.remaining, c.reset_at INTO allowed, remaining, reset_at
            FROM count_request('address:' || p_address, 'failure', p_failure_limit, p_now) c;
        at := coalesce(p_now, clock_timestamp());
        RETURN;
    END IF;
    SELECT c.allowed, c.remaining, c.reset_at INTO allowed, remaining, reset_at
        FROM count_request('key:' || key_id, p_bucket, p_limit, p_now) c;
    at := coalesce(p_now, clock_timestamp());
    IF used_at IS NULL OR used_at < at - interval '1 minute' THEN
        UPDATE api_keys k SET last_used_at = at WHERE k.id = authenticate.key_id;
    END IF;
END
$$;

-- The first request with an idempotency key wins. The lock lasts until the transaction ends, so a
-- second one that comes meanwhile is told so at once instead of waiting; a server that dies in
-- between leaves neither a lock nor an effect.
CREATE FUNCTION claim_idempotency(
    p_key_id text, p_method text, p_path text, p_idempotency_key text, p_digest bytea,
    p_now timestamptz,
    OUT outcome text, OUT status smallint, OUT body text, OUT location text
) LANGUAGE plpgsql AS $$
DECLARE
    found_row idempotency_keys;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(
        concat_ws(chr(31), p_key_id, p_method, p_path, p_idempotency_key), 1)) THEN
        outcome := 'running';
        RETURN;
    END IF;
    DELETE FROM idempotency_keys i WHERE i.key_id = p_key_id AND i.method = p_method
        AND i.path = p_path AND i.idempotency_key = p_idempotency_key
        AND i.created_at <= coalesce(p_now, clock_timestamp()) - interval '24 hours';
    SELECT * INTO found_row FROM idempotency_keys i WHERE i.key_id = p_key_id
        AND i.method = p_method AND i.path = p_path AND i.idempotency_key = p_idempotency_key;
    IF found_row.key_id IS NULL THEN
        outcome := 'claimed';
    ELSIF found_row.request_digest <> p_digest THEN
        outcome := 'mismatch';
    ELSE
        outcome := 'replay';
        status := found_row.status;
        body := found_row.body;
        location := found_row.location;
    END IF;
END
$$;

DO $$
DECLARE
    here text := current_schema();
BEGIN
    -- a fixed search_path: nobody can put a table of their own before ours
    EXECUTE format('ALTER FUNCTION authenticate SET search_path = %I, pg_temp', here);
    EXECUTE 'ALTER FUNCTION authenticate OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION authenticate FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION authenticate TO switchy_app';
END
$$;
