-- What a search may cost is measured over all that its caller sees together, not bucket by bucket:
-- twenty Spaces of 199 long notes each were below every bound, and made one search read and score all
-- of them for each of its words.

-- A bucket's newest notes, without a look at anybody else's.
CREATE INDEX memories_newest ON memories (
    memory_bucket(org_id, visibility, author_user_id, space_id), created_at DESC, id DESC);

-- The caller's best notes by BM25 (k1 1.2, b 0.75), ids and scores only: as before, see
-- 2026-11-22-000011_search. New are these bounds, multiples of p_budget:
--
-- * words times buckets that are looked for: of somebody who is in very many Spaces, fewer words are;
-- * notes that are read and scored (`most`): fewer, the more words there are. Where the rare words
--   have more notes together, those with the fewest notes bring theirs, whatever the bucket, and the
--   others count as common ones;
-- * entries of the index that are read for it: words that are not come to count as what all notes
--   have.
--
-- Of a word that every fifth note has, the newest are candidates: of the caller's own buckets.
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
    -- keys of the index that are looked up
    most_keys CONSTANT bigint := 40 * p_budget;
    -- pairs of a note and a word that are scored, and notes
    most_pairs CONSTANT bigint := 80 * p_budget;
    most bigint := 4 * p_budget;
    -- entries of the index that are read; finding a key's takes as long as reading so many
    most_entries CONSTANT bigint := 100 * p_budget;
    each_key CONSTANT bigint := 100;
    -- looked for all at once, each key is held against each entry
    most_steps CONSTANT bigint := 10000 * p_budget;
    lexemes text[];
    asked tsquery[];
    measured text[];
    total double precision;
    length double precision;
    average double precision;
    -- notes of buckets that are not measured
    uncounted bigint;
    -- by word and bucket, word by word: the bucket's key, and how many notes have the word if that
    -- is known
    entry_of integer[];
    entry_key bigint[];
    entry_notes bigint[];
    -- whether the notes of the rare words are counted as they are read
    counting boolean := true;
    -- by word: how many notes have it in buckets where it is rare, if it brings none of them
    left_notes bigint[];
    word record;
    entries_read bigint := 0;
    found tid[];
    found_rows tid[] := '{}';
    found_of integer[] := '{}';
    found_notes bigint[];
    brings integer[];
    known_in bigint[];
    rare bigint[];
    common bigint[];
    common_notes bigint;
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
            ORDER BY u.positions[1]
            LIMIT least(p_terms, greatest(most_keys / greatest(cardinality(buckets), 1), 1))
        ) q;
    IF lexemes IS NULL OR buckets IS NULL THEN
        RETURN;
    END IF;
    most := greatest(least(most, most_pairs / cardinality(lexemes)), p_limit);

    SELECT array_agg(s.bucket), coalesce(sum(s.notes), 0), coalesce(sum(s.words), 0)
        INTO measured, total, length
        FROM memory_statistics s WHERE s.org_id = org AND s.bucket = ANY (buckets);
    measured := coalesce(measured, '{}');
    -- the small ones as they are
    SELECT coalesce(sum(c.notes), 0), length + coalesce(sum(c.words), 0)
        INTO uncounted, length
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
    total := total + uncounted;
    average := greatest(length / greatest(total, 1), 1);

    SELECT array_agg(e.number ORDER BY e.number, e.place),
            array_agg(e.key ORDER BY e.number, e.place),
            array_agg(e.notes ORDER BY e.number, e.place),
            array_agg(e.key) FILTER (WHERE e.notes IS NULL)
        INTO entry_of, entry_key, entry_notes, rare
        FROM (
            SELECT l.number::integer AS number, b.place, memory_word_key(b.bucket, l.lexeme) AS key,
                w.notes
            FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
            CROSS JOIN unnest(buckets) WITH ORDINALITY AS b(bucket, place)
            LEFT JOIN memory_common_words w
                ON w.org_id = org AND w.bucket = b.bucket AND w.lexeme = l.lexeme
        ) e;

    -- where the candidates are: all notes of the rare words
    IF coalesce(cardinality(rare), 0) * uncounted <= most_steps THEN
        rows := ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && rare
            LIMIT most + 1);
    END IF;
    IF rows IS NULL OR cardinality(rows) > most THEN
        -- too many: word by word, long words first, which are rarer
        counting := false;
        -- what is not looked up counts as what all have
        found_notes := ARRAY(
            SELECT CASE WHEN bool_or(e.notes IS NULL) THEN greatest(total::bigint, most + 1) ELSE 0 END
            FROM unnest(entry_of, entry_notes) AS e(number, notes)
            GROUP BY e.number ORDER BY e.number);
        FOR word IN
            SELECT e.number, array_agg(e.key) AS keys
            FROM unnest(entry_of, entry_key, entry_notes) AS e(number, key, notes)
            WHERE e.notes IS NULL GROUP BY e.number
            ORDER BY length(lexemes[e.number]) DESC, e.number
        LOOP
            EXIT WHEN entries_read > most_entries;
            found := ARRAY(
                SELECT h.at FROM unnest(word.keys) AS k(key)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at FROM memories m
                    WHERE memory_keys(
                        m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                        && ARRAY[k.key]
                ) h);
            found_notes[word.number] := cardinality(found);
            entries_read := entries_read + cardinality(found) + each_key * cardinality(word.keys);
            IF cardinality(found) <= most THEN
                found_rows := found_rows || found;
                found_of := found_of || array_fill(word.number, ARRAY[cardinality(found)]);
            END IF;
        END LOOP;
        -- the rarest bring their notes
        brings := ARRAY(
            SELECT f.number FROM (
                SELECT n.number, sum(n.notes) OVER (ORDER BY n.notes, n.number) AS so_far
                FROM unnest(found_notes) WITH ORDINALITY AS n(notes, number)
            ) f
            WHERE f.so_far <= most);
        rows := ARRAY(
            SELECT DISTINCT f.at FROM unnest(found_rows, found_of) AS f(at, number)
            WHERE f.number = ANY (brings));
        left_notes := ARRAY(
            SELECT CASE WHEN n.number <> ALL (brings) THEN n.notes END
            FROM unnest(found_notes) WITH ORDINALITY AS n(notes, number) ORDER BY n.number);
    END IF;

    WITH entries AS MATERIALIZED (
        SELECT e.number, e.place, e.key, e.notes
        FROM unnest(entry_of, entry_key, entry_notes)
            WITH ORDINALITY AS e(number, key, notes, place)
    ), items AS (
        SELECT e.number, ARRAY[e.key] AS keys, e.notes, false AS is_left, e.place
        FROM entries e WHERE e.notes IS NOT NULL
        UNION ALL
        SELECT e.number, array_agg(e.key), left_notes[e.number], true, 0
        FROM entries e WHERE e.notes IS NULL AND left_notes[e.number] IS NOT NULL
        GROUP BY e.number
    ), running AS (
        SELECT i.*, sum(CASE WHEN filtered OR NOT i.is_left THEN i.notes ELSE 0 END)
            OVER (ORDER BY i.notes, i.number, i.place) AS so_far
        FROM items i
    ), bringing AS (
        SELECT r.* FROM running r WHERE CASE
            -- those that pass a filter may be few: more is read, and the rarest in any case
            WHEN filtered THEN r.so_far - r.notes < most_entries
            ELSE r.so_far <= p_budget AND NOT r.is_left END
    ), left_over AS (
        SELECT r.number, array_agg(k.key) AS keys, n.notes,
            row_number() OVER (ORDER BY n.notes, r.number) AS place
        FROM running r
        CROSS JOIN unnest(r.keys) AS k(key)
        JOIN (
            SELECT o.number, sum(o.notes) AS notes FROM running o
            WHERE o.so_far > p_budget OR o.is_left GROUP BY o.number
        ) n ON n.number = r.number
        WHERE (r.so_far > p_budget OR r.is_left) AND NOT filtered
        GROUP BY r.number, n.notes
    )
    SELECT
        (SELECT array_agg(k.key ORDER BY b.so_far) FROM bringing b, unnest(b.keys) AS k(key)),
        (SELECT sum(b.notes) FROM bringing b),
        (SELECT l.keys FROM left_over l WHERE l.place = 1),
        -- one that every fifth of the caller's notes has
        (SELECT asked[l.number] FROM left_over l WHERE l.place = 1 AND 5 * l.notes >= total),
        -- reading both lists must be worth it
        (SELECT l.keys FROM left_over l WHERE l.place = 2 AND l.notes <= 10 * p_budget),
        (SELECT array_agg(n.notes ORDER BY n.number) FROM (
            SELECT e.number, coalesce(sum(e.notes), 0)::bigint
                + CASE WHEN counting THEN 0 ELSE found_notes[e.number] END AS notes
            FROM entries e GROUP BY e.number) n),
        (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
            FROM unnest(buckets) AS b(bucket) WHERE p_tags IS NOT NULL)
        INTO common, common_notes, first, first_term, second, known_in, tagged;

    IF common IS NOT NULL AND tagged IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && tagged
            LIMIT p_budget);
    ELSIF common IS NOT NULL AND cardinality(common) * common_notes <= most_steps THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            LIMIT p_budget);
    ELSIF common IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT DISTINCT f.at FROM (
                SELECT h.at FROM unnest(common) AS k(key)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at FROM memories m
                    WHERE memory_keys(
                        m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                        && ARRAY[k.key]
                        AND (p_author IS NULL OR m.author_user_id = p_author)
                        AND (p_after IS NULL OR m.created_at >= p_after)
                        AND (p_before IS NULL OR m.created_at < p_before)
                ) h
                LIMIT 2 * p_budget
            ) f
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
    -- the index would read a list as long as all that the caller sees, only to take its beginning;
    -- the newest notes have such a word as well
    IF first_term IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT n.at FROM (
                SELECT w.at FROM unnest(buckets) AS b(bucket)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at, m.created_at, m.id FROM memories m
                    WHERE memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id)
                        = b.bucket
                    ORDER BY m.created_at DESC, m.id DESC
                    LIMIT least(10 * p_budget, 40 * p_budget / cardinality(buckets) + 1)
                ) w
                ORDER BY w.created_at DESC, w.id DESC LIMIT 10 * p_budget
            ) n
            CROSS JOIN LATERAL (
                SELECT FROM memories m WHERE m.ctid = n.at AND m.tsv @@ first_term OFFSET 0
            ) has_it
            LIMIT p_budget);
    END IF;
    IF first IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT h.at FROM unnest(first) AS k(key)
            CROSS JOIN LATERAL (
                SELECT m.ctid AS at FROM memories m
                WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                    && ARRAY[k.key]
            ) h
            LIMIT p_budget);
    END IF;

    RETURN QUERY
    WITH hits AS MATERIALIZED (
        -- How often a term occurs: ts_rank of a single term is the sum of 1/j^2 over its
        -- occurrences, divided by pi^2/6, whose inverse this is to within 0.05. Unnesting the
        -- tsvector would yield every other term of the note, too.
        SELECT c.id, c.term_count, c.place, c.passes, t.number,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM (
            -- concatenated with nothing, a tsvector is unpacked once, not once for every word
            SELECT m.id, m.term_count, m.tsv || ''::tsvector AS tsv,
                array_position(buckets,
                    memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id)) AS place,
                (p_visibility IS NULL OR m.visibility = p_visibility)
                    AND (p_author IS NULL OR m.author_user_id = p_author)
                    AND (p_tags IS NULL OR m.tags @> p_tags)
                    AND (p_after IS NULL OR m.created_at >= p_after)
                    AND (p_before IS NULL OR m.created_at < p_before) AS passes
            FROM memories m
            WHERE m.ctid = ANY (rows) AND m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
            OFFSET 0
        ) c
        CROSS JOIN LATERAL (
            SELECT a.number, a.term FROM unnest(asked) WITH ORDINALITY AS a(term, number)
            WHERE c.tsv @@ a.term OFFSET 0
        ) t
    ), words AS (
        -- of a bucket's rare words every note is among the hits
        SELECT k.number, k.notes + coalesce(c.notes, 0) AS notes
        FROM unnest(known_in) WITH ORDINALITY AS k(notes, number)
        LEFT JOIN (
            SELECT h.number, count(*) AS notes FROM hits h
            WHERE counting
                AND entry_notes[(h.number - 1) * cardinality(buckets) + h.place] IS NULL
            GROUP BY h.number
        ) c USING (number)
    ), weights AS MATERIALIZED (
        SELECT array_agg(ln(1 + greatest(total - w.notes + 0.5, 0.5) / (w.notes + 0.5))
            ORDER BY w.number) AS idf
        FROM words w
    )
    SELECT h.id, sum((SELECT w.idf FROM weights w)[h.number]
        * h.tf * 2.2 / (h.tf + 0.3 + 0.9 * (h.term_count / average)))
    FROM hits h WHERE h.passes
    GROUP BY h.id
    ORDER BY 2 DESC, 1 DESC LIMIT p_limit;
