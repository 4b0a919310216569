-- What an organization may store, and how many notes may wait for their vectors.

-- What every organization may have that has nothing of its own below; 0 is unlimited. The servers'
-- settings: each writes them when it starts.
CREATE TABLE quota_defaults (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    spaces bigint NOT NULL,
    -- made by one MEMBER
    member_spaces bigint NOT NULL,
    sessions bigint NOT NULL,
    notes bigint NOT NULL,
    -- of notes and messages together
    bytes bigint NOT NULL,
    -- notes of one author that wait for their vectors
    waiting bigint NOT NULL
);

-- What the operator has given an organization instead; null is the default.
CREATE TABLE org_quotas (
    org_id text PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    spaces bigint,
    member_spaces bigint,
    sessions bigint,
    notes bigint,
    bytes bigint,
    waiting bigint
);

-- What an organization has, as a sum of parts. A transaction that writes takes a part that nobody
-- holds, and makes one where all are held: no writer waits for another, and there are never more parts
-- than there were writers at one moment.
CREATE TABLE org_usage (
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    part uuid NOT NULL DEFAULT gen_random_uuid(),
    spaces bigint NOT NULL,
    sessions bigint NOT NULL,
    notes bigint NOT NULL,
    bytes bigint NOT NULL,
    PRIMARY KEY (org_id, part)
) WITH (fillfactor = 50); -- every write changes a part in place

-- Notes that were written without vectors, and wait for them.
CREATE TABLE memory_backlog (
    memory_id text PRIMARY KEY,
    org_id text NOT NULL,
    author_user_id text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (org_id, memory_id) REFERENCES memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_backlog_author ON memory_backlog (org_id, author_user_id, since);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['quota_defaults', 'org_quotas', 'org_usage', 'memory_backlog'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        -- requests reach them through the triggers below alone
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;
-- but for this one: a note and its place among those that wait are written by one statement
GRANT INSERT ON memory_backlog TO switchy_app;
CREATE POLICY own_name ON memory_backlog FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND author_user_id = (SELECT caller_user()));

-- When a server embedded what waits, or found nothing to embed. Where none does, nobody is told to
-- wait until it has.
ALTER TABLE search_models ADD COLUMN embedding_at timestamptz;

-- Says no. The constraint's name tells the server which quota it was.
CREATE FUNCTION refuse_for_quota(p_quota text, p_message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'quota_' || p_quota,
        MESSAGE = p_message;
END
$$;

-- Counts what was added or removed, and refuses what goes beyond a quota. Other transactions that
-- are under way are not seen: what they add comes on top.
CREATE FUNCTION use_quota(
    p_org text, p_spaces bigint, p_sessions bigint, p_notes bigint, p_bytes bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    most record;
    quota record;
BEGIN
    UPDATE org_usage u SET spaces = u.spaces + p_spaces, sessions = u.sessions + p_sessions,
            notes = u.notes + p_notes, bytes = u.bytes + p_bytes
        WHERE u.org_id = p_org AND u.part = (
            SELECT f.part FROM org_usage f WHERE f.org_id = p_org LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        -- an organization that is going takes its parts along
        INSERT INTO org_usage (org_id, spaces, sessions, notes, bytes)
            SELECT o.id, p_spaces, p_sessions, p_notes, p_bytes FROM orgs o WHERE o.id = p_org;
    END IF;
    IF greatest(p_spaces, p_sessions, p_notes, p_bytes) <= 0 THEN
        RETURN; -- whoever removes something may, however much there is
    END IF;
    SELECT coalesce(q.spaces, d.spaces) AS spaces, coalesce(q.sessions, d.sessions) AS sessions,
            coalesce(q.notes, d.notes) AS notes, coalesce(q.bytes, d.bytes) AS bytes,
            u.spaces AS used_spaces, u.sessions AS used_sessions, u.notes AS used_notes,
            u.bytes AS used_bytes
        INTO most
        FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = p_org
        CROSS JOIN (
            SELECT sum(p.spaces) AS spaces, sum(p.sessions) AS sessions, sum(p.notes) AS notes,
                sum(p.bytes) AS bytes
            FROM org_usage p WHERE p.org_id = p_org
        ) u;
    IF (p_spaces > 0 AND most.spaces > 0 AND most.used_spaces > most.spaces)
        OR (p_sessions > 0 AND most.sessions > 0 AND most.used_sessions > most.sessions)
        OR (p_notes > 0 AND most.notes > 0 AND most.used_notes > most.notes)
        OR (p_bytes > 0 AND most.bytes > 0 AND most.used_bytes > most.bytes)
    THEN
        SELECT * INTO quota FROM (VALUES
            ('spaces', 'Spaces (archived ones count)', p_spaces, most.used_spaces, most.spaces),
            ('sessions', 'sessions (archived ones count)', p_sessions, most.used_sessions,
                most.sessions),
            ('notes', 'notes', p_notes, most.used_notes, most.notes),
            ('bytes', 'bytes of notes and messages', p_bytes, most.used_bytes, most.bytes)
        ) AS v(name, words, added, used, most)
        WHERE v.added > 0 AND v.most > 0 AND v.used > v.most LIMIT 1;
        PERFORM refuse_for_quota(quota.name, format(
            'this goes beyond the organization''s quota of %s %s: %s', quota.most, quota.words,
            CASE WHEN quota.name IN ('notes', 'bytes')
                THEN 'delete notes, or ask the operator of this server for more'
                ELSE 'ask the operator of this server for more' END));
    END IF;
END
$$;

CREATE FUNCTION count_notes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, count(*) AS notes, sum(octet_length(a.content)) AS bytes
            FROM added a GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, r.notes, r.bytes);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR r IN SELECT g.org_id, count(*) AS notes, sum(octet_length(g.content)) AS bytes
            FROM removed g GROUP BY g.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, -r.notes, -r.bytes);
        END LOOP;
    ELSE
        FOR r IN SELECT a.org_id, sum(octet_length(a.content) - octet_length(g.content)) AS bytes
            FROM added a JOIN removed g ON g.id = a.id WHERE a.content <> g.content
            GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, r.bytes);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_messages() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, sum(octet_length(a.body)
                + coalesce(octet_length(a.tool_calls::text), 0)
                + coalesce(octet_length(a.metadata::text), 0)) AS bytes
            FROM added a GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, r.bytes);
        END LOOP;
    ELSE
        FOR r IN SELECT g.org_id, sum(octet_length(g.body)
                + coalesce(octet_length(g.tool_calls::text), 0)
                + coalesce(octet_length(g.metadata::text), 0)) AS bytes
            FROM removed g GROUP BY g.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, -r.bytes);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_sessions() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, count(*) AS sessions FROM added a GROUP BY a.org_id LOOP
            PERFORM use_quota(r.org_id, 0, r.sessions, 0, 0);
        END LOOP;
    ELSE
        FOR r IN SELECT g.org_id, count(*) AS sessions FROM removed g GROUP BY g.org_id LOOP
            PERFORM use_quota(r.org_id, 0, -r.sessions, 0, 0);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION count_spaces() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r record;
    most bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        FOR r IN SELECT g.org_id, count(*) AS spaces FROM removed g GROUP BY g.org_id LOOP
            PERFORM use_quota(r.org_id, -r.spaces, 0, 0, 0);
        END LOOP;
        RETURN NULL;
    END IF;
    FOR r IN SELECT a.org_id, count(*) AS spaces FROM added a GROUP BY a.org_id LOOP
        PERFORM use_quota(r.org_id, r.spaces, 0, 0, 0);
    END LOOP;
    -- one MEMBER must not take all of them
    FOR r IN SELECT DISTINCT a.org_id, a.created_by_user_id AS maker
        FROM added a JOIN members m ON m.org_id = a.org_id AND m.user_id = a.created_by_user_id
        WHERE m.role = 'MEMBER'
    LOOP
        SELECT coalesce(q.member_spaces, d.member_spaces) INTO most
            FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = r.org_id;
        IF most > 0 AND most < (SELECT count(*) FROM spaces s
            WHERE s.org_id = r.org_id AND s.created_by_user_id = r.maker)
        THEN
            PERFORM refuse_for_quota('member_spaces', format(
                'a MEMBER may make %s Spaces (archived ones count), and you have: let an OWNER or '
                'ADMIN of the organization make it, or ask the operator of this server for more',
                most));
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

