DROP TRIGGER leave_space ON space_members;
DROP FUNCTION leave_space, lock_space_members;
DROP POLICY editors_only ON spaces;
DROP POLICY writers_only ON memories;
DROP POLICY author_only ON memories;
DROP POLICY removers_only ON memories;
DROP POLICY writers_only ON memory_embeddings;
DROP POLICY author_only ON memory_embeddings;
DROP POLICY author_removes ON memory_embeddings;
DROP POLICY author_only ON memory_expansions;
DROP POLICY author_removes ON memory_expansions;
DROP FUNCTION caller_writes_in, caller_edits;
REVOKE UPDATE (name, description, tags, default_model, updated_at, archived_at) ON spaces
    FROM switchy_app;
REVOKE UPDATE (role) ON space_members FROM switchy_app;
GRANT UPDATE ON spaces, space_members TO switchy_app;
-- caller_manages_org stays: it is not this migration's alone
