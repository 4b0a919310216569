DROP FUNCTION literal_memories;
DROP INDEX memories_newest;

-- The caller's best notes by BM25 (k1 1.2, b 0.75): as before, see there. Of a word that every fifth
-- note has, the newest are candidates.
CREATE OR REPLACE FUNCTION lexical_candidates(
    p_query text, p_limit integer, p_terms integer, p_budget bigint,
    p_space text, p_visibility text, p_author text, p_tags text[],
    p_after timestamptz, p_before timestamptz
) RETURNS TABLE (memory_id text, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    buckets text[] := caller_buckets(p_space, p_visibility, p_author);
    filtered boolean := p_author IS NOT NULL OR p_tags IS NOT NULL OR p_after IS NOT NULL
        OR p_before IS NOT NULL;
    lexemes text[];
    asked tsquery[];
    measured text[];
    total double precision;
    length double precision;
    average double precision;
    known_in bigint[];
    -- by word and bucket, word by word
    listed boolean[];
    idf double precision[];
    rare bigint[];
    common bigint[];
    first bigint[];
    first_term tsquery;
    second bigint[];
    tagged bigint[];
    rows tid[];
BEGIN
    SELECT array_agg(q.lexeme ORDER BY q.at), array_agg((
            '''' || replace(replace(q.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
            ORDER BY q.at)
        INTO lexemes, asked
        FROM (
            SELECT u.lexeme, u.positions[1] AS at FROM unnest(to_tsvector('english', p_query)) u
            ORDER BY u.positions[1] LIMIT p_terms
        ) q;
    IF lexemes IS NULL OR buckets IS NULL THEN
        RETURN;
    END IF;

    SELECT array_agg(s.bucket), coalesce(sum(s.notes), 0), coalesce(sum(s.words), 0)
        INTO measured, total, length
        FROM memory_statistics s WHERE s.org_id = org AND s.bucket = ANY (buckets);
    measured := coalesce(measured, '{}');
    -- the small ones as they are
    SELECT total + coalesce(sum(c.notes), 0), length + coalesce(sum(c.words), 0)
        INTO total, length
        FROM (
            SELECT count(*) AS notes, sum(m.term_count) AS words FROM memories m
                WHERE m.org_id = org AND m.visibility = 'ORG'
                    AND 'ORG ' || org = ANY (buckets) AND 'ORG ' || org <> ALL (measured)
            UNION ALL
            SELECT count(*), sum(m.term_count) FROM memories m
                WHERE m.org_id = org AND m.visibility = 'PRIVATE' AND m.author_user_id = me
                    AND 'PRIVATE ' || org || ' ' || me = ANY (buckets)
                    AND 'PRIVATE ' || org || ' ' || me <> ALL (measured)
            UNION ALL
            SELECT count(*), sum(m.term_count) FROM memories m
                WHERE m.org_id = org AND m.space_id = ANY (ARRAY(
                    SELECT s.id FROM unnest(mine) AS s(id)
                    WHERE 'SPACE ' || s.id = ANY (buckets) AND 'SPACE ' || s.id <> ALL (measured)))
        ) c;
    average := greatest(length / greatest(total, 1), 1);

    WITH entries AS MATERIALIZED (
        SELECT l.number, b.bucket, b.place, memory_word_key(b.bucket, l.lexeme) AS key, w.notes
        FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
        CROSS JOIN unnest(buckets) WITH ORDINALITY AS b(bucket, place)
        LEFT JOIN memory_common_words w
            ON w.org_id = org AND w.bucket = b.bucket AND w.lexeme = l.lexeme
    ), running AS (
        SELECT e.*, sum(e.notes) OVER (ORDER BY e.notes, e.number, e.bucket) AS so_far
        FROM entries e WHERE e.notes IS NOT NULL
    ), left_over AS (
        SELECT r.number, array_agg(r.key) AS keys, sum(r.notes) AS notes,
            row_number() OVER (ORDER BY sum(r.notes), r.number) AS place
        FROM running r WHERE r.so_far > p_budget AND NOT filtered GROUP BY r.number
    )
    SELECT
        (SELECT array_agg(e.key) FROM entries e WHERE e.notes IS NULL),
        (SELECT array_agg(r.key) FROM running r WHERE r.so_far <= p_budget OR filtered),
        (SELECT l.keys FROM left_over l WHERE l.place = 1),
        -- one that every fifth note of the organization has
        (SELECT asked[l.number] FROM left_over l WHERE l.place = 1 AND 5 * l.notes >= (
            SELECT sum(s.notes) FROM memory_statistics s WHERE s.org_id = org)),
        -- reading both lists must be worth it
        (SELECT l.keys FROM left_over l WHERE l.place = 2 AND l.notes <= 10 * p_budget),
        (SELECT array_agg(n.notes ORDER BY n.number) FROM (
            SELECT e.number, coalesce(sum(e.notes), 0)::bigint AS notes FROM entries e
            GROUP BY e.number) n),
        (SELECT array_agg(e.notes IS NOT NULL ORDER BY e.number, e.place) FROM entries e),
        (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
            FROM unnest(buckets) AS b(bucket) WHERE p_tags IS NOT NULL)
        INTO rare, common, first, first_term, second, known_in, listed, tagged;

    -- where the candidates are
    rows := ARRAY(
        SELECT m.ctid FROM memories m
        WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
            && rare);
    -- of a bucket's rare words every note is among these: they are counted
    IF rows <> '{}' THEN
        SELECT array_agg(k.notes + coalesce(c.notes, 0) ORDER BY k.number) INTO known_in
        FROM unnest(known_in) WITH ORDINALITY AS k(notes, number)
        LEFT JOIN (
            SELECT t.number, count(*) AS notes
            FROM memories m
            CROSS JOIN unnest(asked) WITH ORDINALITY AS t(term, number)
            WHERE m.ctid = ANY (rows) AND m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
                AND m.tsv @@ t.term
                AND NOT listed[(t.number - 1) * cardinality(buckets) + array_position(buckets,
                    memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id))]
            GROUP BY t.number
        ) c USING (number);
    END IF;
    IF common IS NOT NULL AND tagged IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && tagged
            LIMIT p_budget);
    ELSIF common IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            LIMIT p_budget);
    END IF;
    IF second IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && first
                AND memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && second
            LIMIT p_budget);
    END IF;
    -- the index would read a list as long as the organization, only to take its beginning; the newest
    -- notes have such a word as well
    IF first_term IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT n.at FROM (
                SELECT m.ctid AS at, m.tsv, m.visibility, m.author_user_id, m.space_id
                FROM memories m WHERE m.org_id = org
                ORDER BY m.created_at DESC, m.id DESC LIMIT 10 * p_budget
            ) n
            WHERE n.tsv @@ first_term
                AND (n.visibility = 'ORG'
                    OR (n.visibility = 'PRIVATE' AND n.author_user_id = me)
                    OR (n.visibility = 'SPACE' AND n.space_id = ANY (mine)))
                AND (p_space IS NULL OR n.space_id = p_space)
                AND (p_visibility IS NULL OR n.visibility = p_visibility)
            LIMIT p_budget);
    END IF;
    IF first IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && first
            LIMIT p_budget);
    END IF;

    idf := ARRAY(
        SELECT ln(1 + greatest(total - k.notes + 0.5, 0.5) / (k.notes + 0.5))
        FROM unnest(known_in) WITH ORDINALITY AS k(notes, number) ORDER BY k.number);

    RETURN QUERY
    SELECT h.id, sum(h.idf * h.tf * 2.2 / (h.tf + 0.3 + 0.9 * (h.term_count / average)))
    FROM (
        -- How often a term occurs: ts_rank of a single term is the sum of 1/j^2 over its
        -- occurrences, divided by pi^2/6, whose inverse this is to within 0.05. Unnesting the
        -- tsvector would yield every other term of the note, too.
        SELECT m.id, m.term_count, t.idf,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', m.tsv, t.term))) - 0.5 AS tf
        FROM memories m CROSS JOIN unnest(asked, idf) AS t(term, idf)
        WHERE m.ctid = ANY (rows) AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
            AND (p_space IS NULL OR m.space_id = p_space)
            AND (p_visibility IS NULL OR m.visibility = p_visibility)
            AND (p_author IS NULL OR m.author_user_id = p_author)
            AND (p_tags IS NULL OR m.tags @> p_tags)
            AND (p_after IS NULL OR m.created_at >= p_after)
            AND (p_before IS NULL OR m.created_at < p_before)
            AND m.tsv @@ t.term
        OFFSET 0
    ) h
    GROUP BY h.id
    ORDER BY 2 DESC, 1 DESC LIMIT p_limit;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION lexical_candidates SET search_path = %I, pg_temp',
        current_schema());
END
$$;
ALTER FUNCTION lexical_candidates SET enable_seqscan = off;
ALTER FUNCTION lexical_candidates SET plan_cache_mode = force_generic_plan;

-- The caller's best messages of a Space, each with what stands around it taken into account: as
-- before, see there.
CREATE OR REPLACE FUNCTION lexical_messages(
    p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text,
    p_session text, p_author text, p_agent text, p_after timestamptz, p_before timestamptz
) RETURNS TABLE (message_id text, session_id text, seq bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    filtered boolean := p_author IS NOT NULL OR p_agent IS NOT NULL OR p_after IS NOT NULL
        OR p_before IS NOT NULL;
    lexemes text[];
    asked tsquery[];
    total double precision;
    average double precision;
    known_in bigint[] := '{}';
    idf double precision[];
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
        -- both conditions for the index: as an alternative to NULL the second would be none, and
        -- computed for every message that has the first word
        IF frequent[2] IS NOT NULL THEN
            rows := rows || ARRAY(
                SELECT m.ctid FROM message_index m
                WHERE message_keys(m.space_id, m.private_to, m.tsv)
                        && ARRAY[message_word_key(p_space, NULL, frequent[1]),
                            message_word_key(p_space, me, frequent[1])]
                    AND message_keys(m.space_id, m.private_to, m.tsv)
                        && ARRAY[message_word_key(p_space, NULL, frequent[2]),
                            message_word_key(p_space, me, frequent[2])]
                LIMIT p_budget);
        END IF;
        IF cardinality(rows) < p_limit THEN
            rows := rows || ARRAY(
                SELECT m.ctid FROM message_index m
                WHERE message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, frequent[1]),
                        message_word_key(p_space, me, frequent[1])]
                LIMIT p_budget);
        END IF;
    END IF;

    idf := ARRAY(
        SELECT ln(1 + greatest(total - k.known + 0.5, 0.5) / (k.known + 0.5))
        FROM unnest(known_in) WITH ORDINALITY AS k(known, number) ORDER BY k.number);

    RETURN QUERY
    WITH hits AS MATERIALIZED (
        -- how often a word occurs: see lexical_candidates
        SELECT m.message_id, m.session_id, m.seq, t.number, t.idf, m.term_count / average AS length,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', m.tsv, t.term))) - 0.5 AS tf
        FROM message_index m
        CROSS JOIN unnest(asked, idf) WITH ORDINALITY AS t(term, idf, number)
        WHERE m.ctid = ANY (rows) AND m.org_id = org AND m.space_id = p_space
            AND (m.private_to IS NULL OR m.private_to = me)
            AND m.tsv @@ t.term
    ), around AS (
        SELECT h.session_id, h.seq + d.distance AS seq, h.number,
            max(h.message_id) FILTER (WHERE d.distance = 0) AS message_id,
            max(d.weight * h.idf * h.tf * 2.2 / (h.tf + 0.3 + 0.9 * h.length)) AS score
        FROM hits h
        CROSS JOIN (VALUES (0, 1.0::double precision), (-1, 0.5), (1, 0.5), (-2, 0.5), (2, 0.5))
            AS d(distance, weight)
        GROUP BY 1, 2, 3
    ), scored AS (
        -- only what has one of the words itself has an id here; joined with the hits for it, the
        -- planner, which expects one of them, compared each with each
        SELECT max(a.message_id) AS message_id, a.session_id, a.seq, sum(a.score) AS score
        FROM around a GROUP BY 2, 3 HAVING count(a.message_id) > 0
    ), best AS (
        SELECT s.* FROM scored s
        WHERE NOT filtered OR EXISTS (
            SELECT FROM messages m WHERE m.id = s.message_id
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_agent IS NULL OR m.author_agent = p_agent)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before))
        ORDER BY s.score DESC FETCH FIRST (p_limit) ROWS WITH TIES
    )
    SELECT b.message_id, b.session_id, b.seq, b.score
    FROM best b JOIN messages m ON m.id = b.message_id
    ORDER BY b.score DESC, m.created_at DESC, b.message_id DESC LIMIT p_limit;
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION lexical_messages SET search_path = %I, pg_temp',
        current_schema());
END
$$;
ALTER FUNCTION lexical_messages SET enable_seqscan = off;
ALTER FUNCTION lexical_messages SET plan_cache_mode = force_generic_plan;

-- The caller's messages of a Space that contain pieces literally, by how many of them: for scripts
-- without spaces, emoji, and words that the dictionary throws away. Reads all of them.
CREATE OR REPLACE FUNCTION literal_messages(
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
BEGIN
    EXECUTE format('ALTER FUNCTION literal_messages SET search_path = %I, pg_temp',
        current_schema());
END
$$;
ALTER FUNCTION literal_messages RESET enable_seqscan;
ALTER FUNCTION literal_messages RESET plan_cache_mode;
