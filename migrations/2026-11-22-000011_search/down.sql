DROP FUNCTION lexical_candidates, filtered_memories, caller_buckets, count_common_words,
    count_memories;
DROP TABLE memory_common_words, memory_statistics;
DROP INDEX memories_keys, memories_space;
DROP FUNCTION memory_keys, memory_tag_key, memory_word_key, memory_bucket;
CREATE INDEX memories_tsv ON memories USING gin (tsv);
