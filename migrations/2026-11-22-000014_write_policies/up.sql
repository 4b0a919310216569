-- What a role may write in Spaces and sessions, said a second time: until now only the queries said
-- that a VIEWER writes nothing, and that a session is changed by its creator and the Space's OWNER
-- and EDITOR.

-- Locks a session until the transaction ends, and says when it was archived.
--
-- SECURITY DEFINER, because SELECT ... FOR UPDATE is subject to the policies of UPDATE: who posts in
-- a session locks it, and need not have the right to change it.
CREATE FUNCTION lock_session(p_session text) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    archived timestamptz;
BEGIN
    SELECT s.archived_at INTO archived FROM sessions s
        WHERE s.id = p_session AND s.org_id = caller_org() FOR UPDATE;
    RETURN archived;
END
$$;

-- Whether there is a note with this id that somebody else has written. A note and what it is found
-- by come in one statement, which cannot see the note yet: then there is none.
CREATE FUNCTION is_anothers_note(p_memory text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    SELECT EXISTS (SELECT FROM memories m
        WHERE m.id = p_memory AND m.author_user_id <> caller_user())
$$;

-- Sessions. Where one is, whose, and both its ids never change.
REVOKE UPDATE ON sessions FROM switchy_app;
GRANT UPDATE (title, description, default_agent, model, visibility, labels, message_count,
    updated_at, archived_at) ON sessions TO switchy_app;
CREATE POLICY writers_only ON sessions AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (caller_writes_in(space_id));
CREATE POLICY changers_only ON sessions AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING ((created_by_user_id = (SELECT caller_user()) AND caller_writes_in(space_id))
        OR caller_edits(space_id));

-- Who takes part: whoever writes says so. Nobody takes anybody out: leave_space does.
-- OFFSET 0, as for messages: one session is looked up by its id, where a hash of all that the
-- caller sees would be built.
REVOKE UPDATE, DELETE ON session_participants FROM switchy_app;
DROP POLICY caller ON session_participants;
CREATE POLICY caller ON session_participants FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id OFFSET 0));
CREATE POLICY caller_admits ON session_participants FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM sessions s
            WHERE s.id = session_id AND caller_writes_in(s.space_id) OFFSET 0));

-- Messages and reactions: in live sessions, by those who write in the Space.
ALTER POLICY caller_posts ON messages
    WITH CHECK (org_id = (SELECT caller_org()) AND author_user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id AND s.archived_at IS NULL
            AND caller_writes_in(s.space_id) OFFSET 0));
ALTER POLICY caller_reacts ON message_reactions
    WITH CHECK (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id AND s.archived_at IS NULL
            AND caller_writes_in(s.space_id) OFFSET 0));
ALTER POLICY caller_takes_back ON message_reactions
    USING (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND EXISTS (SELECT FROM sessions s WHERE s.id = session_id AND s.archived_at IS NULL
            AND caller_writes_in(s.space_id) OFFSET 0));

-- Spaces: an EDITOR changes one and does not archive it; an OWNER of the org, from outside, archives
-- it and changes nothing else. What is archived stays so.
DROP POLICY editors_only ON spaces;
CREATE POLICY editors_only ON spaces AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (archived_at IS NULL AND (caller_edits(id) OR (SELECT caller_owns_org())))
    WITH CHECK (CASE WHEN archived_at IS NULL THEN caller_edits(id)
        ELSE owned_by_caller(id) OR (SELECT caller_owns_org()) END);

-- Nobody makes another's note be found by what it does not say.
CREATE POLICY own_note ON memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (NOT is_anothers_note(memory_id));
CREATE POLICY own_note ON memory_expansions AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (NOT is_anothers_note(memory_id));

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lock_session', 'is_anothers_note'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_app', f);
    END LOOP;
END
$$;
