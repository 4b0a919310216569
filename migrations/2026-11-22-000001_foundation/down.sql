DROP FUNCTION claim_idempotency, authenticate, count_request, caller_spaces, caller_owns_org,
    owned_by_caller, founded_by_caller CASCADE;
DROP TABLE idempotency_keys, rate_limits, server_secrets, api_keys, session_participants, sessions,
    space_members, spaces, members, users, orgs CASCADE;
DROP FUNCTION caller_org, caller_user;
-- the roles stay: another database of the cluster may use them
