DROP FUNCTION role_of_actor;
DO $$
BEGIN
    EXECUTE replace(
        pg_get_functiondef('lexical_candidates(text, text, integer, integer)'::regprocedure),
        'me text := private_reader();', 'me text := caller_user();');
END
$$;
ALTER POLICY caller ON idempotency_keys
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM api_keys k
            WHERE k.id = key_id AND k.user_id = (SELECT caller_user())));
ALTER POLICY caller ON memory_embeddings
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT caller_user()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
ALTER POLICY caller ON memories
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT caller_user()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
DROP FUNCTION acting_key, private_reader;
