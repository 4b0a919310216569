DROP FUNCTION literal_messages;
DROP FUNCTION lexical_messages;
DROP TRIGGER follow_session ON sessions;
DROP FUNCTION follow_session;
DROP TRIGGER index_message ON messages;
DROP FUNCTION index_message;
DROP TABLE message_index;
DROP FUNCTION message_keys;
DROP FUNCTION message_word_key(text, text, text);
