-- A word that somebody said a turn or two before or after counts half of what it counts where it was
-- said, and once. Before, it counted as though it had been said in the message itself, .4 or .2 times:
-- that drowned the message which answers the question among the ones around it.

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
