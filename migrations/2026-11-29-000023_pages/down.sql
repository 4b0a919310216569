DROP INDEX invitations_mailbox;
DROP FUNCTION may_mail;
DROP FUNCTION mailbox;
ALTER TABLE invitation_mails DROP COLUMN held;
ALTER TABLE sessions DROP COLUMN bytes;
DROP INDEX invitations_listed, space_members_listed, api_keys_listed, sessions_space;
CREATE INDEX sessions_space ON sessions (org_id, space_id, updated_at DESC);
ALTER TABLE rate_limits RESET (fillfactor);

-- As before, see there.
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
    IF used_at IS NULL OR used_at < at - interval '1 minute' THEN
        UPDATE api_keys k SET last_used_at = at WHERE k.id = authenticate.key_id;
    END IF;
END
$$;

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

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['authenticate', 'accept_invitation'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
    END LOOP;
END
$$;
