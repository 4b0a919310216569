DROP FUNCTION caller_is_member_of;
DROP FUNCTION claim_idempotency;
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
ALTER TABLE idempotency_keys DROP COLUMN rights;
DROP TRIGGER say_whose_key ON messages;
DROP TRIGGER say_whose_key ON memories;
DROP FUNCTION say_whose_key;
ALTER TABLE messages DROP COLUMN written_by_user_id;
ALTER TABLE memories DROP COLUMN written_by_user_id;
DROP FUNCTION actor_of_key;
-- The role of a member for whom a key wants to act, in the key's organization; nothing when he is
-- no member of it.
CREATE FUNCTION role_of_actor(p_key_id text, p_actor text) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT m.role FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = p_actor
        WHERE k.id = p_key_id
$$;
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION role_of_actor SET search_path = %I, pg_temp', current_schema());
    EXECUTE 'ALTER FUNCTION role_of_actor OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION role_of_actor FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION role_of_actor TO switchy_app';
END
$$;
ALTER POLICY caller ON idempotency_keys
    USING (org_id = (SELECT caller_org())
        AND (key_id = (SELECT acting_key()) OR EXISTS (SELECT FROM api_keys k
            WHERE k.id = key_id AND k.user_id = (SELECT caller_user()))));
ALTER POLICY caller ON sessions
    USING (org_id = (SELECT caller_org())
        AND space_id = ANY ((SELECT caller_spaces())::text[])
        AND (visibility = 'workspace' OR created_by_user_id = (SELECT caller_user())));
CREATE OR REPLACE FUNCTION private_reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN current_setting('switchy.private_notes', true) = 'closed' THEN ''
        ELSE caller_user() END;
DROP FUNCTION consenting_caller;
DROP FUNCTION caller_consents, key_that_acts;
DROP TABLE delegations;
ALTER TABLE api_keys DROP CONSTRAINT api_keys_holder;
