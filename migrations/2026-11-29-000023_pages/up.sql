-- A refused request writes nothing; lists are read a page at a time; letters to one address are few.

-- One request against one limit: never more than p_limit in any 60 seconds, across all servers.
-- Exact up to 1,000 (a log of the hits); above that two fixed windows, weighted. A refused request
-- is not counted, and so writes nothing: no row, no version of one, and no lock that a row keeps.
-- Hence an advisory lock, which is in memory alone and lasts as long as this one statement. p_now is
-- the test's clock; the database's own otherwise, read under the lock so that times in one log never
-- run backwards.
CREATE OR REPLACE FUNCTION count_request(
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
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), p_subject, p_bucket), 3));
    -- a statement of its own: it sees what was committed while this one waited
    SELECT * INTO r FROM rate_limits WHERE subject = p_subject AND bucket = p_bucket;
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
    IF NOT allowed THEN
        RETURN;
    END IF;
    -- `touched_at` decides what is forgotten after a day: to the hour is enough, and spares the
    -- index over it an entry for each request
    UPDATE rate_limits l SET hits = r.hits, window_start = r.window_start,
            window_hits = coalesce(r.window_hits, 0), previous_hits = coalesce(r.previous_hits, 0),
            touched_at = CASE WHEN l.touched_at <= t - interval '1 hour' THEN t
                ELSE l.touched_at END
        WHERE l.subject = p_subject AND l.bucket = p_bucket;
    IF NOT FOUND THEN
        INSERT INTO rate_limits (subject, bucket, hits, window_start, window_hits, previous_hits,
                touched_at)
            VALUES (p_subject, p_bucket, r.hits, r.window_start, coalesce(r.window_hits, 0),
                coalesce(r.previous_hits, 0), t);
    END IF;
END
$$;
-- room beside each row for its next version, which then needs no entries in the indexes
ALTER TABLE rate_limits SET (fillfactor = 50);

