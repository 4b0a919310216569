-- Members and invitations: who may change the organization's people, and what follows from it.

-- Whether the caller is an OWNER or ADMIN of the org.
CREATE FUNCTION caller_manages_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM members m
            WHERE m.org_id = caller_org() AND m.user_id = caller_user()
                AND m.role IN ('OWNER', 'ADMIN'));
    END;

CREATE TABLE invitations (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('ADMIN', 'MEMBER')),
    status text NOT NULL DEFAULT 'PENDING'
        CHECK (status IN ('PENDING', 'ACCEPTED', 'REVOKED', 'EXPIRED')),
    -- HMAC-SHA-256 of the token under the server's secret; the token itself is nowhere
    digest bytea NOT NULL UNIQUE,
    invited_by_user_id text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- when it was accepted or revoked, or seen to have expired
    ended_at timestamptz,
    accepted_by_user_id text REFERENCES users ON DELETE SET NULL,
    CHECK ((status = 'PENDING') = (ended_at IS NULL)),
    UNIQUE (org_id, id)
);
-- one at a time for each address, whoever invites at the same moment
CREATE UNIQUE INDEX invitations_pending ON invitations (org_id, lower(email))
    WHERE status = 'PENDING';
-- for those whose time is over
CREATE INDEX invitations_expiring ON invitations (expires_at) WHERE status = 'PENDING';
CREATE INDEX invitations_inviter ON invitations (invited_by_user_id);
CREATE INDEX invitations_accepter ON invitations (accepted_by_user_id)
    WHERE accepted_by_user_id IS NOT NULL;

-- The letters that invitations are still to be sent with, written in the transaction that invites.
CREATE TABLE invitation_mails (
    invitation_id text PRIMARY KEY,
    org_id text NOT NULL,
    -- what the server makes the token from once more, under its secret; gone when nothing is left
    -- to be sent
    nonce bytea,
    attempts smallint NOT NULL DEFAULT 0,
    -- the earliest next attempt; null when there will be none
    next_attempt_at timestamptz,
    sent_at timestamptz,
    last_error text,
    CHECK ((nonce IS NULL) = (next_attempt_at IS NULL)),
    FOREIGN KEY (org_id, invitation_id) REFERENCES invitations (org_id, id) ON DELETE CASCADE
);
CREATE INDEX invitation_mails_due ON invitation_mails (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['invitations', 'invitation_mails'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- An OWNER changes roles. OWNERs and ADMINs remove members, ADMINs no OWNER, and anybody himself.
-- Nobody inserts: members come by accept_invitation, or from the operator.
GRANT UPDATE (role), DELETE ON members TO switchy_app;
CREATE POLICY caller_promotes ON members FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_owns_org()));
CREATE POLICY caller_dismisses ON members FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND (user_id = (SELECT caller_user())
            OR (SELECT caller_owns_org())
            OR (role <> 'OWNER' AND (SELECT caller_manages_org()))));

-- Invitations are the business of OWNERs and ADMINs alone. The app role never reads digests, nor
-- what tokens are made from.
GRANT SELECT (id, org_id, email, role, status, invited_by_user_id, created_at, expires_at, ended_at),
    INSERT (id, org_id, email, role, digest, invited_by_user_id, created_at, expires_at),
    UPDATE (status, ended_at) ON invitations TO switchy_app;
CREATE POLICY caller ON invitations FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_manages_org()));
CREATE POLICY caller_invites ON invitations FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND (SELECT caller_manages_org())
        AND status = 'PENDING' AND invited_by_user_id = (SELECT caller_user()));
-- what is over stays over, and only accept_invitation makes it ACCEPTED
CREATE POLICY caller_ends ON invitations FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_manages_org())
        AND status = 'PENDING')
    WITH CHECK (org_id = (SELECT caller_org()) AND status IN ('REVOKED', 'EXPIRED'));

GRANT SELECT (invitation_id, org_id, next_attempt_at, sent_at),
    INSERT (invitation_id, org_id, nonce, next_attempt_at) ON invitation_mails TO switchy_app;
CREATE POLICY caller ON invitation_mails FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (SELECT caller_manages_org()));
CREATE POLICY caller_invites ON invitation_mails FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND (SELECT caller_manages_org()));

