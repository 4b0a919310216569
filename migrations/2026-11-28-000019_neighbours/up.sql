-- Candidates say something about each other, too: with how near each is to the question comes its
-- vector, where it is asked for.

DROP FUNCTION note_similarities;

-- How near the caller's notes of these are to a question: cosine, place and, with p_vectors, vector
-- of the nearest passage, and the inner product of the expansions, each NULL where there is none. Of
-- a hundred candidates or two, whoever asks reads the few that come out first, under the policy.
--
-- SECURITY DEFINER: by the policies each vector and each expansion would be asked for whose it is
-- once more, though all of them are the notes' own. Hence the predicate inside.
CREATE FUNCTION note_similarities(
    p_notes text[], p_vector halfvec, p_model text, p_terms sparsevec, p_sparse_model text,
    p_vectors boolean
) RETURNS TABLE (
    memory_id text, cosine double precision, starts_at integer, ends_at integer,
    vector halfvec, expansion double precision
)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    asked sparsevec := CASE WHEN is_active_sparse_model(p_sparse_model) THEN p_terms END;
BEGIN
    RETURN QUERY
    SELECT i.id, 1 - n.distance, n.starts_at, n.ends_at, n.vector, (
            SELECT -(x.terms <#> asked) FROM memory_expansions x
            WHERE x.memory_id = i.id AND x.model_id = p_sparse_model)
    FROM unnest(p_notes) AS i(id)
    LEFT JOIN LATERAL (
        -- `+ 0` hides the order from the index over all vectors
        SELECT (e.embedding <=> p_vector) + 0 AS distance, e.starts_at, e.ends_at,
            CASE WHEN p_vectors THEN e.embedding END AS vector
        FROM memory_embeddings e
        WHERE e.memory_id = i.id AND e.model_id = p_model AND e.org_id = org
            AND (e.visibility = 'ORG'
                OR (e.visibility = 'PRIVATE' AND e.author_user_id = me)
                OR (e.visibility = 'SPACE' AND e.space_id = ANY (mine)))
        ORDER BY 1, 2 DESC LIMIT 1
    ) n ON true
    WHERE n.distance IS NOT NULL OR EXISTS (
        SELECT FROM memories m
        WHERE m.id = i.id AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine))));
END
$$;

DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION note_similarities SET search_path = %I, pg_temp',
        current_schema());
END
$$;
ALTER FUNCTION note_similarities SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION note_similarities OWNER TO switchy_system;
REVOKE ALL ON FUNCTION note_similarities FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_similarities TO switchy_app;