CREATE FUNCTION bound_backlog() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r record;
    most bigint;
    waits bigint;
BEGIN
    FOR r IN SELECT a.org_id, a.author_user_id, count(*) AS notes FROM added a GROUP BY 1, 2 LOOP
        SELECT coalesce(q.waiting, d.waiting) INTO most
            FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = r.org_id;
        IF most > 0 AND EXISTS (SELECT FROM search_models s
            WHERE s.embedding_at > clock_timestamp() - interval '20 minutes')
        THEN
            SELECT count(*) INTO waits FROM memory_backlog b
                WHERE b.org_id = r.org_id AND b.author_user_id = r.author_user_id;
            IF waits > most THEN
                PERFORM refuse_for_quota('waiting', format(
                    '%s of your notes wait to be embedded, and at most %s may: send these later',
                    waits - r.notes, most));
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;

-- from here on until the end of this transaction nobody writes, so that the count below is right
DO $$
DECLARE
    t text;
    f text;
BEGIN
    FOREACH t IN ARRAY ARRAY['memories', 'messages', 'sessions', 'spaces'] LOOP
        f := CASE t WHEN 'memories' THEN 'count_notes' ELSE 'count_' || t END;
        EXECUTE format('CREATE TRIGGER count_added AFTER INSERT ON %I
            REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION %I()', t, f);
        EXECUTE format('CREATE TRIGGER count_removed AFTER DELETE ON %I
            REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION %I()', t, f);
    END LOOP;
END
$$;
CREATE TRIGGER count_changed AFTER UPDATE ON memories
    REFERENCING OLD TABLE AS removed NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_notes();
CREATE TRIGGER bound AFTER INSERT ON memory_backlog
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION bound_backlog();

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['refuse_for_quota', 'use_quota', 'count_notes', 'count_messages',
        'count_sessions', 'count_spaces', 'bound_backlog']
    LOOP
        -- the two that others call have theirs: to set it once more takes longer than to count
        IF f NOT IN ('refuse_for_quota', 'use_quota') THEN
            EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        END IF;
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
    END LOOP;
END
$$;

-- what there is already
SET LOCAL ROLE switchy_system;
INSERT INTO org_usage (org_id, spaces, sessions, notes, bytes)
    SELECT o.id,
        (SELECT count(*) FROM spaces s WHERE s.org_id = o.id),
        (SELECT count(*) FROM sessions s WHERE s.org_id = o.id),
        (SELECT count(*) FROM memories m WHERE m.org_id = o.id),
        (SELECT coalesce(sum(octet_length(m.content)), 0) FROM memories m WHERE m.org_id = o.id)
            + (SELECT coalesce(sum(octet_length(m.body)
                + coalesce(octet_length(m.tool_calls::text), 0)
                + coalesce(octet_length(m.metadata::text), 0)), 0)
                FROM messages m WHERE m.org_id = o.id)
    FROM orgs o;
RESET ROLE;
