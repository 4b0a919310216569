-- Team memory: notes, what they are found by, and who may find them.
CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE memories (
    id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    space_id text,
    author_user_id text NOT NULL REFERENCES users,
    visibility text NOT NULL CHECK (visibility IN ('PRIVATE', 'SPACE', 'ORG')),
    content text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    source_url text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    -- kept by the trigger below, whatever wrote the row
    tsv tsvector NOT NULL DEFAULT '',
    term_count integer NOT NULL DEFAULT 0,
    CHECK ((visibility = 'SPACE') = (space_id IS NOT NULL)),
    UNIQUE (org_id, id),
    FOREIGN KEY (org_id, space_id) REFERENCES spaces (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memories_recent ON memories (org_id, created_at DESC, id DESC);
CREATE INDEX memories_visible ON memories (org_id, visibility, author_user_id, space_id)
    INCLUDE (term_count);
CREATE INDEX memories_tsv ON memories USING gin (tsv);

-- Passages of a note as vectors. Narrow, and carrying the columns that decide visibility, so that
-- the policy and both kinds of scan need no look at the notes.
CREATE TABLE memory_embeddings (
    memory_id text NOT NULL,
    model_id text NOT NULL,
    passage smallint NOT NULL,
    org_id text NOT NULL,
    space_id text,
    author_user_id text NOT NULL,
    visibility text NOT NULL,
    -- where in the note, in bytes of its UTF-8
    starts_at integer NOT NULL,
    ends_at integer NOT NULL,
    embedding halfvec(384) NOT NULL,
    PRIMARY KEY (memory_id, model_id, passage),
    FOREIGN KEY (org_id, memory_id) REFERENCES memories (org_id, id) ON DELETE CASCADE
);
CREATE INDEX memory_embeddings_visible
    ON memory_embeddings (org_id, visibility, author_user_id, space_id);
CREATE INDEX memory_embeddings_hnsw ON memory_embeddings
    USING hnsw (embedding halfvec_cosine_ops);

-- What a note says in other words: weights over the reranker's vocabulary.
CREATE TABLE memory_expansions (
    memory_id text PRIMARY KEY,
    org_id text NOT NULL,
    model_id text NOT NULL,
    terms sparsevec,
    FOREIGN KEY (org_id, memory_id) REFERENCES memories (org_id, id) ON DELETE CASCADE
);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['memories', 'memory_embeddings', 'memory_expansions'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO switchy_system, switchy_app', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- PRIVATE: its author. SPACE: the members of that Space. ORG: every member of the org.
CREATE POLICY caller ON memories TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT caller_user()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
CREATE POLICY caller ON memory_embeddings TO switchy_app
    USING (org_id = (SELECT caller_org()) AND (
        visibility = 'ORG'
        OR (visibility = 'PRIVATE' AND author_user_id = (SELECT caller_user()))
        OR (visibility = 'SPACE' AND space_id = ANY ((SELECT caller_spaces())::text[]))));
-- nobody writes in another's name
CREATE POLICY own_name ON memories AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (author_user_id = (SELECT caller_user()));
CREATE POLICY own_name ON memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app
    WITH CHECK (author_user_id = (SELECT caller_user()));
CREATE POLICY caller ON memory_expansions TO switchy_app
    USING (org_id = (SELECT caller_org())
        AND EXISTS (SELECT FROM memories m WHERE m.id = memory_id))
    -- a note and its expansion are written by one statement, which cannot see the note yet
    WITH CHECK (org_id = (SELECT caller_org()));

CREATE FUNCTION index_memory() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.tsv := setweight(to_tsvector('english', array_to_string(NEW.tags, ' ')), 'A')
        || to_tsvector('english', NEW.content);
    NEW.term_count := coalesce(
        (SELECT sum(cardinality(u.positions)) FROM unnest(NEW.tsv) u), 0);
    RETURN NEW;
END
$$;
CREATE TRIGGER index_memory BEFORE INSERT OR UPDATE OF content, tags ON memories
    FOR EACH ROW EXECUTE FUNCTION index_memory();

-- An embedding follows its note to another visibility; nothing may be findable where it is not
-- readable.
CREATE FUNCTION follow_memory() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE memory_embeddings e SET visibility = NEW.visibility, space_id = NEW.space_id
        WHERE e.memory_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_memory AFTER UPDATE OF visibility, space_id ON memories
    FOR EACH ROW EXECUTE FUNCTION follow_memory();

-- The caller's best notes by BM25 (k1 1.2, b 0.75), ids and scores only. Document frequencies and
-- lengths are those of the notes that the caller can see: fairer to small teams, and the scores
-- tell nothing about what others wrote.
--
-- SECURITY DEFINER, because `@@` is not leakproof: under a policy the planner must not run it
-- before the policy, and then never uses the GIN index. Hence the predicate inside; the notes
-- themselves are read under the policy afterwards.
CREATE FUNCTION lexical_candidates(p_query text, p_space text, p_limit integer, p_terms integer)
RETURNS TABLE (memory_id text, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    mine text[] := caller_spaces();
    asked tsquery[];
    any_of tsquery;
    total double precision;
    average double precision;
BEGIN
    SELECT array_agg(q.term), string_agg(q.term::text, ' | ')::tsquery
        INTO asked, any_of
        FROM (
            SELECT ('''' ||
                replace(replace(u.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery AS term
            FROM unnest(to_tsvector('english', p_query)) u
            ORDER BY u.positions[1] LIMIT p_terms
        ) q;
    IF asked IS NULL THEN
        RETURN;
    END IF;

    SELECT count(*), greatest(avg(m.term_count), 1) INTO total, average
        FROM memories m
        WHERE m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
            AND (p_space IS NULL OR m.space_id = p_space);

    RETURN QUERY
    WITH matching AS MATERIALIZED (
        -- concatenated with nothing, a tsvector is unpacked once, not once for every term
        SELECT m.id, m.term_count, m.tsv || ''::tsvector AS tsv
        FROM memories m
        WHERE m.tsv @@ any_of AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
            AND (p_space IS NULL OR m.space_id = p_space)
    ), hits AS MATERIALIZED (
        -- How often a term occurs: ts_rank of a single term is the sum of 1/j^2 over its
        -- occurrences, divided by pi^2/6, whose inverse this is to within 0.05. Unnesting the
        -- tsvector would yield every other term of the note, too.
        SELECT c.id, c.term_count, t.number,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM matching c, unnest(asked) WITH ORDINALITY AS t(term, number)
        WHERE c.tsv @@ t.term
    ), weights AS MATERIALIZED (
        SELECT h.number, ln(1 + (total - count(*) + 0.5) / (count(*) + 0.5)) AS idf
        FROM hits h GROUP BY h.number
    )
    SELECT h.id, sum(w.idf * h.tf * 2.2 / (h.tf + 1.2 * (0.25 + 0.75 * h.term_count / average)))
    FROM hits h JOIN weights w ON w.number = h.number
    GROUP BY h.id ORDER BY 2 DESC, 1 DESC LIMIT p_limit;
END
$$;

DO $$
DECLARE
    here text := current_schema();
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['lexical_candidates', 'follow_memory'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', f, here);
        EXECUTE format('ALTER FUNCTION %I OWNER TO switchy_system', f);
        EXECUTE format('REVOKE ALL ON FUNCTION %I FROM PUBLIC', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I TO switchy_app', f);
    END LOOP;
END
$$;
