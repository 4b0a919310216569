-- Keys: who mints, rotates and revokes them through the API.
--
-- The app role still reads no digest. It writes one in two places only: into a new row of the
-- caller's own, and, by rotate_key, over the digest of a key that is the caller's own.

-- Whether the caller is an OWNER or ADMIN of the org.
CREATE OR REPLACE FUNCTION caller_manages_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT EXISTS (SELECT FROM members m
            WHERE m.org_id = caller_org() AND m.user_id = caller_user()
                AND m.role IN ('OWNER', 'ADMIN'));
    END;

GRANT INSERT (id, org_id, user_id, name, prefix, digest, scopes, created_at, expires_at),
    UPDATE (revoked_at) ON api_keys TO switchy_app;

-- A key is its user's business, and that of the org's OWNERs and ADMINs.
CREATE POLICY own_or_managed ON api_keys AS RESTRICTIVE FOR SELECT TO switchy_app
    USING (user_id = (SELECT caller_user()) OR (SELECT caller_manages_org()));
-- A key acts as its user: nobody mints one for somebody else, whatever his role.
CREATE POLICY caller_mints ON api_keys FOR INSERT TO switchy_app
    WITH CHECK (org_id = (SELECT caller_org()) AND user_id = (SELECT caller_user())
        AND (SELECT caller_manages_org()));
-- What is revoked stays so, and nothing but revoked_at can be changed.
CREATE POLICY caller_revokes ON api_keys FOR UPDATE TO switchy_app
    USING (org_id = (SELECT caller_org()) AND revoked_at IS NULL
        AND (user_id = (SELECT caller_user()) OR (SELECT caller_manages_org())))
    WITH CHECK (org_id = (SELECT caller_org()) AND revoked_at IS NOT NULL);

-- From here to the end of the transaction, nobody else mints a key for the caller, so that "how
-- many has he?" has one answer. Tells that, and when the key that he uses will expire.
--
-- An advisory lock, because there may be no row of his that could be locked.
CREATE FUNCTION lock_keys(
    p_key text, p_now timestamptz, OUT live bigint, OUT expires_at timestamptz
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(
        concat_ws(chr(31), caller_org(), caller_user()), 2));
    -- a statement of its own: it sees what was committed while this one waited
    SELECT count(*) FILTER (WHERE k.expires_at IS NULL
                OR k.expires_at > coalesce(p_now, clock_timestamp())),
            max(k.expires_at) FILTER (WHERE k.id = p_key)
        INTO live, expires_at
        FROM api_keys k
        WHERE k.org_id = caller_org() AND k.user_id = caller_user() AND k.revoked_at IS NULL;
END
$$;

-- Gives a live key of the caller's own another secret; the old one is worth nothing from the
-- moment that this is committed. Says whether there was such a key.
--
-- SECURITY DEFINER: a grant could not tell the caller's own keys from those that he may revoke.
CREATE FUNCTION rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamptz)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE api_keys k SET digest = p_digest, prefix = p_prefix
        WHERE k.id = p_key AND k.org_id = caller_org() AND k.user_id = caller_user()
            AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()));
    RETURN FOUND;
END
$$;

DO $$
DECLARE
    here text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION rotate_key SET search_path = %I, pg_temp', here);
    EXECUTE 'ALTER FUNCTION rotate_key OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION rotate_key FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION rotate_key TO switchy_app';
END
$$;