END
$$;

-- The caller's notes that contain pieces literally, by how many of them: for scripts without spaces,
-- emoji, and words that the dictionary throws away. No index knows them, so the newest notes are read,
-- up to so much text.
--
-- SECURITY DEFINER for the reason that lexical_candidates has; the notes themselves are read under the
-- policy afterwards.
CREATE FUNCTION literal_memories(
    p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text,
    p_tags text[], p_after timestamptz, p_before timestamptz
) RETURNS TABLE (memory_id text, pieces bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    buckets text[] := caller_buckets(p_space, p_visibility, p_author);
    most_notes CONSTANT bigint := 10000;
    most_bytes CONSTANT bigint := 2000000;
    -- words that the dictionary throws away only when there is nothing else: `our` is in every
    -- `colour`; a word of another script leaves no lexeme either, hence the look at its bytes
    wanted text[] := (
        SELECT coalesce(array_agg(p) FILTER (WHERE NOT (p ~ '[a-z]'
            AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')), array_agg(p))
        FROM unnest(p_pieces) p);
BEGIN
    RETURN QUERY
    WITH sized AS (
        SELECT w.at, sum(w.size) OVER (ORDER BY w.created_at DESC, w.id DESC) - w.size AS before
        FROM unnest(buckets) AS b(bucket)
        CROSS JOIN LATERAL (
            SELECT m.ctid AS at, m.created_at, m.id, octet_length(m.content) AS size
            FROM memories m
            WHERE memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id) = b.bucket
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_tags IS NULL OR m.tags @> p_tags)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            ORDER BY m.created_at DESC, m.id DESC
            LIMIT least(most_notes, 2 * most_notes / cardinality(buckets) + 1)
        ) w
    ), counted AS (
        SELECT m.id, m.created_at, (
                SELECT count(*) FROM unnest(wanted) AS piece
                WHERE position(piece IN t.lowered) > 0) AS pieces
        FROM memories m
        -- once, not for every piece
        CROSS JOIN LATERAL (SELECT lower(m.content) AS lowered OFFSET 0) t
        WHERE m.ctid = ANY (ARRAY(SELECT s.at FROM sized s WHERE s.before < most_bytes))
            AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
    )
    SELECT c.id, c.pieces FROM counted c
    WHERE c.pieces > 0 ORDER BY c.pieces DESC, c.created_at DESC, c.id DESC LIMIT p_limit;
END
$$;

-- The caller's best messages of a Space: as before, see 2026-11-28-000020_turns. New are bounds, as
-- lexical_candidates has them, on the messages that are scored, on how much is unpacked for it, and on
-- the entries of the index that are read; and of a long session its newest messages are candidates,
-- besides those with the rare words, and not all.
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
    -- pairs of a message and a word that are scored, messages, and bytes of them as they are stored
    most_pairs CONSTANT bigint := 80 * p_budget;
    most bigint := 8 * p_budget;
    most_bytes CONSTANT bigint := 16000 * p_budget;
    -- entries of the index that are read
    most_entries CONSTANT bigint := 200 * p_budget;
    lexemes text[];
    asked tsquery[];
    total double precision;
    average double precision;
    known_in bigint[];
    idf double precision[];
    frequent text[] := '{}';
    word record;
    entries_read double precision := 0;
    found tid[];
    found_rows tid[] := '{}';
    found_of integer[] := '{}';
    brings integer[];
    newest bigint;
    rows tid[];
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
    most := greatest(least(most, most_pairs / cardinality(lexemes)), p_limit);

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

    -- long words first, which are rarer; what is not looked up is a frequent one
    known_in := array_fill(p_budget + 1::bigint, ARRAY[cardinality(lexemes)]);
    FOR word IN
        SELECT l.lexeme, l.number::integer AS number
        FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
        ORDER BY length(l.lexeme) DESC, l.number
    LOOP
        found := NULL;
        IF entries_read <= most_entries THEN
            found := ARRAY(
                SELECT m.ctid FROM message_index m
                WHERE message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, word.lexeme),
                        message_word_key(p_space, me, word.lexeme)]
                LIMIT p_budget + 1);
            known_in[word.number] := cardinality(found);
        END IF;
        IF found IS NULL OR cardinality(found) > p_budget THEN
            frequent := frequent || word.lexeme;
            -- the index has read its whole list, which may be as long as all there is
            entries_read := entries_read + total;
        ELSE
            entries_read := entries_read + cardinality(found);
            found_rows := found_rows || found;
            found_of := found_of || array_fill(word.number, ARRAY[cardinality(found)]);
        END IF;
    END LOOP;
    rows := found_rows;
    IF cardinality(rows) > most THEN
        -- the rarest bring their messages, the others only score
        brings := ARRAY(
            SELECT f.number FROM (
                SELECT n.number, sum(n.messages) OVER (ORDER BY n.messages, n.number) AS so_far
                FROM unnest(known_in) WITH ORDINALITY AS n(messages, number)
                WHERE n.messages <= p_budget
            ) f
            WHERE f.so_far <= most);
        rows := ARRAY(
            SELECT f.at FROM unnest(found_rows, found_of) AS f(at, number)
            WHERE f.number = ANY (brings));
    END IF;
    IF p_session IS NOT NULL THEN
        SELECT s.last_message_seq INTO newest FROM sessions s
            WHERE s.org_id = org AND s.id = p_session AND s.space_id = p_space;
        IF newest <= most THEN
            -- a session is read whole
            rows := ARRAY(SELECT m.ctid FROM message_index m
                WHERE m.org_id = org AND m.session_id = p_session);
        ELSE
            rows := rows || ARRAY(
                SELECT i.ctid FROM messages m JOIN message_index i ON i.message_id = m.id
                WHERE m.org_id = org AND m.session_id = p_session AND m.seq > newest - most);
        END IF;
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
    IF cardinality(rows) > p_limit THEN
        -- the newest, where they are long ones
        rows := ARRAY(
            SELECT s.at FROM (
                SELECT m.ctid AS at, sum(pg_column_size(m.tsv))
                    OVER (ORDER BY m.ctid DESC ROWS UNBOUNDED PRECEDING) AS so_far
                FROM message_index m WHERE m.ctid = ANY (rows)
            ) s
            WHERE s.so_far <= most_bytes);
    END IF;

    idf := ARRAY(
        SELECT ln(1 + greatest(total - k.known + 0.5, 0.5) / (k.known + 0.5))
        FROM unnest(known_in) WITH ORDINALITY AS k(known, number) ORDER BY k.number);

    RETURN QUERY
    WITH hits AS MATERIALIZED (
        -- how often a word occurs: see lexical_candidates
        SELECT c.message_id, c.session_id, c.seq, t.number, t.idf, c.term_count / average AS length,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM (
            SELECT m.message_id, m.session_id, m.seq, m.term_count, m.tsv || ''::tsvector AS tsv
            FROM message_index m
            WHERE m.ctid = ANY (rows) AND m.org_id = org AND m.space_id = p_space
                AND (m.private_to IS NULL OR m.private_to = me)
                AND (p_session IS NULL OR m.session_id = p_session)
            OFFSET 0
        ) c
        CROSS JOIN LATERAL (
            SELECT a.term, a.idf, a.number
            FROM unnest(asked, idf) WITH ORDINALITY AS a(term, idf, number)
            WHERE c.tsv @@ a.term OFFSET 0
        ) t
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

-- The caller's messages of a Space that contain pieces literally: as before, see
-- 2026-11-22-000013_message_search; of the sessions that were changed last the newest messages, up to
-- so much text.
CREATE OR REPLACE FUNCTION literal_messages(
    p_pieces text[], p_limit integer, p_space text,
    p_session text, p_author text, p_agent text, p_after timestamptz, p_before timestamptz
) RETURNS TABLE (message_id text, session_id text, seq bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    most_messages CONSTANT bigint := 10000;
    most_bytes CONSTANT bigint := 2000000;
    wanted text[] := (
        SELECT coalesce(array_agg(p) FILTER (WHERE NOT (p ~ '[a-z]'
            AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')), array_agg(p))
        FROM unnest(p_pieces) p);
BEGIN
    IF p_space <> ALL (caller_spaces()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH newest AS (
        SELECT s.id, sum(s.last_message_seq)
                OVER (ORDER BY s.updated_at DESC, s.id DESC) - s.last_message_seq AS before
        FROM sessions s
        WHERE s.org_id = org AND s.space_id = p_space
            AND (s.visibility = 'workspace' OR s.created_by_user_id = me)
            AND (p_session IS NULL OR s.id = p_session)
    ), sized AS (
        SELECT w.at, sum(w.size) OVER (ORDER BY w.created_at DESC, w.id DESC) - w.size AS before
        FROM newest n
        CROSS JOIN LATERAL (
            SELECT m.ctid AS at, m.created_at, m.id, octet_length(m.body) AS size
            FROM messages m
            WHERE m.org_id = org AND m.session_id = n.id
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_agent IS NULL OR m.author_agent = p_agent)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            ORDER BY m.seq DESC LIMIT most_messages
        ) w
        WHERE n.before < most_messages
    ), counted AS (
        SELECT m.id, m.session_id, m.seq, m.created_at, (
                SELECT count(*) FROM unnest(wanted) AS piece
                WHERE position(piece IN t.lowered) > 0) AS pieces
        FROM messages m
        -- once, not for every piece
        CROSS JOIN LATERAL (SELECT lower(m.body) AS lowered OFFSET 0) t
        WHERE m.ctid = ANY (ARRAY(SELECT s.at FROM sized s WHERE s.before < most_bytes))
    )
    SELECT c.id, c.session_id, c.seq, c.pieces::double precision FROM counted c
    WHERE c.pieces > 0 ORDER BY c.pieces DESC, c.created_at DESC, c.id DESC LIMIT p_limit;
END
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lexical_candidates', 'lexical_messages', 'literal_memories',
        'literal_messages']
    LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        -- the planner takes an array's length for a promise: the index is right at every size
        EXECUTE format('ALTER FUNCTION %I SET enable_seqscan = off', f);
        EXECUTE format('ALTER FUNCTION %I SET plan_cache_mode = force_generic_plan', f);
    END LOOP;
END
$$;
ALTER FUNCTION literal_memories OWNER TO switchy_system;
REVOKE ALL ON FUNCTION literal_memories FROM PUBLIC;
GRANT EXECUTE ON FUNCTION literal_memories TO switchy_app;
