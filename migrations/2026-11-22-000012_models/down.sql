DROP FUNCTION is_active_model, is_active_sparse_model;
DELETE FROM memory_expansions x WHERE EXISTS (SELECT FROM memory_expansions y
    WHERE y.memory_id = x.memory_id AND y.model_id > x.model_id);
ALTER TABLE memory_expansions DROP CONSTRAINT memory_expansions_pkey;
ALTER TABLE memory_expansions ADD PRIMARY KEY (memory_id);
DROP TABLE search_models;
DROP INDEX memory_embeddings_visible;
CREATE INDEX memory_embeddings_visible
    ON memory_embeddings (org_id, visibility, author_user_id, space_id);
