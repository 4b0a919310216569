DROP INDEX messages_follows;
ALTER TABLE messages
    ALTER COLUMN external_id DROP NOT NULL,
    ALTER COLUMN external_id DROP DEFAULT,
    DROP COLUMN follows_message_id,
    DROP COLUMN tool_call_id,
    DROP COLUMN tool_calls,
    DROP COLUMN role;
ALTER TABLE sessions DROP COLUMN message_count;
