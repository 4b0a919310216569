-- Everything that an operation can be about, once for each number: made anew for every call that
-- would use it up. Ids follow from what they are of and the number.
CREATE FUNCTION an_id(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT 'c' || rpad(kind, 14, '0') || lpad(n::text, 10, '0')
$$;

CREATE FUNCTION a_uuid(kind int, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT ('00000000-0000-4000-8000-' || kind::text || lpad(n::text, 11, '0'))::uuid
$$;

-- What the stage before left behind. `tag` is in the name of everything that has one.
CREATE PROCEDURE clear_stage(n bigint, p_org text, p_caller text, p_host text, tag text)
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM memories WHERE author_user_id IN (p_caller, p_host);
    DELETE FROM mcp_servers WHERE org_id = p_org AND mention_slug LIKE tag || '-%';
    DELETE FROM spaces WHERE org_id = p_org AND created_by_user_id IN (p_caller, p_host);
    DELETE FROM api_keys WHERE user_id IN (p_caller, p_host) AND name <> 'test';
    DELETE FROM invitations WHERE invited_by_user_id IN (p_caller, p_host);
    DELETE FROM members WHERE org_id = p_org AND user_id = ANY (ARRAY[an_id('uguest', n),
        an_id('unobody', n), an_id('umember', n), an_id('uadmin', n), an_id('uowner', n)]);
END
$$;

CREATE PROCEDURE set_stage(n bigint, p_org text, p_caller text, p_host text, p_role text, tag text)
LANGUAGE plpgsql AS $$
DECLARE
    of_session record;
    of_note record;
    r text;
BEGIN
    INSERT INTO users (id, email)
        SELECT an_id(u, n), u || n || '@stage.test'
        FROM unnest(ARRAY['uguest', 'unobody', 'umember', 'uadmin', 'uowner']) u;
    INSERT INTO members (org_id, user_id, role)
        SELECT p_org, an_id(u, n), v
        FROM unnest(ARRAY['uguest', 'unobody', 'umember', 'uadmin', 'uowner'],
            ARRAY['MEMBER', 'MEMBER', 'MEMBER', 'ADMIN', 'OWNER']) t(u, v);

    INSERT INTO spaces (id, org_id, slug, name, created_by_user_id)
        VALUES (an_id('space', n), p_org, 's' || n, 'Space ' || n, p_host);
    INSERT INTO space_members (org_id, space_id, user_id, role) VALUES
        (p_org, an_id('space', n), p_host, 'OWNER'),
        (p_org, an_id('space', n), an_id('uguest', n), 'MEMBER');
    IF p_role <> 'none' THEN
        INSERT INTO space_members (org_id, space_id, user_id, role)
            VALUES (p_org, an_id('space', n), p_caller, p_role);
    END IF;

    FOR of_session IN SELECT * FROM (VALUES
        ('own', 1, p_caller, 'workspace'), ('ownprivate', 2, p_caller, 'private'),
        ('theirs', 3, p_host, 'workspace'), ('hidden', 4, p_host, 'private')
    ) AS v (kind, number, creator, visibility) LOOP
        INSERT INTO sessions (id, external_id, org_id, space_id, title, model,
                created_by_user_id, visibility)
            VALUES (an_id('s' || of_session.kind, n), a_uuid(of_session.number, n), p_org,
                an_id('space', n), of_session.kind, 'm', of_session.creator,
                of_session.visibility);
        INSERT INTO messages (id, org_id, session_id, author_type, author_user_id, body)
            VALUES (an_id('m' || of_session.kind, n), p_org, an_id('s' || of_session.kind, n),
                'USER', of_session.creator, 'said');
    END LOOP;

    FOR of_note IN SELECT * FROM (VALUES ('own', p_caller), ('their', p_host)) AS v (kind, author)
    LOOP
        FOREACH r IN ARRAY ARRAY['PRIVATE', 'SPACE', 'ORG'] LOOP
            INSERT INTO memories (id, org_id, space_id, author_user_id, visibility, content)
                VALUES (an_id('n' || of_note.kind || lower(r), n), p_org,
                    CASE r WHEN 'SPACE' THEN an_id('space', n) END, of_note.author, r,
                    'zulu ' || n);
        END LOOP;
    END LOOP;

    INSERT INTO api_keys (id, org_id, user_id, name, prefix, digest, scopes) VALUES
        (an_id('kown', n), p_org, p_caller, 'spare', 'x', sha256(('own' || n)::bytea), '{}'),
        (an_id('ktheirs', n), p_org, p_host, 'spare', 'x', sha256(('theirs' || n)::bytea), '{}'),
        (an_id('kacts', n), p_org, p_host, 'spare', 'x', sha256(('acts' || n)::bytea),
            '{act_on_behalf}'),
        (an_id('kguests', n), p_org, p_host, 'spare', 'x', sha256(('guests' || n)::bytea),
            '{act_on_behalf}');
    INSERT INTO delegations (org_id, user_id, key_id, key_user_id) VALUES
        (p_org, p_caller, an_id('kacts', n), p_host),
        (p_org, an_id('uguest', n), an_id('kguests', n), p_host);
    INSERT INTO invitations (id, org_id, email, role, digest, invited_by_user_id, created_at,
            expires_at)
        VALUES (an_id('invitation', n), p_org, 'invited' || n || '@stage.test', 'MEMBER',
            sha256(('invitation' || n)::bytea), p_host, now(), now() + interval '1 day');
    INSERT INTO mcp_servers (id, org_id, display_name, mention_slug, endpoint_url, auth_type,
            next_check_at)
        VALUES (an_id('mcp', n), p_org, 'x', tag || '-' || n, 'https://127.0.0.1:1/', 'NONE', 'infinity');
    INSERT INTO space_mcp_servers (org_id, space_id, server_id)
        VALUES (p_org, an_id('space', n), an_id('mcp', n));
END
$$;
