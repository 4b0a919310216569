DROP TRIGGER wake ON space_members;
DROP TRIGGER wake ON members;
DROP TRIGGER wake ON api_keys;
DROP TRIGGER wake_changed ON api_keys;
DROP TRIGGER wake ON spaces;
DROP TRIGGER tell ON sessions;
DROP TABLE session_events, message_reactions, messages;
DROP FUNCTION scopes_of_live_key, wake_streams, tell_of_session, tell_of_reaction, tell_of_message,
    record_session_event, number_message;
ALTER TABLE sessions DROP COLUMN last_message_seq, DROP COLUMN last_message_at,
    DROP COLUMN last_event_seq;
