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
