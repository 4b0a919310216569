DROP FUNCTION rotate_key, lock_keys;
DROP POLICY own_or_managed ON api_keys;
DROP POLICY caller_mints ON api_keys;
DROP POLICY caller_revokes ON api_keys;
REVOKE INSERT (id, org_id, user_id, name, prefix, digest, scopes, created_at, expires_at),
    UPDATE (revoked_at) ON api_keys FROM switchy_app;
-- caller_manages_org stays: it is not this migration's alone
