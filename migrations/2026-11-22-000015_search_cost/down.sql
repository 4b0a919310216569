DROP FUNCTION note_similarities;
DROP FUNCTION measured_notes;
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
    listed_at text[];
    rare bigint[];
    common bigint[];
    first bigint[];
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
        SELECT l.number, b.bucket, memory_word_key(b.bucket, l.lexeme) AS key, w.notes
        FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
        CROSS JOIN unnest(buckets) AS b(bucket)
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
        -- reading both lists must be worth it
        (SELECT l.keys FROM left_over l WHERE l.place = 2 AND l.notes <= 10 * p_budget),
        (SELECT array_agg(n.notes ORDER BY n.number) FROM (
            SELECT e.number, coalesce(sum(e.notes), 0)::bigint AS notes FROM entries e
            GROUP BY e.number) n),
        (SELECT coalesce(array_agg(r.bucket || '=' || r.number), '{}') FROM running r),
        (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
            FROM unnest(buckets) AS b(bucket) WHERE p_tags IS NOT NULL)
        INTO rare, common, first, second, known_in, listed_at, tagged;

    -- where the candidates are
    rows := ARRAY(
        SELECT m.ctid FROM memories m
        WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
            && rare);
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
    IF first IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && first
            LIMIT p_budget);
    END IF;

    RETURN QUERY
    WITH matching AS MATERIALIZED (
        -- concatenated with nothing, a tsvector is unpacked once, not once for every word
        SELECT m.id, m.term_count, m.tsv || ''::tsvector AS tsv,
            memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id) AS bucket,
            (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_tags IS NULL OR m.tags @> p_tags)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before) AS passes
        FROM memories m
        WHERE m.ctid = ANY (rows) AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
            AND (p_space IS NULL OR m.space_id = p_space)
    ), hits AS MATERIALIZED (
        -- How often a term occurs: ts_rank of a single term is the sum of 1/j^2 over its
        -- occurrences, divided by pi^2/6, whose inverse this is to within 0.05. Unnesting the
        -- tsvector would yield every other term of the note, too.
        SELECT c.id, c.term_count, c.bucket, c.passes, t.number,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM matching c, unnest(asked) WITH ORDINALITY AS t(term, number)
        WHERE c.tsv @@ t.term
    ), weights AS MATERIALIZED (
        -- of a bucket's rare words every note is among the hits
        SELECT n.number, ln(1 + greatest(total - n.notes + 0.5, 0.5) / (n.notes + 0.5)) AS idf
        FROM (
            SELECT h.number, known_in[h.number] + count(*) FILTER (
                WHERE h.bucket || '=' || h.number <> ALL (listed_at)) AS notes
            FROM hits h GROUP BY h.number
        ) n
    )
    SELECT h.id, sum(w.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.term_count / average)))
    FROM hits h JOIN weights w ON w.number = h.number
    WHERE h.passes
    GROUP BY h.id ORDER BY 2 DESC, 1 DESC LIMIT p_limit;
END
$$;
CREATE OR REPLACE FUNCTION lexical_messages(
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
DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lexical_candidates', 'lexical_messages'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, current_schema());
        EXECUTE format('ALTER FUNCTION %I SET enable_seqscan = off', f);
        EXECUTE format('ALTER FUNCTION %I RESET plan_cache_mode', f);
    END LOOP;
END
$$;
