-- Lexical search that stays fast as an organization grows, and that filters before it ranks.
--
-- A bucket is a set of notes that the same people see: the organization's, those of one Space,
-- those of one author. What a caller sees is a handful of whole buckets, so counts that are kept by
-- bucket add up to exactly what he sees, and tell nothing about anything else.
CREATE FUNCTION memory_bucket(org_id text, visibility text, author_user_id text, space_id text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE visibility
        WHEN 'ORG' THEN 'ORG ' || org_id
        WHEN 'SPACE' THEN 'SPACE ' || space_id
        ELSE 'PRIVATE ' || org_id || ' ' || author_user_id END;

-- A word or a tag of a bucket as a number. Two of them may share one: what is found by it is
-- compared with the word or the tag itself afterwards.
CREATE FUNCTION memory_word_key(bucket text, lexeme text)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(bucket || '=' || lexeme, 0);
CREATE FUNCTION memory_tag_key(bucket text, tag text)
RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(bucket || '#' || tag, 0);

-- Everything that a note is found by. In the index a word is the bucket's own: no search reads the
-- entries of notes that its caller cannot see, however many others there are.
CREATE FUNCTION memory_keys(
    org_id text, visibility text, author_user_id text, space_id text, tsv tsvector, tags text[]
) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 2000
BEGIN ATOMIC
    SELECT array_agg(k.key)
    FROM memory_bucket(org_id, visibility, author_user_id, space_id) AS b(bucket),
        LATERAL (
            SELECT hashtextextended(b.bucket || '=' || w.lexeme, 0) AS key
                FROM unnest(tsvector_to_array(tsv)) AS w(lexeme)
            UNION ALL
            SELECT hashtextextended(b.bucket || '#' || t.tag, 0) FROM unnest(tags) AS t(tag)
        ) k;
END;

CREATE INDEX memories_keys ON memories
    USING gin (memory_keys(org_id, visibility, author_user_id, space_id, tsv, tags))
    -- what is written lately waits in a list that every search reads: a short one
    WITH (gin_pending_list_limit = 256);
DROP INDEX memories_tsv;
-- counts a Space's notes; and a Space that goes takes its notes along without reading all others
CREATE INDEX memories_space ON memories (org_id, space_id) INCLUDE (term_count)
    WHERE space_id IS NOT NULL;

-- How large a bucket is. Only of those that are too large to be counted for every search; renewed
-- now and then, by no writer: a counter would make writers wait for each other.
CREATE TABLE memory_statistics (
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    bucket text NOT NULL,
    notes bigint NOT NULL,
    -- words of all its notes together
    words bigint NOT NULL,
    -- how large it was when its common words were counted
    notes_at_count bigint,
    PRIMARY KEY (org_id, bucket)
);

-- Words that many notes of such a bucket have, and how many.
CREATE TABLE memory_common_words (
    org_id text NOT NULL,
    bucket text NOT NULL,
    lexeme text NOT NULL,
    notes bigint NOT NULL,
    PRIMARY KEY (org_id, bucket, lexeme),
    FOREIGN KEY (org_id, bucket) REFERENCES memory_statistics (org_id, bucket) ON DELETE CASCADE
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['memory_statistics', 'memory_common_words'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        -- requests reach them through the functions below alone
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- Measures every bucket of at least p_least notes.
CREATE FUNCTION count_memories(p_least bigint) RETURNS void LANGUAGE sql
BEGIN ATOMIC
    WITH counted AS MATERIALIZED (
        SELECT m.org_id, memory_bucket(m.org_id, m.visibility, m.author, m.space_id) AS bucket,
            sum(m.notes)::bigint AS notes, sum(m.words)::bigint AS words
        FROM (
            SELECT g.org_id, g.visibility, g.space_id,
                CASE g.visibility WHEN 'PRIVATE' THEN g.author_user_id END AS author,
                count(*) AS notes, sum(g.term_count) AS words
            FROM memories g GROUP BY 1, 2, 3, 4
        ) m
        GROUP BY 1, 2 HAVING sum(m.notes) >= p_least
    ), gone AS (
        DELETE FROM memory_statistics s WHERE NOT EXISTS (
            SELECT FROM counted c WHERE c.org_id = s.org_id AND c.bucket = s.bucket)
    )
    INSERT INTO memory_statistics AS s (org_id, bucket, notes, words)
        SELECT c.org_id, c.bucket, c.notes, c.words FROM counted c
        ON CONFLICT (org_id, bucket) DO UPDATE SET notes = excluded.notes, words = excluded.words
            WHERE (s.notes, s.words) <> (excluded.notes, excluded.words);
END;

-- Counts the common words of one bucket that has grown or shrunk by a tenth since it was done last;
-- returns whether there was one. Of large buckets, p_sample notes stand for all.
CREATE FUNCTION count_common_words(p_listed bigint, p_sample bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    s memory_statistics;
    each bigint;
BEGIN
    SELECT * INTO s FROM memory_statistics t
        WHERE t.notes_at_count IS NULL OR abs(t.notes - t.notes_at_count) * 10 > t.notes_at_count
        ORDER BY t.org_id, t.bucket LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF s.bucket IS NULL THEN
        RETURN false;
    END IF;
    each := greatest(s.notes / p_sample, 1);
    DELETE FROM memory_common_words w WHERE w.org_id = s.org_id AND w.bucket = s.bucket;
    INSERT INTO memory_common_words (org_id, bucket, lexeme, notes)
        SELECT s.org_id, s.bucket, l.lexeme, count(*) * each
        FROM memories m, unnest(tsvector_to_array(m.tsv)) AS l(lexeme)
        WHERE m.org_id = s.org_id
            AND m.visibility = split_part(s.bucket, ' ', 1)
            AND memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id) = s.bucket
            AND (hashtextextended(m.id, 0) & 9223372036854775807) % each = 0
        GROUP BY l.lexeme HAVING count(*) * each >= p_listed AND count(*) >= 4;
    UPDATE memory_statistics t SET notes_at_count = t.notes
        WHERE t.org_id = s.org_id AND t.bucket = s.bucket;
    RETURN true;
END
$$;

-- The buckets that the caller sees, as far as the filter reaches into them.
CREATE FUNCTION caller_buckets(p_space text, p_visibility text, p_author text)
RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT array_agg(memory_bucket(caller_org(), b.visibility, private_reader(), b.space_id))
        FROM (
            SELECT 'ORG', NULL WHERE p_space IS NULL
            UNION ALL
            SELECT 'PRIVATE', NULL
                WHERE p_space IS NULL AND (p_author IS NULL OR p_author = private_reader())
            UNION ALL
            SELECT 'SPACE', s.id FROM unnest(caller_spaces()) AS s(id)
                WHERE p_space IS NULL OR s.id = p_space
        ) AS b(visibility, space_id)
        WHERE p_visibility IS NULL OR b.visibility = p_visibility;
    END;

-- The caller's best notes by BM25 (k1 1.2, b 0.75), ids and scores only, among those that pass the
-- filter. How long notes are and how many have a word is counted over all notes that the caller can
-- see: fairer to small teams, and the scores tell nothing about what others wrote.
--
-- Rare words bring the candidates; a word that more notes have than p_budget allows only scores
-- what others brought, for it tells little. Where the question has none but such words, the notes
-- that have the two rarest of them come first.
--
-- SECURITY DEFINER, because `&&` and `@@` are not leakproof: under a policy the planner must not run
-- them before the policy, and then never uses the GIN index. Hence the predicate inside; the notes
-- themselves are read under the policy afterwards.
DROP FUNCTION lexical_candidates(text, text, integer, integer);
CREATE FUNCTION lexical_candidates(
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

-- At most p_limit of the notes that the caller sees and that pass the filter; for the vectors, which
-- know neither tags nor times.
CREATE FUNCTION filtered_memories(
    p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[],
    p_after timestamptz, p_before timestamptz
) RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    tagged bigint[] := (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
        FROM unnest(caller_buckets(p_space, p_visibility, p_author)) AS b(bucket));
BEGIN
    IF p_tags IS NOT NULL THEN
        RETURN QUERY SELECT m.id FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                    && tagged
                AND m.tags @> p_tags AND m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
                AND (p_visibility IS NULL OR m.visibility = p_visibility)
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            LIMIT p_limit;
    ELSE
        RETURN QUERY SELECT m.id FROM memories m
            WHERE m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
                AND (p_visibility IS NULL OR m.visibility = p_visibility)
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND m.created_at >= coalesce(p_after, '-infinity')
                AND m.created_at < coalesce(p_before, 'infinity')
            LIMIT p_limit;
    END IF;
END
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lexical_candidates', 'filtered_memories'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_app', f);
    END LOOP;
    -- The planner takes the array's length for a promise: the index is right at every size.
    EXECUTE 'ALTER FUNCTION lexical_candidates SET enable_seqscan = off';
    FOREACH f IN ARRAY ARRAY['count_memories', 'count_common_words'] LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_system', f);
    END LOOP;
END
$$;