-- From here to the end of the transaction, nobody else changes who is in the caller's org with
-- which role, so that "is he the last OWNER?" and "how many are invited?" have one answer. Returns
-- the roles of the caller and of p_user now, which is later than when the key was looked up.
--
-- SECURITY DEFINER, because locking a row needs the right to change it. NO KEY UPDATE, because that
-- stands in the way of nobody who merely refers to the org.
CREATE FUNCTION lock_members(
    p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint
) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM orgs o WHERE o.id = caller_org() FOR NO KEY UPDATE;
    -- a statement of its own: it sees what was committed while this one waited
    SELECT max(m.role) FILTER (WHERE m.user_id = caller_user()),
            max(m.role) FILTER (WHERE m.user_id = p_user),
            count(*) FILTER (WHERE m.role = 'OWNER')
        INTO caller_role, user_role, owners
        FROM members m WHERE m.org_id = caller_org();
END
$$;

-- Whoever leaves an org, in whatever way, leaves it whole: his keys of it are revoked, and stay so
-- should he come back; an invitation that would bring him back is revoked; a Space whose only OWNER
-- he was goes to the one who has been an EDITOR of it longest, else to its longest MEMBER. VIEWERs
-- get no say by somebody's leaving, and the org's OWNERs and ADMINs no sight: with nobody to take
-- it over, the Space has no OWNER.
-- His memberships of Spaces and sessions go by their foreign keys.
CREATE FUNCTION leave_org() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    his text[];
BEGIN
    PERFORM FROM orgs o WHERE o.id = OLD.org_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN OLD; -- the org itself is being deleted
    END IF;
    UPDATE api_keys k SET revoked_at = clock_timestamp()
        WHERE k.org_id = OLD.org_id AND k.user_id = OLD.user_id AND k.revoked_at IS NULL;
    UPDATE invitations i SET status = 'REVOKED', ended_at = clock_timestamp()
        WHERE i.org_id = OLD.org_id AND i.status = 'PENDING'
            AND lower(i.email) = (SELECT lower(u.email) FROM users u WHERE u.id = OLD.user_id);
    -- two OWNERs of one Space who leave at the same moment must not each rely on the other
    SELECT array_agg(s.id) INTO his FROM (
        SELECT s.id FROM spaces s
        WHERE s.org_id = OLD.org_id AND EXISTS (SELECT FROM space_members m
            WHERE m.space_id = s.id AND m.user_id = OLD.user_id AND m.role = 'OWNER')
        ORDER BY s.id FOR NO KEY UPDATE
    ) s;
    UPDATE space_members m SET role = 'OWNER'
        FROM (
            SELECT DISTINCT ON (h.space_id) h.space_id, h.user_id
            FROM space_members h
            WHERE h.space_id = ANY (his) AND h.user_id <> OLD.user_id
                AND h.role IN ('EDITOR', 'MEMBER')
                AND NOT EXISTS (SELECT FROM space_members o WHERE o.space_id = h.space_id
                    AND o.user_id <> OLD.user_id AND o.role = 'OWNER')
            ORDER BY h.space_id, h.role, h.joined_at, h.user_id
        ) heir
        WHERE m.space_id = heir.space_id AND m.user_id = heir.user_id;
    RETURN OLD;
END
$$;
-- BEFORE: afterwards his memberships of the Spaces are gone
CREATE TRIGGER leave_org BEFORE DELETE ON members FOR EACH ROW EXECUTE FUNCTION leave_org();

-- An invitation that is over is mailed no more.
CREATE FUNCTION end_invitation() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE invitation_mails m SET nonce = NULL, next_attempt_at = NULL
        WHERE m.invitation_id = NEW.id AND m.next_attempt_at IS NOT NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER end_invitation AFTER UPDATE OF status ON invitations FOR EACH ROW
    WHEN (NEW.status <> 'PENDING') EXECUTE FUNCTION end_invitation();

-- The caller takes the invitation with this digest, into whichever org it leads: the one thing that
-- reaches beyond the org of the caller's key. Only he whose address was invited learns anything of
-- it. The locks (first the org's, as everywhere) make two who come at once one after the other.
CREATE FUNCTION accept_invitation(
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
    FOREACH f IN ARRAY ARRAY['lock_members', 'leave_org', 'end_invitation', 'accept_invitation'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION lock_members, accept_invitation TO switchy_app;
