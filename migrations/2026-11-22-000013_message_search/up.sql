-- What was said, found again by its words.
--
-- Beside the messages, not in them: what search needs is narrow, and nothing but the functions below
-- reads it. A bucket is what the same people see: the shared sessions of a Space, and in it the
-- private ones of one creator.
CREATE TABLE message_index (
    org_id text NOT NULL,
    session_id text NOT NULL,
    message_id text PRIMARY KEY,
    seq bigint NOT NULL,
    space_id text NOT NULL,
    -- whose session it is, while it is a private one
    private_to text,
    tsv tsvector NOT NULL,
    term_count integer NOT NULL,
    FOREIGN KEY (org_id, session_id, message_id)
        REFERENCES messages (org_id, session_id, id) ON DELETE CASCADE
);
CREATE INDEX message_index_session ON message_index (org_id, session_id, message_id);
CREATE INDEX message_index_space ON message_index (org_id, space_id, private_to)
    INCLUDE (term_count);

CREATE FUNCTION message_word_key(space_id text, private_to text, lexeme text)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(space_id || coalesce(' ' || private_to, '') || '=' || lexeme, 0);

-- The words of a message, each as its bucket's own: no search reads the entries of messages that
-- its caller cannot see, however many there are. Two words may share a key: what is found by it is
-- compared with the word itself afterwards.
CREATE FUNCTION message_keys(space_id text, private_to text, tsv tsvector)
RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 2000
BEGIN ATOMIC
    SELECT array_agg(message_word_key(space_id, private_to, w.lexeme))
    FROM unnest(tsvector_to_array(tsv)) AS w(lexeme);
END;

CREATE INDEX message_index_keys ON message_index
    USING gin (message_keys(space_id, private_to, tsv)) WITH (gin_pending_list_limit = 256);

ALTER TABLE message_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE message_index FORCE ROW LEVEL SECURITY;
-- requests reach it through the functions alone
GRANT SELECT, INSERT, UPDATE, DELETE ON message_index TO switchy_system;
CREATE POLICY system ON message_index TO switchy_system USING (true) WITH CHECK (true);

-- What is looked for in a message: PostgreSQL takes a megabyte of words at most, so of an endless
-- one its beginning is.
CREATE FUNCTION index_message() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    words tsvector := to_tsvector('english', left(NEW.body, 100000));
BEGIN
    INSERT INTO message_index AS i
            (org_id, session_id, message_id, seq, space_id, private_to, tsv, term_count)
        SELECT NEW.org_id, NEW.session_id, NEW.id, NEW.seq, s.space_id,
            CASE s.visibility WHEN 'workspace' THEN NULL ELSE s.created_by_user_id END,
            words, coalesce((SELECT sum(cardinality(u.positions)) FROM unnest(words) u), 0)
        FROM sessions s WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id
        ON CONFLICT (message_id) DO UPDATE SET tsv = excluded.tsv, term_count = excluded.term_count;
    RETURN NULL;
END
$$;
CREATE TRIGGER index_message AFTER INSERT OR UPDATE OF body ON messages
    FOR EACH ROW EXECUTE FUNCTION index_message();

-- Messages follow their session to others' eyes.
CREATE FUNCTION follow_session() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE message_index i SET space_id = NEW.space_id,
            private_to = CASE NEW.visibility WHEN 'workspace' THEN NULL
                ELSE NEW.created_by_user_id END
        WHERE i.org_id = NEW.org_id AND i.session_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_session AFTER UPDATE OF space_id, visibility, created_by_user_id ON sessions
    FOR EACH ROW WHEN ((OLD.space_id, OLD.visibility, OLD.created_by_user_id)
        IS DISTINCT FROM (NEW.space_id, NEW.visibility, NEW.created_by_user_id))
    EXECUTE FUNCTION follow_session();

-- what was said before
SET LOCAL ROLE switchy_system;
INSERT INTO message_index
        (org_id, session_id, message_id, seq, space_id, private_to, tsv, term_count)
    SELECT m.org_id, m.session_id, m.id, m.seq, s.space_id,
        CASE s.visibility WHEN 'workspace' THEN NULL ELSE s.created_by_user_id END,
        w.words, coalesce((SELECT sum(cardinality(u.positions)) FROM unnest(w.words) u), 0)
    FROM messages m JOIN sessions s ON s.org_id = m.org_id AND s.id = m.session_id,
        LATERAL (SELECT to_tsvector('english', left(m.body, 100000)) AS words) w;
