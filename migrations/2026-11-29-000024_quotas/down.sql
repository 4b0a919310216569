DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['memories', 'messages', 'sessions', 'spaces'] LOOP
        EXECUTE format('DROP TRIGGER count_added ON %I', t);
        EXECUTE format('DROP TRIGGER count_removed ON %I', t);
    END LOOP;
END
$$;
DROP TRIGGER count_changed ON memories;
DROP TABLE memory_backlog, org_usage, org_quotas, quota_defaults;
DROP FUNCTION bound_backlog, count_spaces, count_sessions, count_messages, count_notes, use_quota,
    refuse_for_quota;
ALTER TABLE search_models DROP COLUMN embedding_at;
