-- Calls that may not touch PRIVATE notes, and keys that act for another member.
--
-- Over MCP, PRIVATE notes are closed unless a call says for whom it is made. A setting of the
-- transaction says so, and both layers read it: the queries' predicate binds the same reader.

-- As whom the caller may read PRIVATE notes: himself, or nobody.
CREATE FUNCTION private_reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN current_setting('switchy.private_notes', true) = 'closed' THEN ''
        ELSE caller_user() END;

-- The key with which somebody else acts for the caller; empty otherwise.
CREATE FUNCTION acting_key() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('switchy.acting_key', true), '');

ALTER POLICY caller ON memories
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT private_reader()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
ALTER POLICY caller ON memory_embeddings
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT private_reader()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
-- what a key was answered is also known to whom the same key acts for
ALTER POLICY caller ON idempotency_keys
    USING (org_id = (SELECT caller_org())
        AND (key_id = (SELECT acting_key()) OR EXISTS (SELECT FROM api_keys k
            WHERE k.id = key_id AND k.user_id = (SELECT caller_user()))));

-- One line of lexical_candidates changes, whatever the rest of it has become: whose PRIVATE notes
-- are looked at. It looks as its owner, so no policy does that for it.
DO $$
DECLARE
    old text := pg_get_functiondef('lexical_candidates(text, text, integer, integer)'::regprocedure);
    new text := replace(old, 'me text := caller_user();', 'me text := private_reader();');
BEGIN
    IF new = old THEN
        RAISE EXCEPTION 'lexical_candidates no longer says whose PRIVATE notes it looks at';
    END IF;
    EXECUTE new;
END
$$;

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
