-- Messages, reactions, and the events that tell of them.
--
-- Everything that happens in a session is numbered under the lock of the session's row, which is
-- held until the commit. So numbers have no gaps, and whoever sees number n sees every number
-- below it: paging and resuming can rely on that. The triggers below number, whatever writes.
ALTER TABLE sessions
    -- the number of the newest message, and so the number of messages: none is ever deleted
    ADD COLUMN last_message_seq bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_message_at timestamptz,
    -- the number of the newest event
    ADD COLUMN last_event_seq bigint NOT NULL DEFAULT 0;

CREATE TABLE messages (
    id text PRIMARY KEY,
    org_id text NOT NULL,
    session_id text NOT NULL,
    -- given by number_message: 1 for the session's first message
    seq bigint NOT NULL,
    -- an id that the writer brought along; native messages have none
    external_id uuid,
    author_type text NOT NULL CHECK (author_type IN ('USER', 'AGENT', 'SYSTEM')),
    -- an AGENT posts on behalf of a user; the SYSTEM speaks for nobody
    author_user_id text REFERENCES users,
    author_agent text,
    body text NOT NULL,
    parent_message_id text,
    -- kept by tell_of_message: counting would put every reply under the policy
    reply_count bigint NOT NULL DEFAULT 0,
    mentions text[] NOT NULL DEFAULT '{}',
    model text,
    -- what the generation took; all of the first five or none
    input_tokens bigint,
    output_tokens bigint,
    cache_read_input_tokens bigint,
    cache_creation_input_tokens bigint,
    tool_call_count integer,
    -- null: no rate is known for it
    cost_usd numeric,
    metadata jsonb,
    -- given by number_message: whole milliseconds, and no two of a session are equal
    created_at timestamptz NOT NULL,
    CHECK (author_type = 'SYSTEM' OR author_user_id IS NOT NULL),
    CHECK ((author_type = 'AGENT') = (author_agent IS NOT NULL)),
    CHECK (num_nulls(input_tokens, output_tokens, cache_read_input_tokens,
        cache_creation_input_tokens, tool_call_count) IN (0, 5)),
    CHECK (cost_usd IS NULL OR input_tokens IS NOT NULL),
    UNIQUE (org_id, session_id, seq),
    UNIQUE (org_id, session_id, id),
    UNIQUE (org_id, session_id, external_id),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions (org_id, id) ON DELETE CASCADE,
    -- a reply stays in the session of what it replies to
    FOREIGN KEY (org_id, session_id, parent_message_id)
        REFERENCES messages (org_id, session_id, id) ON DELETE CASCADE
);
CREATE INDEX messages_replies ON messages (org_id, session_id, parent_message_id)
    WHERE parent_message_id IS NOT NULL;

CREATE TABLE message_reactions (
    org_id text NOT NULL,
    session_id text NOT NULL,
    message_id text NOT NULL,
    user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    emoji text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (message_id, user_id, emoji),
    FOREIGN KEY (org_id, session_id, message_id)
        REFERENCES messages (org_id, session_id, id) ON DELETE CASCADE
);
CREATE INDEX message_reactions_message ON message_reactions (org_id, session_id, message_id);

-- What happened in a session, kept for as long as a stream may be resumed.
CREATE TABLE session_events (
    org_id text NOT NULL,
    session_id text NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    -- the message that it is about
    message_id text,
    payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, session_id, seq),
    FOREIGN KEY (org_id, session_id) REFERENCES sessions (org_id, id) ON DELETE CASCADE
);
CREATE INDEX session_events_created ON session_events (created_at);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['messages', 'message_reactions', 'session_events'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO switchy_app', t);
        -- Who sees the session sees what is in it; the sub-select is subject to that policy.
        -- OFFSET 0 keeps PostgreSQL from hashing all sessions that the caller sees (2,000 of them:
        -- 5 ms a table) where one is looked up by its id.
        EXECUTE format('CREATE POLICY caller ON %I FOR SELECT TO switchy_app
            USING (org_id = (SELECT caller_org())
                AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0))', t);
    END LOOP;
END
$$;

-- What was said is never changed or deleted, and events are written by the triggers alone.
GRANT INSERT ON messages TO switchy_app;
GRANT INSERT, DELETE ON message_reactions TO switchy_app;

-- nobody says anything in another's name
CREATE POLICY caller_posts ON messages FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND author_user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
CREATE POLICY caller_reacts ON message_reactions FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
CREATE POLICY caller_takes_back ON message_reactions FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));

-- Numbers a message and gives it its time. A number is used up even when the row is then left out,
-- so messages must not be inserted with ON CONFLICT DO NOTHING. Times are strictly increasing in
-- the milliseconds that are shown, also when the clock is not: sorting by time is sorting by
-- number.
CREATE FUNCTION number_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    t timestamptz;
BEGIN
    SELECT s.last_message_seq + 1, coalesce(NEW.created_at, clock_timestamp()),
            greatest(date_trunc('milliseconds', coalesce(NEW.created_at, clock_timestamp())),
                s.last_message_at + interval '1 millisecond')
        INTO NEW.seq, t, NEW.created_at
        FROM sessions s WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id FOR UPDATE;
    UPDATE sessions s SET last_message_seq = NEW.seq, last_message_at = NEW.created_at,
            updated_at = greatest(s.updated_at, NEW.created_at, t)
        WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id;
    RETURN NEW;
