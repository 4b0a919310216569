-- Sessions and transcripts that agents save from outside (the Save Session dialect).
ALTER TABLE sessions
    -- what the client said last; shown is the larger of this and the number of stored messages
    ADD COLUMN message_count integer NOT NULL DEFAULT 0 CHECK (message_count >= 0);

ALTER TABLE messages
    -- as the transcript has it; null: a native message, whose author says it
    ADD COLUMN role text CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    -- the calls that an assistant's message makes, as its provider shapes them
    ADD COLUMN tool_calls jsonb CHECK (jsonb_typeof(tool_calls) = 'array'),
    -- the call that a tool's message answers
    ADD COLUMN tool_call_id text,
    -- the message that this one continues; threads of native messages are another thing
    ADD COLUMN follows_message_id text,
    ADD FOREIGN KEY (org_id, session_id, follows_message_id)
        REFERENCES messages (org_id, session_id, id) ON DELETE CASCADE,
    -- Every message has both ids, as every session has. Rewrites the table: the policies of
    -- messages do not let an UPDATE of this login see the rows.
    ALTER COLUMN external_id TYPE uuid USING coalesce(external_id, gen_random_uuid()),
    ALTER COLUMN external_id SET DEFAULT gen_random_uuid(),
    ALTER COLUMN external_id SET NOT NULL;
CREATE INDEX messages_follows ON messages (org_id, session_id, follows_message_id)
    WHERE follows_message_id IS NOT NULL;