RESET ROLE;

-- The caller's best messages of a Space by BM25 (k1 1.2, b 0.75): where they are, and scores. What
-- stands around a message counts towards it: a turn away with 0.4 of its weight, two turns away with
-- 0.2, so that a question and its answer are found together, though the words are spread over both.
--
-- Rare words bring the candidates; a word that more than p_budget messages have only scores what
-- others brought. Where the question has none but such words, messages with the two longest of them
-- come first. How many messages have a word is counted among those that the caller can see.
--
-- SECURITY DEFINER for the reason that lexical_candidates has; the messages themselves are read
-- under the policy afterwards.
CREATE FUNCTION lexical_messages(
    p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text,
    p_session text, p_author text, p_agent text, p_after timestamptz, p_before timestamptz
) RETURNS TABLE (message_id text, session_id text, seq bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    lexemes text[];
    asked tsquery[];
    total double precision;
    average double precision;
    known_in bigint[] := '{}';
    frequent text[] := '{}';
    word text;
    found tid[];
    rows tid[] := '{}';
BEGIN
    IF p_space <> ALL (caller_spaces()) THEN
        RETURN;
    END IF;
    SELECT array_agg(q.lexeme ORDER BY q.at), array_agg((
            '''' || replace(replace(q.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
            ORDER BY q.at)
        INTO lexemes, asked
        FROM (
            SELECT u.lexeme, u.positions[1] AS at FROM unnest(to_tsvector('english', p_query)) u
            ORDER BY u.positions[1] LIMIT p_terms
        ) q;
    IF lexemes IS NULL THEN
        RETURN;
    END IF;

    -- sessions know how many messages they have; how long those are, a thousand of them tell
    SELECT coalesce(sum(s.last_message_seq), 0) INTO total FROM sessions s
        WHERE s.org_id = org AND s.space_id = p_space
            AND (s.visibility = 'workspace' OR s.created_by_user_id = me);
    SELECT greatest(avg(i.term_count), 1) INTO average FROM (
            SELECT m.term_count FROM message_index m
            WHERE m.org_id = org AND m.space_id = p_space
                AND (m.private_to IS NULL OR m.private_to = me)
            LIMIT 1000
        ) i;

    FOREACH word IN ARRAY lexemes LOOP
        found := ARRAY(
            SELECT m.ctid FROM message_index m
            WHERE message_keys(m.space_id, m.private_to, m.tsv)
                && ARRAY[message_word_key(p_space, NULL, word), message_word_key(p_space, me, word)]
            LIMIT p_budget + 1);
        known_in := known_in || cardinality(found)::bigint;
        IF cardinality(found) > p_budget THEN
            frequent := frequent || word;
        ELSE
            rows := rows || found;
        END IF;
    END LOOP;
    IF p_session IS NOT NULL THEN
        -- one session is read whole
        rows := ARRAY(SELECT m.ctid FROM message_index m
            WHERE m.org_id = org AND m.session_id = p_session);
    ELSIF cardinality(rows) < p_limit AND cardinality(frequent) > 0 THEN
        SELECT array_agg(f.word ORDER BY length(f.word) DESC, f.word) INTO frequent
            FROM unnest(frequent) AS f(word);
        rows := rows || ARRAY(
            SELECT m.ctid FROM message_index m
            WHERE message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, frequent[1]),
                        message_word_key(p_space, me, frequent[1])]
                AND (frequent[2] IS NULL OR message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, frequent[2]),
                        message_word_key(p_space, me, frequent[2])])
            LIMIT p_budget);
        IF cardinality(rows) < p_limit THEN
            rows := rows || ARRAY(
                SELECT m.ctid FROM message_index m
                WHERE message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, frequent[1]),
                        message_word_key(p_space, me, frequent[1])]
                LIMIT p_budget);
        END IF;
    END IF;

    RETURN QUERY
    WITH matching AS MATERIALIZED (
        -- concatenated with nothing, a tsvector is unpacked once, not once for every word
        SELECT m.message_id, m.session_id, m.seq, m.term_count, m.tsv || ''::tsvector AS tsv
        FROM message_index m
        WHERE m.ctid = ANY (rows) AND m.org_id = org AND m.space_id = p_space
            AND (m.private_to IS NULL OR m.private_to = me)
    ), hits AS MATERIALIZED (
        -- how often a word occurs: see lexical_candidates
        SELECT c.message_id, c.session_id, c.seq, c.term_count, t.number,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM matching c, unnest(asked) WITH ORDINALITY AS t(term, number)
        WHERE c.tsv @@ t.term
    ), around AS (
        SELECT h.session_id, h.seq + d.distance AS seq, h.number, sum(h.tf * d.weight) AS tf
        FROM hits h
        CROSS JOIN (VALUES (0, 1.0), (-1, 0.4), (1, 0.4), (-2, 0.2), (2, 0.2))
            AS d(distance, weight)
        GROUP BY 1, 2, 3
    ), scored AS (
        SELECT h.message_id, h.session_id, h.seq,
            sum(ln(1 + greatest(total - w.known + 0.5, 0.5) / (w.known + 0.5))
                * a.tf * 2.2 / (a.tf + 1.2 * (0.25 + 0.75 * h.term_count / average))) AS score
        FROM (SELECT DISTINCT i.message_id, i.session_id, i.seq, i.term_count FROM hits i) h
        JOIN around a ON a.session_id = h.session_id AND a.seq = h.seq
        JOIN unnest(known_in) WITH ORDINALITY AS w(known, number) ON w.number = a.number
        GROUP BY 1, 2, 3
    )
    SELECT s.message_id, s.session_id, s.seq, s.score::double precision
    FROM scored s JOIN messages m ON m.id = s.message_id
    WHERE (p_author IS NULL OR m.author_user_id = p_author)
        AND (p_agent IS NULL OR m.author_agent = p_agent)
        AND (p_after IS NULL OR m.created_at >= p_after)
        AND (p_before IS NULL OR m.created_at < p_before)
    ORDER BY s.score DESC, m.created_at DESC, s.message_id DESC LIMIT p_limit;
END
$$;

-- The caller's messages of a Space that contain pieces literally, by how many of them: for scripts
-- without spaces, emoji, and words that the dictionary throws away. Reads all of them.
CREATE FUNCTION literal_messages(
    p_pieces text[], p_limit integer, p_space text,
    p_session text, p_author text, p_agent text, p_after timestamptz, p_before timestamptz
) RETURNS TABLE (message_id text, session_id text, seq bigint, score double precision)
LANGUAGE sql STABLE SECURITY DEFINER AS $$
    WITH pieces AS (
        -- words that the dictionary throws away only when there is nothing else: `our` is in every
        -- `colour`; a word of another script leaves no lexeme either, hence the look at its bytes
        SELECT coalesce(array_agg(p) FILTER (WHERE NOT (p ~ '[a-z]'
            AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')),
            array_agg(p)) AS wanted
        FROM unnest(p_pieces) p
    ), found AS (
        SELECT m.id, m.session_id, m.seq, m.created_at, (SELECT count(*) FROM unnest(
            (SELECT wanted FROM pieces)) piece WHERE position(piece IN lower(m.body)) > 0) AS pieces
        FROM sessions s JOIN messages m ON m.org_id = s.org_id AND m.session_id = s.id
        WHERE s.org_id = caller_org() AND s.space_id = p_space
            AND p_space = ANY (caller_spaces())
            AND (s.visibility = 'workspace' OR s.created_by_user_id = caller_user())
            AND (p_session IS NULL OR s.id = p_session)
            AND (p_author IS NULL OR m.author_user_id = p_author)
            AND (p_agent IS NULL OR m.author_agent = p_agent)
            AND (p_after IS NULL OR m.created_at >= p_after)
            AND (p_before IS NULL OR m.created_at < p_before)
    )
    SELECT f.id, f.session_id, f.seq, f.pieces::double precision FROM found f
    WHERE f.pieces > 0 ORDER BY f.pieces DESC, f.created_at DESC, f.id DESC LIMIT p_limit
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['index_message', 'follow_session', 'lexical_messages',
        'literal_messages']
    LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
    END LOOP;
    EXECUTE 'GRANT EXECUTE ON FUNCTION lexical_messages, literal_messages TO switchy_app';
    -- the planner takes the array's length for a promise: the index is right at every size
    EXECUTE 'ALTER FUNCTION lexical_messages SET enable_seqscan = off';
END
$$;
