-- Who changes Spaces, who is in them, and notes: what until now only the queries said about
-- writing, the policies say too.

-- Whether the caller is in the live Space, as more than a VIEWER.
CREATE FUNCTION caller_writes_in(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM space_members m JOIN spaces s ON s.id = m.space_id
            WHERE m.space_id = space AND m.user_id = caller_user() AND m.role <> 'VIEWER'
                AND s.archived_at IS NULL);
    END;

-- Whether the caller is an OWNER or EDITOR of the live Space.
CREATE FUNCTION caller_edits(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM space_members m JOIN spaces s ON s.id = m.space_id
            WHERE m.space_id = space AND m.user_id = caller_user()
                AND m.role IN ('OWNER', 'EDITOR') AND s.archived_at IS NULL);
    END;

-- Whether the caller is an OWNER or ADMIN of the org.
CREATE OR REPLACE FUNCTION caller_manages_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM members m
            WHERE m.org_id = caller_org() AND m.user_id = caller_user()
                AND m.role IN ('OWNER', 'ADMIN'));
    END;

-- A Space's slug, org and founder never change; of a membership, the role alone does.
REVOKE UPDATE ON spaces, space_members FROM switchy_app;
GRANT UPDATE (name, description, tags, default_model, updated_at, archived_at) ON spaces
    TO switchy_app;
GRANT UPDATE (role) ON space_members TO switchy_app;

-- The Space's OWNER and EDITOR change it; the org's OWNER archives it, even from outside.
CREATE POLICY editors_only ON spaces AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (caller_edits(id) OR (SELECT caller_owns_org()))
    WITH CHECK (true);

-- From here to the end of the transaction, nobody else changes who is in the Space with which
-- role, so that "is he the last OWNER?" has one answer. Returns the roles of the caller and of
-- p_user now; nothing when there is no such live Space.
--
-- SECURITY DEFINER, because locking a row needs the right to change it, which somebody who leaves
-- need not have. NO KEY UPDATE, because that stands in the way of nobody who merely refers to the
-- Space.
CREATE FUNCTION lock_space_members(
    p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint
) LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM FROM spaces s
        WHERE s.id = p_space AND s.org_id = caller_org() AND s.archived_at IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        owners := 0;
        RETURN;
    END IF;
    -- a statement of its own: it sees what was committed while this one waited
    SELECT max(m.role) FILTER (WHERE m.user_id = caller_user()),
            max(m.role) FILTER (WHERE m.user_id = p_user),
            count(*) FILTER (WHERE m.role = 'OWNER')
        INTO caller_role, user_role, owners
        FROM space_members m WHERE m.space_id = p_space;
END
$$;

-- Who leaves a Space, in whatever way, takes part in its sessions no more. What he wrote stays.
CREATE FUNCTION leave_space() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM session_participants p USING sessions s
        WHERE s.org_id = OLD.org_id AND s.space_id = OLD.space_id
            AND p.session_id = s.id AND p.user_id = OLD.user_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER leave_space AFTER DELETE ON space_members
    FOR EACH ROW EXECUTE FUNCTION leave_space();

-- Notes. Seeing one is not enough to write it: a VIEWER writes none in his Space, the author alone
-- changes one, and besides him the Space's OWNER and EDITOR, for ORG the org's OWNER and ADMIN,
-- delete one.
CREATE POLICY writers_only ON memories AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (visibility <> 'SPACE' OR caller_writes_in(space_id));
CREATE POLICY author_only ON memories AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (author_user_id = (SELECT caller_user()))
    WITH CHECK (author_user_id = (SELECT caller_user())
        AND (visibility <> 'SPACE' OR caller_writes_in(space_id)));
CREATE POLICY removers_only ON memories AS RESTRICTIVE FOR DELETE TO switchy_app
    USING (author_user_id = (SELECT caller_user())
        OR (visibility = 'SPACE' AND caller_edits(space_id))
        OR (visibility = 'ORG' AND (SELECT caller_manages_org())));

-- What notes are found by follows them. Cascades and follow_memory run as somebody else, whom
-- these do not concern.
CREATE POLICY writers_only ON memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (visibility <> 'SPACE' OR caller_writes_in(space_id));
CREATE POLICY author_only ON memory_embeddings AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (author_user_id = (SELECT caller_user()));
CREATE POLICY author_removes ON memory_embeddings AS RESTRICTIVE FOR DELETE TO switchy_app
    USING (author_user_id = (SELECT caller_user()));
CREATE POLICY author_only ON memory_expansions AS RESTRICTIVE FOR UPDATE TO switchy_app
    USING (EXISTS (SELECT FROM memories m
        WHERE m.id = memory_id AND m.author_user_id = (SELECT caller_user())));
CREATE POLICY author_removes ON memory_expansions AS RESTRICTIVE FOR DELETE TO switchy_app
    USING (EXISTS (SELECT FROM memories m
        WHERE m.id = memory_id AND m.author_user_id = (SELECT caller_user())));

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lock_space_members', 'leave_space'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION lock_space_members TO switchy_app;
