-- Which models this database is searched with. Vectors of other models may be there beside theirs,
-- while a change of the model is under way; no search compares the two.
CREATE TABLE search_models (
    is_active boolean PRIMARY KEY DEFAULT true CHECK (is_active),
    model_id text NOT NULL,
    -- the reranker's
    sparse_model_id text,
    activated_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE search_models ENABLE ROW LEVEL SECURITY;
ALTER TABLE search_models FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON search_models TO switchy_system;
GRANT SELECT ON search_models TO switchy_app;
CREATE POLICY system ON search_models TO switchy_system USING (true) WITH CHECK (true);
-- the same for everybody
CREATE POLICY everybody ON search_models FOR SELECT TO switchy_app USING (true);

-- both models' expansions are kept until the change
ALTER TABLE memory_expansions DROP CONSTRAINT memory_expansions_pkey;
ALTER TABLE memory_expansions ADD PRIMARY KEY (memory_id, model_id);

-- how many passages a caller sees is asked with every search: the index alone is to tell
DROP INDEX memory_embeddings_visible;
CREATE INDEX memory_embeddings_visible
    ON memory_embeddings (org_id, visibility, author_user_id, space_id) INCLUDE (model_id);

-- what is embedded already stays what is searched
SET LOCAL ROLE switchy_system;
INSERT INTO search_models (model_id, sparse_model_id)
    SELECT e.model_id, (SELECT x.model_id FROM memory_expansions x
        GROUP BY x.model_id ORDER BY count(*) DESC LIMIT 1)
    FROM memory_embeddings e GROUP BY e.model_id ORDER BY count(*) DESC LIMIT 1;
RESET ROLE;

-- Whether vectors of the model are to be written and compared. Until the first server with a model
-- has said which one it is, anybody's are.
CREATE FUNCTION is_active_model(p_model text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce((SELECT m.model_id = p_model FROM search_models m), true);
CREATE FUNCTION is_active_sparse_model(p_model text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN NOT EXISTS (SELECT FROM search_models m
        WHERE m.sparse_model_id IS DISTINCT FROM p_model);
