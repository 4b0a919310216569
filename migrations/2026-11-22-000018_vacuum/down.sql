ALTER TABLE memory_embeddings RESET (vacuum_index_cleanup, autovacuum_vacuum_scale_factor);
