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
        -- reading both lists must be worth it
        (SELECT l.keys FROM left_over l WHERE l.place = 2 AND l.notes <= 10 * p_budget),
        (SELECT array_agg(n.notes ORDER BY n.number) FROM (
            SELECT e.number, coalesce(sum(e.notes), 0)::bigint AS notes FROM entries e
            GROUP BY e.number) n),
        (SELECT array_agg(e.notes IS NOT NULL ORDER BY e.number, e.place) FROM entries e),
        (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
            FROM unnest(buckets) AS b(bucket) WHERE p_tags IS NOT NULL)
        INTO rare, common, first, second, known_in, listed, tagged;

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
