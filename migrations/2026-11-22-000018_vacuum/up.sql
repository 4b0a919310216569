-- The index over all vectors keeps those of deleted notes until a VACUUM that cleans indexes, and
-- every search that comes near them walks through them: 1,000 of them doubled its time. A VACUUM that
-- finds few does not clean indexes unless it is told to, and none comes before every fifth note is
-- gone. Cleaning the index of 100,000 vectors takes some three seconds, in the background.
ALTER TABLE memory_embeddings SET (
    vacuum_index_cleanup = on,
    autovacuum_vacuum_scale_factor = 0.02
);