-- Who calls, and may they now? One round trip for both. p_digest NULL stands for a key that its
-- checksum already refused: only the address is counted then. Who may not leaves no trace: neither
-- in the limits nor at the key.
CREATE OR REPLACE FUNCTION authenticate(
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
    IF allowed AND (used_at IS NULL OR used_at < at - interval '1 minute') THEN
        -- of several at the same moment, one
        UPDATE api_keys k SET last_used_at = at WHERE k.id = authenticate.key_id
            AND (k.last_used_at IS NULL OR k.last_used_at < at - interval '1 minute');
    END IF;
END
$$;

-- The caller takes the invitation with this digest: as before, but that one which is over is refused
-- before anything is locked, since a lock on a row is a write.
CREATE OR REPLACE FUNCTION accept_invitation(
    p_digest bytea, p_now timestamptz,
    OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text,
    OUT name text, OUT joined_at timestamptz
) LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    i invitations;
    u users;
    t timestamptz;
BEGIN
    SELECT * INTO i FROM invitations x WHERE x.digest = p_digest;
    IF i.id IS NULL THEN
        outcome := 'absent';
        RETURN;
    END IF;
    SELECT * INTO u FROM users x WHERE x.id = caller_user();
    IF u.id IS NULL OR lower(u.email) <> lower(i.email) THEN
        outcome := 'another';
        RETURN;
    END IF;
    -- what is over stays over
    IF i.status <> 'PENDING' THEN
        outcome := i.status;
        RETURN;
    END IF;
    IF i.expires_at <= coalesce(p_now, clock_timestamp()) THEN
        outcome := 'EXPIRED';
        RETURN;
    END IF;
    PERFORM FROM orgs o WHERE o.id = i.org_id FOR NO KEY UPDATE;
    SELECT * INTO i FROM invitations x WHERE x.digest = p_digest FOR UPDATE;
    IF i.id IS NULL THEN
        outcome := 'absent';
        RETURN;
    END IF;
    t := coalesce(p_now, clock_timestamp());
    IF i.status <> 'PENDING' THEN
        outcome := i.status;
        RETURN;
    END IF;
    IF i.expires_at <= t THEN
        outcome := 'EXPIRED';
        RETURN;
    END IF;
    INSERT INTO members AS m (org_id, user_id, role, joined_at) VALUES (i.org_id, u.id, i.role, t)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'member';
        RETURN;
    END IF;
    UPDATE invitations x SET status = 'ACCEPTED', ended_at = t, accepted_by_user_id = u.id
        WHERE x.id = i.id;
    outcome := 'joined';
    org_id := i.org_id;
    user_id := u.id;
    role := i.role;
    email := u.email;
    name := u.name;
    joined_at := t;
END
$$;

-- Pages. Each order below is one in which a list is answered, with the id that breaks ties: the next
-- page begins where the last one ended, and not at the beginning.
DROP INDEX sessions_space;
CREATE INDEX sessions_space ON sessions (org_id, space_id, updated_at DESC, id DESC);
CREATE INDEX api_keys_listed ON api_keys (org_id, created_at DESC, id DESC)
    WHERE revoked_at IS NULL;
CREATE INDEX space_members_listed ON space_members (space_id, joined_at, user_id);
CREATE INDEX invitations_listed ON invitations (org_id, created_at DESC, id DESC);

-- How much a session's own texts take in an answer. Labels may have half a megabyte: a list must
-- know that before it reads them.
ALTER TABLE sessions ADD COLUMN bytes integer NOT NULL GENERATED ALWAYS AS (
    octet_length(coalesce(title, '')) + octet_length(coalesce(description, ''))
    + octet_length(coalesce(model, '')) + octet_length(coalesce(default_agent, ''))
    + octet_length(labels::text)) STORED;

-- Letters.

-- The mailbox behind an address, as far as its writing tells: case, what follows a `+`, and the dots
-- that one large provider ignores, make no other one.
CREATE FUNCTION mailbox(p_address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN lower(p_address) ~ '@(gmail|googlemail)\.com$'
        THEN replace(regexp_replace(lower(p_address), '^([^@+]+)?.*$', '\1'), '.', '')
            || '@gmail.com'
        ELSE regexp_replace(lower(p_address), '^([^@+]+)\+[^@]*@', '\1@') END;

ALTER TABLE invitation_mails
    -- no letter was written, since the address had enough of them
    ADD COLUMN held boolean NOT NULL DEFAULT false,
    ADD CHECK (NOT held OR (nonce IS NULL AND sent_at IS NULL));
GRANT SELECT (held), INSERT (held) ON invitation_mails TO switchy_app;
CREATE INDEX invitations_mailbox ON invitations (mailbox(email), created_at);

-- Whether the caller's org may send a letter to this address now. From here to the end of the
-- transaction nobody else gets an answer for the same mailbox, so that of many who ask at the same
-- moment, whatever their orgs, no more than the limits are told yes.
--
-- In p_hours: p_org letters from this org, or p_known once somebody has accepted an invitation of
-- this org under the address; p_all from all orgs together; p_letters of this org, whomever to. A
-- letter counts once it was sent, or may still be; one that no mail server took does not.
--
-- SECURITY DEFINER: the letters of other orgs count, and none of them is shown.
CREATE FUNCTION may_mail(
    p_address text, p_org integer, p_known integer, p_all integer, p_letters integer,
    p_hours integer, p_now timestamptz
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    since timestamptz;
    own bigint;
    everybodys bigint;
    letters bigint;
    known boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(mailbox(p_address), 4));
    since := coalesce(p_now, clock_timestamp()) - make_interval(hours => p_hours);
    SELECT count(*) FILTER (WHERE i.org_id = caller_org()), count(*) INTO own, everybodys
        FROM invitations i JOIN invitation_mails m ON m.invitation_id = i.id
        WHERE mailbox(i.email) = mailbox(p_address) AND i.created_at > since
            AND (m.sent_at IS NOT NULL OR m.next_attempt_at IS NOT NULL
                OR (m.attempts > 0 AND m.last_error IS NULL));
    SELECT count(*) INTO letters
        FROM invitations i JOIN invitation_mails m ON m.invitation_id = i.id
        WHERE i.org_id = caller_org() AND i.created_at > since AND NOT m.held;
    known := EXISTS (SELECT FROM invitations i
        WHERE i.org_id = caller_org() AND mailbox(i.email) = mailbox(p_address)
            AND i.status = 'ACCEPTED');
    RETURN everybodys < p_all AND letters < p_letters
        AND own < CASE WHEN known THEN p_known ELSE p_org END;
END
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['authenticate', 'accept_invitation', 'may_mail'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
    END LOOP;
    EXECUTE 'ALTER FUNCTION may_mail OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION may_mail FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION may_mail TO switchy_app';
END
$$;
