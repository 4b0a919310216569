DROP POLICY own_note ON memory_expansions;
DROP POLICY own_note ON memory_embeddings;
DROP POLICY editors_only ON spaces;
CREATE POLICY editors_only ON spaces AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (caller_edits(id) OR (SELECT caller_owns_org()))
    WITH CHECK (true);
ALTER POLICY caller_takes_back ON message_reactions
    USING (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
ALTER POLICY caller_reacts ON message_reactions
    WITH CHECK (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
ALTER POLICY caller_posts ON messages
    WITH CHECK (org_id = (SELECT caller_org()) AND author_user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
DROP POLICY caller_admits ON session_participants;
DROP POLICY caller ON session_participants;
CREATE POLICY caller ON session_participants TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id));
GRANT UPDATE, DELETE ON session_participants TO switchy_app;
DROP POLICY changers_only ON sessions;
DROP POLICY writers_only ON sessions;
GRANT UPDATE ON sessions TO switchy_app;
DROP FUNCTION is_anothers_note;
DROP FUNCTION lock_session;