END
$$;
CREATE TRIGGER number BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION number_message();

-- Writes an event, and wakes whoever follows the session. The notification says which session, and
-- nothing of what happened: any login of the database may listen.
CREATE FUNCTION record_session_event(
    p_org_id text, p_session_id text, p_type text, p_message_id text, p_payload jsonb,
    p_at timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
BEGIN
    UPDATE sessions s SET last_event_seq = s.last_event_seq + 1
        WHERE s.org_id = p_org_id AND s.id = p_session_id
        RETURNING s.last_event_seq INTO number;
    IF number IS NULL THEN
        RETURN; -- the session itself is going, and this with it
    END IF;
    INSERT INTO session_events (org_id, session_id, seq, type, message_id, payload, created_at)
        VALUES (p_org_id, p_session_id, number, p_type, p_message_id, p_payload, p_at);
    PERFORM pg_notify('switchy_events', 'session:' || p_session_id);
END
$$;

CREATE FUNCTION tell_of_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM record_session_event(
        NEW.org_id, NEW.session_id, 'message.created', NEW.id, '{}', NEW.created_at);
    -- nobody else counts: whoever posts holds the session's lock
    UPDATE messages m SET reply_count = m.reply_count + 1
        WHERE m.org_id = NEW.org_id AND m.session_id = NEW.session_id
            AND m.id = NEW.parent_message_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION tell_of_message();

CREATE FUNCTION tell_of_reaction() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    r message_reactions;
    kind text;
    at timestamptz;
    reactions bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        r := NEW;
        kind := 'reaction.added';
        at := NEW.created_at;
    ELSE
        r := OLD;
        kind := 'reaction.removed';
        at := clock_timestamp();
    END IF;
    -- counted under the lock, so that the event with the highest number has the count that stays
    PERFORM FROM sessions s WHERE s.org_id = r.org_id AND s.id = r.session_id FOR UPDATE;
    SELECT count(*) INTO reactions FROM message_reactions m
        WHERE m.message_id = r.message_id AND m.emoji = r.emoji;
    PERFORM record_session_event(r.org_id, r.session_id, kind, r.message_id,
        jsonb_build_object('emoji', r.emoji, 'user_id', r.user_id, 'count', reactions), at);
    RETURN NULL;
END
$$;
CREATE TRIGGER tell AFTER INSERT OR DELETE ON message_reactions
    FOR EACH ROW EXECUTE FUNCTION tell_of_reaction();

CREATE FUNCTION tell_of_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM record_session_event(NEW.org_id, NEW.id,
        CASE WHEN OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL
            THEN 'session.archived' ELSE 'session.updated' END,
        NULL, '{}', greatest(NEW.updated_at, NEW.archived_at));
    RETURN NULL;
END
$$;
-- only what somebody changed: a message that bumps updated_at has an event of its own
CREATE TRIGGER tell AFTER UPDATE OF title, description, default_agent, model, visibility, labels,
        archived_at ON sessions
    FOR EACH ROW WHEN (
        (OLD.title, OLD.description, OLD.default_agent, OLD.model, OLD.visibility, OLD.labels,
            OLD.archived_at)
        IS DISTINCT FROM
        (NEW.title, NEW.description, NEW.default_agent, NEW.model, NEW.visibility, NEW.labels,
            NEW.archived_at))
    EXECUTE FUNCTION tell_of_session();

-- What ends a stream wakes it too: it then finds out by itself.
CREATE FUNCTION wake_streams() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('switchy_events', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;
CREATE TRIGGER wake AFTER DELETE ON space_members
    FOR EACH ROW EXECUTE FUNCTION wake_streams('user', 'user_id');
CREATE TRIGGER wake AFTER DELETE ON members
    FOR EACH ROW EXECUTE FUNCTION wake_streams('user', 'user_id');
CREATE TRIGGER wake AFTER DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION wake_streams('key', 'id');
CREATE TRIGGER wake_changed AFTER UPDATE OF revoked_at, expires_at, digest, scopes ON api_keys
    FOR EACH ROW EXECUTE FUNCTION wake_streams('key', 'id');
CREATE TRIGGER wake AFTER UPDATE OF archived_at ON spaces
    FOR EACH ROW EXECUTE FUNCTION wake_streams('space', 'id');

-- The scopes of the caller's own key, while it may be used. What a stream asks again and again:
-- nothing is counted, and only by its digest is a key the one that it was before a rotation.
CREATE FUNCTION scopes_of_live_key(p_digest bytea, p_now timestamptz) RETURNS text[]
    LANGUAGE sql SECURITY DEFINER AS $$
    SELECT k.scopes
        FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
        WHERE k.digest = p_digest AND k.org_id = caller_org() AND k.user_id = caller_user()
            AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()))
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['number_message()', 'tell_of_message()', 'tell_of_reaction()',
        'tell_of_session()', 'scopes_of_live_key(bytea, timestamptz)']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %s OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
    EXECUTE 'GRANT EXECUTE ON FUNCTION scopes_of_live_key TO switchy_app';
END
$$;
