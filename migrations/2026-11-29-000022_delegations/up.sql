-- Acting for another member: for whom a key may act at all, what is the member's alone until they
-- have consented, and whose key has really written something.

-- What a delegation says of its key must stay true of it.
ALTER TABLE api_keys ADD CONSTRAINT api_keys_holder UNIQUE (org_id, id, user_id);

-- A member lets somebody else's key reach what is theirs alone: PRIVATE notes and private sessions.
-- It ends when they say so, when the key is revoked or expires, and when either of the two leaves.
CREATE TABLE delegations (
    org_id text NOT NULL,
    -- who consents
    user_id text NOT NULL,
    -- to which key, and whose it is
    key_id text NOT NULL,
    key_user_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key_id),
    CHECK (user_id <> key_user_id),
    FOREIGN KEY (org_id, user_id) REFERENCES members (org_id, user_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, key_user_id) REFERENCES members (org_id, user_id) ON DELETE CASCADE,
    FOREIGN KEY (org_id, key_id, key_user_id) REFERENCES api_keys (org_id, id, user_id)
        ON DELETE CASCADE
);
CREATE INDEX delegations_key ON delegations (org_id, key_id, key_user_id);
CREATE INDEX delegations_holder ON delegations (org_id, key_user_id);

ALTER TABLE delegations ENABLE ROW LEVEL SECURITY;
ALTER TABLE delegations FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON delegations TO switchy_system;
CREATE POLICY system ON delegations TO switchy_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON delegations TO switchy_app;

-- Nobody but the member consents, knows of it and ends it; and a key that acts for them does not
-- consent to itself.
CREATE POLICY caller ON delegations FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user()));
CREATE POLICY caller_allows ON delegations FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND (SELECT acting_key()) = '');
CREATE POLICY caller_ends ON delegations FOR DELETE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user()));

-- A live key of the caller's organization that may act for others; nothing otherwise.
--
-- SECURITY DEFINER, because a MEMBER sees no key but their own, and must see whom they let act.
CREATE FUNCTION key_that_acts(p_key text, p_now timestamptz)
RETURNS TABLE (user_id text, name text, prefix text)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT k.user_id, k.name, k.prefix
    FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
    WHERE k.id = p_key AND k.org_id = caller_org() AND 'act_on_behalf' = ANY (k.scopes)
        AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()))
$$;

-- Whether the caller has consented to the key that acts for them.
--
-- SECURITY DEFINER, so that the answer does not depend on the policies that ask.
CREATE FUNCTION caller_consents() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM delegations d WHERE d.user_id = caller_user()
        AND d.key_id = acting_key() AND d.org_id = caller_org())
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['key_that_acts', 'caller_consents'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_app', f);
    END LOOP;
END
$$;

-- As whom what is one member's alone may be reached: the caller; nobody, where somebody else's key
-- acts for them without their consent.
CREATE FUNCTION consenting_caller() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN acting_key() = '' OR caller_consents() THEN caller_user() ELSE '' END;

CREATE OR REPLACE FUNCTION private_reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN current_setting('switchy.private_notes', true) = 'closed' THEN ''
        ELSE consenting_caller() END;

ALTER POLICY caller ON sessions
    USING (org_id = (SELECT caller_org())
        AND space_id = ANY ((SELECT caller_spaces())::text[])
        AND (visibility = 'workspace' OR created_by_user_id = (SELECT consenting_caller())));

-- What the member was answered by keys of their own is nothing for a key that acts for them.
ALTER POLICY caller ON idempotency_keys
    USING (org_id = (SELECT caller_org())
        AND CASE WHEN (SELECT acting_key()) = '' THEN EXISTS (SELECT FROM api_keys k
                WHERE k.id = key_id AND k.user_id = (SELECT caller_user()))
            ELSE key_id = (SELECT acting_key()) END);

-- For whom a key may act, and as what: for its own user; an OWNER's and an ADMIN's also for members
-- of no higher role than theirs. Nothing for anybody else. And whether what is that member's alone
-- is open to it.
DROP FUNCTION role_of_actor;
CREATE FUNCTION actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean)
RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT actor.role, actor.user_id = k.user_id OR EXISTS (SELECT FROM delegations d
            WHERE d.user_id = actor.user_id AND d.key_id = k.id AND d.org_id = k.org_id)
    FROM api_keys k
        JOIN members holder ON holder.org_id = k.org_id AND holder.user_id = k.user_id
        JOIN members actor ON actor.org_id = k.org_id AND actor.user_id = p_actor
    WHERE k.id = p_key_id AND (actor.user_id = k.user_id OR CASE holder.role
        WHEN 'OWNER' THEN true
        WHEN 'ADMIN' THEN actor.role IN ('ADMIN', 'MEMBER')
        ELSE false END)
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION actor_of_key SET search_path = %I, pg_temp', current_schema());
    EXECUTE 'ALTER FUNCTION actor_of_key OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION actor_of_key FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION actor_of_key TO switchy_app';
END
$$;

-- Whose key has written something in its author's name. Empty where it was the author's own.
ALTER TABLE memories ADD COLUMN written_by_user_id text REFERENCES users;
ALTER TABLE messages ADD COLUMN written_by_user_id text REFERENCES users;

-- The database says it, and whoever writes cannot say otherwise.
CREATE FUNCTION say_whose_key() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.written_by_user_id := OLD.written_by_user_id;
        RETURN NEW;
    END IF;
    NEW.written_by_user_id := (SELECT k.user_id FROM api_keys k WHERE k.id = acting_key());
    RETURN NEW;
END
$$;
CREATE TRIGGER say_whose_key BEFORE INSERT OR UPDATE OF written_by_user_id ON memories FOR EACH ROW
    WHEN (acting_key() <> '' OR NEW.written_by_user_id IS NOT NULL)
    EXECUTE FUNCTION say_whose_key();
CREATE TRIGGER say_whose_key BEFORE INSERT OR UPDATE OF written_by_user_id ON messages FOR EACH ROW
    WHEN (acting_key() <> '' OR NEW.written_by_user_id IS NOT NULL)
    EXECUTE FUNCTION say_whose_key();

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION say_whose_key SET search_path = %I, pg_temp', current_schema());
    EXECUTE 'ALTER FUNCTION say_whose_key OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION say_whose_key FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION say_whose_key TO switchy_app';
END
$$;

-- What a kept answer takes to be shown once more: it is looked at again each time. Answers of before
-- take nothing; they are forgotten within a day.
ALTER TABLE idempotency_keys ADD COLUMN rights text[] NOT NULL DEFAULT '{}';

-- As before, and with what the answer takes.
DROP FUNCTION claim_idempotency;
CREATE FUNCTION claim_idempotency(
    p_key_id text, p_method text, p_path text, p_idempotency_key text, p_digest bytea,
    p_now timestamptz,
    OUT outcome text, OUT status smallint, OUT body text, OUT location text, OUT rights text[]
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
        rights := found_row.rights;
    END IF;
END
$$;

-- Whether the caller is a member of an organization, the key's or another: of their own, everybody
-- may know that.
CREATE FUNCTION caller_is_member_of(p_org text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM members m WHERE m.org_id = p_org AND m.user_id = caller_user())
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION caller_is_member_of SET search_path = %I, pg_temp',
        current_schema());
    EXECUTE 'ALTER FUNCTION caller_is_member_of OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION caller_is_member_of FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION caller_is_member_of TO switchy_app';
END
$$;
