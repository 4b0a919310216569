DROP TABLE memory_expansions, memory_embeddings, memories CASCADE;
DROP FUNCTION lexical_candidates, follow_memory, index_memory;
