--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: vector; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;


--
-- Name: EXTENSION vector; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION vector IS 'vector data type and ivfflat and hnsw access methods';


--
-- Name: accept_invitation(bytea, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.accept_invitation(p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text, OUT name text, OUT joined_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    i invitations;
    u users;
    t timestamptz;
BEGIN
    SELECT * INTO i FROM invitations x WHERE x.digest = p_digest;
    IF i.id IS NULL THEN
        outcome := 'absent';
        RETURN;
    END IF;
    SELECT * INTO u FROM users x WHERE x.id = caller_user();
    IF u.id IS NULL OR lower(u.email) <> lower(i.email) THEN
        outcome := 'another';
        RETURN;
    END IF;
    -- what is over stays over
    IF i.status <> 'PENDING' THEN
        outcome := i.status;
        RETURN;
    END IF;
    IF i.expires_at <= coalesce(p_now, clock_timestamp()) THEN
        outcome := 'EXPIRED';
        RETURN;
    END IF;
    PERFORM FROM orgs o WHERE o.id = i.org_id FOR NO KEY UPDATE;
    SELECT * INTO i FROM invitations x WHERE x.digest = p_digest FOR UPDATE;
    IF i.id IS NULL THEN
        outcome := 'absent';
        RETURN;
    END IF;
    t := coalesce(p_now, clock_timestamp());
    IF i.status <> 'PENDING' THEN
        outcome := i.status;
        RETURN;
    END IF;
    IF i.expires_at <= t THEN
        outcome := 'EXPIRED';
        RETURN;
    END IF;
    INSERT INTO members AS m (org_id, user_id, role, joined_at) VALUES (i.org_id, u.id, i.role, t)
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        outcome := 'member';
        RETURN;
    END IF;
    UPDATE invitations x SET status = 'ACCEPTED', ended_at = t, accepted_by_user_id = u.id
        WHERE x.id = i.id;
    outcome := 'joined';
    org_id := i.org_id;
    user_id := u.id;
    role := i.role;
    email := u.email;
    name := u.name;
    joined_at := t;
END
$$;


ALTER FUNCTION public.accept_invitation(p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text, OUT name text, OUT joined_at timestamp with time zone) OWNER TO switchy_system;

--
-- Name: acting_key(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.acting_key() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(current_setting('switchy.acting_key'::text, true), ''::text);


ALTER FUNCTION public.acting_key() OWNER TO switchy;

--
-- Name: actor_of_key(text, text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT actor.role, actor.user_id = k.user_id OR EXISTS (SELECT FROM delegations d
            WHERE d.user_id = actor.user_id AND d.key_id = k.id AND d.org_id = k.org_id)
    FROM api_keys k
        JOIN members holder ON holder.org_id = k.org_id AND holder.user_id = k.user_id
        JOIN members actor ON actor.org_id = k.org_id AND actor.user_id = p_actor
    WHERE k.id = p_key_id AND (actor.user_id = k.user_id OR CASE holder.role
        WHEN 'OWNER' THEN true
        WHEN 'ADMIN' THEN actor.role IN ('ADMIN', 'MEMBER')
        ELSE false END)
$$;


ALTER FUNCTION public.actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean) OWNER TO switchy_system;

--
-- Name: authenticate(bytea, text, text, integer, integer, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.authenticate(p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer, p_now timestamp with time zone, OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[], OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone, OUT at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    used_at timestamptz;
BEGIN
    -- A lost count costs nobody anything: a crash must not be waited for here.
    PERFORM set_config('synchronous_commit', 'off', true);
    at := coalesce(p_now, clock_timestamp());
    SELECT k.id, k.user_id, k.org_id, m.role, k.scopes, k.last_used_at
        INTO key_id, user_id, org_id, role, scopes, used_at
        FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
        WHERE k.digest = p_digest AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > at);
    IF key_id IS NULL THEN
        SELECT c.allowed, c.remaining, c.reset_at INTO allowed, remaining, reset_at
            FROM count_request('address:' || p_address, 'failure', p_failure_limit, p_now) c;
        at := coalesce(p_now, clock_timestamp());
        RETURN;
    END IF;
    SELECT c.allowed, c.remaining, c.reset_at INTO allowed, remaining, reset_at
        FROM count_request('key:' || key_id, p_bucket, p_limit, p_now) c;
    at := coalesce(p_now, clock_timestamp());
    IF allowed AND (used_at IS NULL OR used_at < at - interval '1 minute') THEN
        -- of several at the same moment, one
        UPDATE api_keys k SET last_used_at = at WHERE k.id = authenticate.key_id
            AND (k.last_used_at IS NULL OR k.last_used_at < at - interval '1 minute');
    END IF;
END
$$;


ALTER FUNCTION public.authenticate(p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer, p_now timestamp with time zone, OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[], OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone, OUT at timestamp with time zone) OWNER TO switchy_system;

--
-- Name: bound_backlog(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.bound_backlog() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r record;
    most bigint;
    waits bigint;
BEGIN
    FOR r IN SELECT a.org_id, a.author_user_id, count(*) AS notes FROM added a GROUP BY 1, 2 LOOP
        SELECT coalesce(q.waiting, d.waiting) INTO most
            FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = r.org_id;
        IF most > 0 AND EXISTS (SELECT FROM search_models s
            WHERE s.embedding_at > clock_timestamp() - interval '20 minutes')
        THEN
            SELECT count(*) INTO waits FROM memory_backlog b
                WHERE b.org_id = r.org_id AND b.author_user_id = r.author_user_id;
            IF waits > most THEN
                PERFORM refuse_for_quota('waiting', format(
                    '%s of your notes wait to be embedded, and at most %s may: send these later',
                    waits - r.notes, most));
            END IF;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.bound_backlog() OWNER TO switchy_system;

--
-- Name: caller_consents(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.caller_consents() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT EXISTS (SELECT FROM delegations d WHERE d.user_id = caller_user()
        AND d.key_id = acting_key() AND d.org_id = caller_org())
$$;


ALTER FUNCTION public.caller_consents() OWNER TO switchy_system;

--
-- Name: caller_org(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_org() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(current_setting('switchy.org_id'::text, true), ''::text);


ALTER FUNCTION public.caller_org() OWNER TO switchy;

--
-- Name: caller_user(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_user() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(current_setting('switchy.user_id'::text, true), ''::text);


ALTER FUNCTION public.caller_user() OWNER TO switchy;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: space_members; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.space_members (
    org_id text NOT NULL,
    space_id text NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT space_members_role_check CHECK ((role = ANY (ARRAY['OWNER'::text, 'EDITOR'::text, 'MEMBER'::text, 'VIEWER'::text])))
);

ALTER TABLE ONLY public.space_members FORCE ROW LEVEL SECURITY;


ALTER TABLE public.space_members OWNER TO switchy;

--
-- Name: spaces; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.spaces (
    id text NOT NULL,
    org_id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    default_model text,
    created_by_user_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    archived_at timestamp with time zone
);

ALTER TABLE ONLY public.spaces FORCE ROW LEVEL SECURITY;


ALTER TABLE public.spaces OWNER TO switchy;

--
-- Name: caller_spaces(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_spaces() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT COALESCE(array_agg(m.space_id), '{}'::text[]) AS "coalesce"
    FROM (public.space_members m
      JOIN public.spaces s ON ((s.id = m.space_id)))
   WHERE ((m.org_id = public.caller_org()) AND (m.user_id = public.caller_user()) AND (s.archived_at IS NULL));
END;


ALTER FUNCTION public.caller_spaces() OWNER TO switchy;

--
-- Name: consenting_caller(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.consenting_caller() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN ((public.acting_key() = ''::text) OR public.caller_consents()) THEN public.caller_user() ELSE ''::text END;


ALTER FUNCTION public.consenting_caller() OWNER TO switchy;

--
-- Name: memory_bucket(text, text, text, text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.memory_bucket(org_id text, visibility text, author_user_id text, space_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE visibility WHEN 'ORG'::text THEN ('ORG '::text || org_id) WHEN 'SPACE'::text THEN ('SPACE '::text || space_id) ELSE ((('PRIVATE '::text || org_id) || ' '::text) || author_user_id) END;


ALTER FUNCTION public.memory_bucket(org_id text, visibility text, author_user_id text, space_id text) OWNER TO switchy;

--
-- Name: private_reader(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.private_reader() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN (current_setting('switchy.private_notes'::text, true) = 'closed'::text) THEN ''::text ELSE public.consenting_caller() END;


ALTER FUNCTION public.private_reader() OWNER TO switchy;

--
-- Name: caller_buckets(text, text, text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_buckets(p_space text, p_visibility text, p_author text) RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT array_agg(public.memory_bucket(public.caller_org(), b.visibility, public.private_reader(), b.space_id)) AS array_agg
    FROM ( SELECT 'ORG'::text AS "?column?",
             NULL::text AS "?column?"
           WHERE (caller_buckets.p_space IS NULL)
         UNION ALL
          SELECT 'PRIVATE'::text,
             NULL::text
           WHERE ((caller_buckets.p_space IS NULL) AND (public.private_reader() <> ''::text) AND ((caller_buckets.p_author IS NULL) OR (caller_buckets.p_author = public.private_reader())))
         UNION ALL
          SELECT 'SPACE'::text,
             s.id
            FROM unnest(public.caller_spaces()) s(id)
           WHERE ((caller_buckets.p_space IS NULL) OR (s.id = caller_buckets.p_space))) b(visibility, space_id)
   WHERE ((caller_buckets.p_visibility IS NULL) OR (b.visibility = caller_buckets.p_visibility));
END;


ALTER FUNCTION public.caller_buckets(p_space text, p_visibility text, p_author text) OWNER TO switchy;

--
-- Name: caller_edited_spaces(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_edited_spaces() RETURNS text[]
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT COALESCE(array_agg(m.space_id), '{}'::text[]) AS "coalesce"
    FROM (public.space_members m
      JOIN public.spaces s ON ((s.id = m.space_id)))
   WHERE ((m.org_id = public.caller_org()) AND (m.user_id = public.caller_user()) AND (s.archived_at IS NULL) AND (m.role = ANY (ARRAY['OWNER'::text, 'EDITOR'::text])));
END;


ALTER FUNCTION public.caller_edited_spaces() OWNER TO switchy;

--
-- Name: caller_edits(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_edits(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM (public.space_members m
              JOIN public.spaces s ON ((s.id = m.space_id)))
           WHERE ((m.space_id = caller_edits.space) AND (m.user_id = public.caller_user()) AND (m.role = ANY (ARRAY['OWNER'::text, 'EDITOR'::text])) AND (s.archived_at IS NULL)))) AS "exists";
END;


ALTER FUNCTION public.caller_edits(space text) OWNER TO switchy;

--
-- Name: caller_is_member_of(text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.caller_is_member_of(p_org text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT EXISTS (SELECT FROM members m WHERE m.org_id = p_org AND m.user_id = caller_user())
$$;


ALTER FUNCTION public.caller_is_member_of(p_org text) OWNER TO switchy_system;

--
-- Name: members; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.members (
    org_id text NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL,
    joined_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT members_role_check CHECK ((role = ANY (ARRAY['OWNER'::text, 'ADMIN'::text, 'MEMBER'::text])))
);

ALTER TABLE ONLY public.members FORCE ROW LEVEL SECURITY;


ALTER TABLE public.members OWNER TO switchy;

--
-- Name: caller_manages_org(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_manages_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM public.members m
           WHERE ((m.org_id = public.caller_org()) AND (m.user_id = public.caller_user()) AND (m.role = ANY (ARRAY['OWNER'::text, 'ADMIN'::text]))))) AS "exists";
END;


ALTER FUNCTION public.caller_manages_org() OWNER TO switchy;

--
-- Name: caller_owns_org(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_owns_org() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM public.members m
           WHERE ((m.org_id = public.caller_org()) AND (m.user_id = public.caller_user()) AND (m.role = 'OWNER'::text)))) AS "exists";
END;


ALTER FUNCTION public.caller_owns_org() OWNER TO switchy;

--
-- Name: caller_runs_integrations(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_runs_integrations() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM public.members m
           WHERE ((m.org_id = public.caller_org()) AND (m.user_id = public.caller_user()) AND (m.role = ANY (ARRAY['OWNER'::text, 'ADMIN'::text]))))) AS "exists";
END;


ALTER FUNCTION public.caller_runs_integrations() OWNER TO switchy;

--
-- Name: caller_writes_in(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.caller_writes_in(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM (public.space_members m
              JOIN public.spaces s ON ((s.id = m.space_id)))
           WHERE ((m.space_id = caller_writes_in.space) AND (m.user_id = public.caller_user()) AND (m.role <> 'VIEWER'::text) AND (s.archived_at IS NULL)))) AS "exists";
END;


ALTER FUNCTION public.caller_writes_in(space text) OWNER TO switchy;

--
-- Name: carry_credits(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.carry_credits() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE credit_balances SET entries = NEW.entry, monthly = NEW.monthly_after,
        topup = NEW.topup_after
        WHERE org_id = NEW.org_id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.carry_credits() OWNER TO switchy;

--
-- Name: check_credit_balance(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.check_credit_balance() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND NEW.org_id <> OLD.org_id) THEN
        RAISE EXCEPTION 'a credit balance stays' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.entries = 0 AND NEW.monthly = 0 AND NEW.topup = 0
        AND NOT EXISTS (SELECT FROM credit_ledger l WHERE l.org_id = NEW.org_id)
    THEN
        RETURN NULL;
    END IF;
    IF NOT EXISTS (SELECT FROM credit_ledger l WHERE l.org_id = NEW.org_id
            AND l.entry = NEW.entries AND l.monthly_after = NEW.monthly
            AND l.topup_after = NEW.topup)
        OR EXISTS (SELECT FROM credit_ledger l WHERE l.org_id = NEW.org_id
            AND l.entry > NEW.entries)
    THEN
        RAISE EXCEPTION 'the credit balance is not the sum of its entries'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.check_credit_balance() OWNER TO switchy;

--
-- Name: claim_idempotency(text, text, text, text, bytea, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.claim_idempotency(p_key_id text, p_method text, p_path text, p_idempotency_key text, p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT status smallint, OUT body text, OUT location text, OUT rights text[]) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    found_row idempotency_keys;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(
        concat_ws(chr(31), p_key_id, p_method, p_path, p_idempotency_key), 1)) THEN
        outcome := 'running';
        RETURN;
    END IF;
    DELETE FROM idempotency_keys i WHERE i.key_id = p_key_id AND i.method = p_method
        AND i.path = p_path AND i.idempotency_key = p_idempotency_key
        AND i.created_at <= coalesce(p_now, clock_timestamp()) - interval '24 hours';
    SELECT * INTO found_row FROM idempotency_keys i WHERE i.key_id = p_key_id
        AND i.method = p_method AND i.path = p_path AND i.idempotency_key = p_idempotency_key;
    IF found_row.key_id IS NULL THEN
        outcome := 'claimed';
    ELSIF found_row.request_digest <> p_digest THEN
        outcome := 'mismatch';
    ELSE
        outcome := 'replay';
        status := found_row.status;
        body := found_row.body;
        location := found_row.location;
        rights := found_row.rights;
    END IF;
END
$$;


ALTER FUNCTION public.claim_idempotency(p_key_id text, p_method text, p_path text, p_idempotency_key text, p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT status smallint, OUT body text, OUT location text, OUT rights text[]) OWNER TO switchy;

--
-- Name: count_common_words(bigint, bigint); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.count_common_words(p_listed bigint, p_sample bigint) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    s memory_statistics;
    each bigint;
BEGIN
    SELECT * INTO s FROM memory_statistics t
        WHERE t.notes_at_count IS NULL OR abs(t.notes - t.notes_at_count) * 10 > t.notes_at_count
        ORDER BY t.org_id, t.bucket LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF s.bucket IS NULL THEN
        RETURN false;
    END IF;
    each := greatest(s.notes / p_sample, 1);
    DELETE FROM memory_common_words w WHERE w.org_id = s.org_id AND w.bucket = s.bucket;
    INSERT INTO memory_common_words (org_id, bucket, lexeme, notes)
        SELECT s.org_id, s.bucket, l.lexeme, count(*) * each
        FROM memories m, unnest(tsvector_to_array(m.tsv)) AS l(lexeme)
        WHERE m.org_id = s.org_id
            AND m.visibility = split_part(s.bucket, ' ', 1)
            AND memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id) = s.bucket
            AND (hashtextextended(m.id, 0) & 9223372036854775807) % each = 0
        GROUP BY l.lexeme HAVING count(*) * each >= p_listed AND count(*) >= 4;
    UPDATE memory_statistics t SET notes_at_count = t.notes
        WHERE t.org_id = s.org_id AND t.bucket = s.bucket;
    RETURN true;
END
$$;


ALTER FUNCTION public.count_common_words(p_listed bigint, p_sample bigint) OWNER TO switchy;

--
-- Name: count_mcp_servers(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.count_mcp_servers() RETURNS bigint
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('mcp_servers:' || caller_org(), 0));
    RETURN (SELECT count(*) FROM mcp_servers WHERE org_id = caller_org());
END
$$;


ALTER FUNCTION public.count_mcp_servers() OWNER TO switchy;

--
-- Name: memories; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memories (
    id text NOT NULL,
    org_id text NOT NULL,
    space_id text,
    author_user_id text NOT NULL,
    visibility text NOT NULL,
    content text NOT NULL,
    tags text[] DEFAULT '{}'::text[] NOT NULL,
    source_url text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    tsv tsvector DEFAULT ''::tsvector NOT NULL,
    term_count integer DEFAULT 0 NOT NULL,
    written_by_user_id text,
    CONSTRAINT memories_check CHECK (((visibility = 'SPACE'::text) = (space_id IS NOT NULL))),
    CONSTRAINT memories_visibility_check CHECK ((visibility = ANY (ARRAY['PRIVATE'::text, 'SPACE'::text, 'ORG'::text])))
);

ALTER TABLE ONLY public.memories FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memories OWNER TO switchy;

--
-- Name: memory_statistics; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memory_statistics (
    org_id text NOT NULL,
    bucket text NOT NULL,
    notes bigint NOT NULL,
    words bigint NOT NULL,
    notes_at_count bigint
);

ALTER TABLE ONLY public.memory_statistics FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memory_statistics OWNER TO switchy;

--
-- Name: count_memories(bigint); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.count_memories(p_least bigint) RETURNS void
    LANGUAGE sql
    BEGIN ATOMIC
 WITH counted AS MATERIALIZED (
          SELECT m.org_id,
             public.memory_bucket(m.org_id, m.visibility, m.author, m.space_id) AS bucket,
             (sum(m.notes))::bigint AS notes,
             (sum(m.words))::bigint AS words
            FROM ( SELECT g.org_id,
                     g.visibility,
                     g.space_id,
                         CASE g.visibility
                             WHEN 'PRIVATE'::text THEN g.author_user_id
                             ELSE NULL::text
                         END AS author,
                     count(*) AS notes,
                     sum(g.term_count) AS words
                    FROM public.memories g
                   GROUP BY g.org_id, g.visibility, g.space_id,
                         CASE g.visibility
                             WHEN 'PRIVATE'::text THEN g.author_user_id
                             ELSE NULL::text
                         END) m
           GROUP BY m.org_id, (public.memory_bucket(m.org_id, m.visibility, m.author, m.space_id))
          HAVING (sum(m.notes) >= (count_memories.p_least)::numeric)
         ), gone AS (
          DELETE FROM public.memory_statistics s_1
           WHERE (NOT (EXISTS ( SELECT
                    FROM counted c
                   WHERE ((c.org_id = s_1.org_id) AND (c.bucket = s_1.bucket)))))
         )
  INSERT INTO public.memory_statistics AS s (org_id, bucket, notes, words)  SELECT c.org_id,
             c.bucket,
             c.notes,
             c.words
            FROM counted c ON CONFLICT(org_id, bucket) DO UPDATE SET notes = excluded.notes, words = excluded.words
   WHERE ((s.notes <> excluded.notes) OR (s.words <> excluded.words));
END;


ALTER FUNCTION public.count_memories(p_least bigint) OWNER TO switchy;

--
-- Name: count_messages(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.count_messages() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, sum(octet_length(a.body)
                + coalesce(octet_length(a.tool_calls::text), 0)
                + coalesce(octet_length(a.metadata::text), 0)) AS bytes
            FROM added a GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, r.bytes);
        END LOOP;
    ELSE
        FOR r IN SELECT g.org_id, sum(octet_length(g.body)
                + coalesce(octet_length(g.tool_calls::text), 0)
                + coalesce(octet_length(g.metadata::text), 0)) AS bytes
            FROM removed g GROUP BY g.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, -r.bytes);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.count_messages() OWNER TO switchy_system;

--
-- Name: count_notes(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.count_notes() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, count(*) AS notes, sum(octet_length(a.content)) AS bytes
            FROM added a GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, r.notes, r.bytes);
        END LOOP;
    ELSIF TG_OP = 'DELETE' THEN
        FOR r IN SELECT g.org_id, count(*) AS notes, sum(octet_length(g.content)) AS bytes
            FROM removed g GROUP BY g.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, -r.notes, -r.bytes);
        END LOOP;
    ELSE
        FOR r IN SELECT a.org_id, sum(octet_length(a.content) - octet_length(g.content)) AS bytes
            FROM added a JOIN removed g ON g.id = a.id WHERE a.content <> g.content
            GROUP BY a.org_id
        LOOP
            PERFORM use_quota(r.org_id, 0, 0, 0, r.bytes);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.count_notes() OWNER TO switchy_system;

--
-- Name: count_request(text, text, integer, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.count_request(p_subject text, p_bucket text, p_limit integer, p_now timestamp with time zone, OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    r rate_limits;
    t timestamptz;
    used double precision;
BEGIN
    IF p_limit <= 0 THEN
        allowed := true;
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(concat_ws(chr(31), p_subject, p_bucket), 3));
    -- a statement of its own: it sees what was committed while this one waited
    SELECT * INTO r FROM rate_limits WHERE subject = p_subject AND bucket = p_bucket;
    t := coalesce(p_now, clock_timestamp());
    IF p_limit <= 1000 THEN
        r.hits := coalesce((SELECT array_agg(h ORDER BY h) FROM unnest(r.hits) h
            WHERE h > t - interval '60 seconds'), '{}');
        allowed := cardinality(r.hits) < p_limit;
        IF allowed THEN
            r.hits := r.hits || t;
        END IF;
        remaining := greatest(p_limit - cardinality(r.hits), 0);
        -- when the next place is free: after a lowered limit, several must go first
        reset_at := r.hits[greatest(cardinality(r.hits) - p_limit, 0) + 1] + interval '60 seconds';
        r.window_start := NULL;
    ELSE
        IF r.window_start IS NULL OR t >= r.window_start + interval '120 seconds' THEN
            r.window_start := t;
            r.window_hits := 0;
            r.previous_hits := 0;
        ELSIF t >= r.window_start + interval '60 seconds' THEN
            r.window_start := r.window_start + interval '60 seconds';
            r.previous_hits := r.window_hits;
            r.window_hits := 0;
        END IF;
        used := r.window_hits + r.previous_hits
            * (1 - extract(epoch FROM t - r.window_start)::double precision / 60);
        allowed := used + 1 <= p_limit;
        IF allowed THEN
            r.window_hits := r.window_hits + 1;
            used := used + 1;
        END IF;
        remaining := greatest(floor(p_limit - used)::integer, 0);
        reset_at := r.window_start + interval '60 seconds';
        r.hits := '{}';
    END IF;
    IF NOT allowed THEN
        RETURN;
    END IF;
    -- `touched_at` decides what is forgotten after a day: to the hour is enough, and spares the
    -- index over it an entry for each request
    UPDATE rate_limits l SET hits = r.hits, window_start = r.window_start,
            window_hits = coalesce(r.window_hits, 0), previous_hits = coalesce(r.previous_hits, 0),
            touched_at = CASE WHEN l.touched_at <= t - interval '1 hour' THEN t
                ELSE l.touched_at END
        WHERE l.subject = p_subject AND l.bucket = p_bucket;
    IF NOT FOUND THEN
        INSERT INTO rate_limits (subject, bucket, hits, window_start, window_hits, previous_hits,
                touched_at)
            VALUES (p_subject, p_bucket, r.hits, r.window_start, coalesce(r.window_hits, 0),
                coalesce(r.previous_hits, 0), t);
    END IF;
END
$$;


ALTER FUNCTION public.count_request(p_subject text, p_bucket text, p_limit integer, p_now timestamp with time zone, OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone) OWNER TO switchy;

--
-- Name: count_sessions(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.count_sessions() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r record;
BEGIN
    IF TG_OP = 'INSERT' THEN
        FOR r IN SELECT a.org_id, count(*) AS sessions FROM added a GROUP BY a.org_id LOOP
            PERFORM use_quota(r.org_id, 0, r.sessions, 0, 0);
        END LOOP;
    ELSE
        FOR r IN SELECT g.org_id, count(*) AS sessions FROM removed g GROUP BY g.org_id LOOP
            PERFORM use_quota(r.org_id, 0, -r.sessions, 0, 0);
        END LOOP;
    END IF;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.count_sessions() OWNER TO switchy_system;

--
-- Name: count_spaces(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.count_spaces() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r record;
    most bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        FOR r IN SELECT g.org_id, count(*) AS spaces FROM removed g GROUP BY g.org_id LOOP
            PERFORM use_quota(r.org_id, -r.spaces, 0, 0, 0);
        END LOOP;
        RETURN NULL;
    END IF;
    FOR r IN SELECT a.org_id, count(*) AS spaces FROM added a GROUP BY a.org_id LOOP
        PERFORM use_quota(r.org_id, r.spaces, 0, 0, 0);
    END LOOP;
    -- one MEMBER must not take all of them
    FOR r IN SELECT DISTINCT a.org_id, a.created_by_user_id AS maker
        FROM added a JOIN members m ON m.org_id = a.org_id AND m.user_id = a.created_by_user_id
        WHERE m.role = 'MEMBER'
    LOOP
        SELECT coalesce(q.member_spaces, d.member_spaces) INTO most
            FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = r.org_id;
        IF most > 0 AND most < (SELECT count(*) FROM spaces s
            WHERE s.org_id = r.org_id AND s.created_by_user_id = r.maker)
        THEN
            PERFORM refuse_for_quota('member_spaces', format(
                'a MEMBER may make %s Spaces (archived ones count), and you have: let an OWNER or '
                'ADMIN of the organization make it, or ask the operator of this server for more',
                most));
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.count_spaces() OWNER TO switchy_system;

--
-- Name: end_invitation(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.end_invitation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE invitation_mails m SET nonce = NULL, next_attempt_at = NULL
        WHERE m.invitation_id = NEW.id AND m.next_attempt_at IS NOT NULL;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.end_invitation() OWNER TO switchy_system;

--
-- Name: enter_credits(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.enter_credits() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    b credit_balances;
BEGIN
    INSERT INTO credit_balances (org_id) VALUES (NEW.org_id) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT b FROM credit_balances WHERE org_id = NEW.org_id FOR UPDATE;
    NEW.entry := b.entries + 1;
    NEW.monthly_after := b.monthly + NEW.monthly;
    NEW.topup_after := b.topup + NEW.topup;
    RETURN NEW;
END
$$;


ALTER FUNCTION public.enter_credits() OWNER TO switchy;

--
-- Name: filtered_memories(integer, text, text, text, text[], timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.filtered_memories(p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) RETURNS SETOF text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    tagged bigint[] := (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
        FROM unnest(caller_buckets(p_space, p_visibility, p_author)) AS b(bucket));
BEGIN
    IF p_tags IS NOT NULL THEN
        RETURN QUERY SELECT m.id FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                    && tagged
                AND m.tags @> p_tags AND m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
                AND (p_visibility IS NULL OR m.visibility = p_visibility)
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            LIMIT p_limit;
    ELSE
        RETURN QUERY SELECT m.id FROM memories m
            WHERE m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
                AND (p_visibility IS NULL OR m.visibility = p_visibility)
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND m.created_at >= coalesce(p_after, '-infinity')
                AND m.created_at < coalesce(p_before, 'infinity')
            LIMIT p_limit;
    END IF;
END
$$;


ALTER FUNCTION public.filtered_memories(p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) OWNER TO switchy_system;

--
-- Name: follow_memory(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.follow_memory() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE memory_embeddings e SET visibility = NEW.visibility, space_id = NEW.space_id
        WHERE e.memory_id = NEW.id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.follow_memory() OWNER TO switchy_system;

--
-- Name: follow_session(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.follow_session() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE message_index i SET space_id = NEW.space_id,
            private_to = CASE NEW.visibility WHEN 'workspace' THEN NULL
                ELSE NEW.created_by_user_id END
        WHERE i.org_id = NEW.org_id AND i.session_id = NEW.id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.follow_session() OWNER TO switchy_system;

--
-- Name: forget_mcp_secret(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.forget_mcp_secret() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM vault_secrets v WHERE v.org_id = OLD.org_id AND v.id = OLD.secret_id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.forget_mcp_secret() OWNER TO switchy_system;

--
-- Name: founded_by_caller(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.founded_by_caller(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT ((EXISTS ( SELECT
            FROM public.spaces s
           WHERE ((s.id = founded_by_caller.space) AND (s.created_by_user_id = public.caller_user())))) AND (NOT (EXISTS ( SELECT
            FROM public.space_members m
           WHERE (m.space_id = founded_by_caller.space)))));
END;


ALTER FUNCTION public.founded_by_caller(space text) OWNER TO switchy;

--
-- Name: index_memory(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.index_memory() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.tsv := setweight(to_tsvector('english', array_to_string(NEW.tags, ' ')), 'A')
        || to_tsvector('english', NEW.content);
    NEW.term_count := coalesce(
        (SELECT sum(cardinality(u.positions)) FROM unnest(NEW.tsv) u), 0);
    RETURN NEW;
END
$$;


ALTER FUNCTION public.index_memory() OWNER TO switchy;

--
-- Name: index_message(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.index_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    words tsvector := to_tsvector('english', left(NEW.body, 100000));
BEGIN
    INSERT INTO message_index AS i
            (org_id, session_id, message_id, seq, space_id, private_to, tsv, term_count)
        SELECT NEW.org_id, NEW.session_id, NEW.id, NEW.seq, s.space_id,
            CASE s.visibility WHEN 'workspace' THEN NULL ELSE s.created_by_user_id END,
            words, coalesce((SELECT sum(cardinality(u.positions)) FROM unnest(words) u), 0)
        FROM sessions s WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id
        ON CONFLICT (message_id) DO UPDATE SET tsv = excluded.tsv, term_count = excluded.term_count;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.index_message() OWNER TO switchy_system;

--
-- Name: search_models; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.search_models (
    is_active boolean DEFAULT true NOT NULL,
    model_id text NOT NULL,
    sparse_model_id text,
    activated_at timestamp with time zone DEFAULT now() NOT NULL,
    embedding_at timestamp with time zone,
    CONSTRAINT search_models_is_active_check CHECK (is_active)
);

ALTER TABLE ONLY public.search_models FORCE ROW LEVEL SECURITY;


ALTER TABLE public.search_models OWNER TO switchy;

--
-- Name: is_active_model(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.is_active_model(p_model text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE((SELECT (m.model_id = is_active_model.p_model) FROM public.search_models m), true);


ALTER FUNCTION public.is_active_model(p_model text) OWNER TO switchy;

--
-- Name: is_active_sparse_model(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.is_active_sparse_model(p_model text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NOT (EXISTS (SELECT FROM public.search_models m WHERE (m.sparse_model_id IS DISTINCT FROM is_active_sparse_model.p_model))));


ALTER FUNCTION public.is_active_sparse_model(p_model text) OWNER TO switchy;

--
-- Name: is_anothers_note(text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.is_anothers_note(p_memory text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT EXISTS (SELECT FROM memories m
        WHERE m.id = p_memory AND m.author_user_id <> caller_user())
$$;


ALTER FUNCTION public.is_anothers_note(p_memory text) OWNER TO switchy_system;

--
-- Name: key_that_acts(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.key_that_acts(p_key text, p_now timestamp with time zone) RETURNS TABLE(user_id text, name text, prefix text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT k.user_id, k.name, k.prefix
    FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
    WHERE k.id = p_key AND k.org_id = caller_org() AND 'act_on_behalf' = ANY (k.scopes)
        AND k.revoked_at IS NULL
        AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()))
$$;


ALTER FUNCTION public.key_that_acts(p_key text, p_now timestamp with time zone) OWNER TO switchy_system;

--
-- Name: leave_org(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.leave_org() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    his text[];
BEGIN
    PERFORM FROM orgs o WHERE o.id = OLD.org_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN OLD; -- the org itself is being deleted
    END IF;
    UPDATE api_keys k SET revoked_at = clock_timestamp()
        WHERE k.org_id = OLD.org_id AND k.user_id = OLD.user_id AND k.revoked_at IS NULL;
    UPDATE invitations i SET status = 'REVOKED', ended_at = clock_timestamp()
        WHERE i.org_id = OLD.org_id AND i.status = 'PENDING'
            AND lower(i.email) = (SELECT lower(u.email) FROM users u WHERE u.id = OLD.user_id);
    -- two OWNERs of one Space who leave at the same moment must not each rely on the other
    SELECT array_agg(s.id) INTO his FROM (
        SELECT s.id FROM spaces s
        WHERE s.org_id = OLD.org_id AND EXISTS (SELECT FROM space_members m
            WHERE m.space_id = s.id AND m.user_id = OLD.user_id AND m.role = 'OWNER')
        ORDER BY s.id FOR NO KEY UPDATE
    ) s;
    UPDATE space_members m SET role = 'OWNER'
        FROM (
            SELECT DISTINCT ON (h.space_id) h.space_id, h.user_id
            FROM space_members h
            WHERE h.space_id = ANY (his) AND h.user_id <> OLD.user_id
                AND h.role IN ('EDITOR', 'MEMBER')
                AND NOT EXISTS (SELECT FROM space_members o WHERE o.space_id = h.space_id
                    AND o.user_id <> OLD.user_id AND o.role = 'OWNER')
            ORDER BY h.space_id, h.role, h.joined_at, h.user_id
        ) heir
        WHERE m.space_id = heir.space_id AND m.user_id = heir.user_id;
    RETURN OLD;
END
$$;


ALTER FUNCTION public.leave_org() OWNER TO switchy_system;

--
-- Name: leave_space(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.leave_space() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM session_participants p USING sessions s
        WHERE s.org_id = OLD.org_id AND s.space_id = OLD.space_id
            AND p.session_id = s.id AND p.user_id = OLD.user_id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.leave_space() OWNER TO switchy_system;

--
-- Name: lexical_candidates(text, integer, integer, bigint, text, text, text, text[], timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.lexical_candidates(p_query text, p_limit integer, p_terms integer, p_budget bigint, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) RETURNS TABLE(memory_id text, score double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    buckets text[] := caller_buckets(p_space, p_visibility, p_author);
    filtered boolean := p_author IS NOT NULL OR p_tags IS NOT NULL OR p_after IS NOT NULL
        OR p_before IS NOT NULL;
    -- keys of the index that are looked up
    most_keys CONSTANT bigint := 40 * p_budget;
    -- pairs of a note and a word that are scored, and notes
    most_pairs CONSTANT bigint := 80 * p_budget;
    most bigint := 4 * p_budget;
    -- entries of the index that are read; finding a key's takes as long as reading so many
    most_entries CONSTANT bigint := 100 * p_budget;
    each_key CONSTANT bigint := 100;
    -- looked for all at once, each key is held against each entry
    most_steps CONSTANT bigint := 10000 * p_budget;
    lexemes text[];
    asked tsquery[];
    measured text[];
    total double precision;
    length double precision;
    average double precision;
    -- notes of buckets that are not measured
    uncounted bigint;
    -- by word and bucket, word by word: the bucket's key, and how many notes have the word if that
    -- is known
    entry_of integer[];
    entry_key bigint[];
    entry_notes bigint[];
    -- whether the notes of the rare words are counted as they are read
    counting boolean := true;
    -- by word: how many notes have it in buckets where it is rare, if it brings none of them
    left_notes bigint[];
    word record;
    entries_read bigint := 0;
    found tid[];
    found_rows tid[] := '{}';
    found_of integer[] := '{}';
    found_notes bigint[];
    brings integer[];
    known_in bigint[];
    rare bigint[];
    common bigint[];
    common_notes bigint;
    first bigint[];
    first_term tsquery;
    second bigint[];
    tagged bigint[];
    rows tid[];
BEGIN
    SELECT array_agg(q.lexeme ORDER BY q.at), array_agg((
            '''' || replace(replace(q.lexeme, '\', '\\'), '''', '''''') || '''')::tsquery
            ORDER BY q.at)
        INTO lexemes, asked
        FROM (
            SELECT u.lexeme, u.positions[1] AS at FROM unnest(to_tsvector('english', p_query)) u
            ORDER BY u.positions[1]
            LIMIT least(p_terms, greatest(most_keys / greatest(cardinality(buckets), 1), 1))
        ) q;
    IF lexemes IS NULL OR buckets IS NULL THEN
        RETURN;
    END IF;
    most := greatest(least(most, most_pairs / cardinality(lexemes)), p_limit);

    SELECT array_agg(s.bucket), coalesce(sum(s.notes), 0), coalesce(sum(s.words), 0)
        INTO measured, total, length
        FROM memory_statistics s WHERE s.org_id = org AND s.bucket = ANY (buckets);
    measured := coalesce(measured, '{}');
    -- the small ones as they are
    SELECT coalesce(sum(c.notes), 0), length + coalesce(sum(c.words), 0)
        INTO uncounted, length
        FROM (
            SELECT count(*) AS notes, sum(m.term_count) AS words FROM memories m
                WHERE m.org_id = org AND m.visibility = 'ORG'
                    AND 'ORG ' || org = ANY (buckets) AND 'ORG ' || org <> ALL (measured)
            UNION ALL
            SELECT count(*), sum(m.term_count) FROM memories m
                WHERE m.org_id = org AND m.visibility = 'PRIVATE' AND m.author_user_id = me
                    AND 'PRIVATE ' || org || ' ' || me = ANY (buckets)
                    AND 'PRIVATE ' || org || ' ' || me <> ALL (measured)
            UNION ALL
            SELECT count(*), sum(m.term_count) FROM memories m
                WHERE m.org_id = org AND m.space_id = ANY (ARRAY(
                    SELECT s.id FROM unnest(mine) AS s(id)
                    WHERE 'SPACE ' || s.id = ANY (buckets) AND 'SPACE ' || s.id <> ALL (measured)))
        ) c;
    total := total + uncounted;
    average := greatest(length / greatest(total, 1), 1);

    SELECT array_agg(e.number ORDER BY e.number, e.place),
            array_agg(e.key ORDER BY e.number, e.place),
            array_agg(e.notes ORDER BY e.number, e.place),
            array_agg(e.key) FILTER (WHERE e.notes IS NULL)
        INTO entry_of, entry_key, entry_notes, rare
        FROM (
            SELECT l.number::integer AS number, b.place, memory_word_key(b.bucket, l.lexeme) AS key,
                w.notes
            FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
            CROSS JOIN unnest(buckets) WITH ORDINALITY AS b(bucket, place)
            LEFT JOIN memory_common_words w
                ON w.org_id = org AND w.bucket = b.bucket AND w.lexeme = l.lexeme
        ) e;

    -- where the candidates are: all notes of the rare words
    IF coalesce(cardinality(rare), 0) * uncounted <= most_steps THEN
        rows := ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && rare
            LIMIT most + 1);
    END IF;
    IF rows IS NULL OR cardinality(rows) > most THEN
        -- too many: word by word, long words first, which are rarer
        counting := false;
        -- what is not looked up counts as what all have
        found_notes := ARRAY(
            SELECT CASE WHEN bool_or(e.notes IS NULL) THEN greatest(total::bigint, most + 1) ELSE 0 END
            FROM unnest(entry_of, entry_notes) AS e(number, notes)
            GROUP BY e.number ORDER BY e.number);
        FOR word IN
            SELECT e.number, array_agg(e.key) AS keys
            FROM unnest(entry_of, entry_key, entry_notes) AS e(number, key, notes)
            WHERE e.notes IS NULL GROUP BY e.number
            ORDER BY length(lexemes[e.number]) DESC, e.number
        LOOP
            EXIT WHEN entries_read > most_entries;
            found := ARRAY(
                SELECT h.at FROM unnest(word.keys) AS k(key)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at FROM memories m
                    WHERE memory_keys(
                        m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                        && ARRAY[k.key]
                ) h);
            found_notes[word.number] := cardinality(found);
            entries_read := entries_read + cardinality(found) + each_key * cardinality(word.keys);
            IF cardinality(found) <= most THEN
                found_rows := found_rows || found;
                found_of := found_of || array_fill(word.number, ARRAY[cardinality(found)]);
            END IF;
        END LOOP;
        -- the rarest bring their notes
        brings := ARRAY(
            SELECT f.number FROM (
                SELECT n.number, sum(n.notes) OVER (ORDER BY n.notes, n.number) AS so_far
                FROM unnest(found_notes) WITH ORDINALITY AS n(notes, number)
            ) f
            WHERE f.so_far <= most);
        rows := ARRAY(
            SELECT DISTINCT f.at FROM unnest(found_rows, found_of) AS f(at, number)
            WHERE f.number = ANY (brings));
        left_notes := ARRAY(
            SELECT CASE WHEN n.number <> ALL (brings) THEN n.notes END
            FROM unnest(found_notes) WITH ORDINALITY AS n(notes, number) ORDER BY n.number);
    END IF;

    WITH entries AS MATERIALIZED (
        SELECT e.number, e.place, e.key, e.notes
        FROM unnest(entry_of, entry_key, entry_notes)
            WITH ORDINALITY AS e(number, key, notes, place)
    ), items AS (
        SELECT e.number, ARRAY[e.key] AS keys, e.notes, false AS is_left, e.place
        FROM entries e WHERE e.notes IS NOT NULL
        UNION ALL
        SELECT e.number, array_agg(e.key), left_notes[e.number], true, 0
        FROM entries e WHERE e.notes IS NULL AND left_notes[e.number] IS NOT NULL
        GROUP BY e.number
    ), running AS (
        SELECT i.*, sum(CASE WHEN filtered OR NOT i.is_left THEN i.notes ELSE 0 END)
            OVER (ORDER BY i.notes, i.number, i.place) AS so_far
        FROM items i
    ), bringing AS (
        SELECT r.* FROM running r WHERE CASE
            -- those that pass a filter may be few: more is read, and the rarest in any case
            WHEN filtered THEN r.so_far - r.notes < most_entries
            ELSE r.so_far <= p_budget AND NOT r.is_left END
    ), left_over AS (
        SELECT r.number, array_agg(k.key) AS keys, n.notes,
            row_number() OVER (ORDER BY n.notes, r.number) AS place
        FROM running r
        CROSS JOIN unnest(r.keys) AS k(key)
        JOIN (
            SELECT o.number, sum(o.notes) AS notes FROM running o
            WHERE o.so_far > p_budget OR o.is_left GROUP BY o.number
        ) n ON n.number = r.number
        WHERE (r.so_far > p_budget OR r.is_left) AND NOT filtered
        GROUP BY r.number, n.notes
    )
    SELECT
        (SELECT array_agg(k.key ORDER BY b.so_far) FROM bringing b, unnest(b.keys) AS k(key)),
        (SELECT sum(b.notes) FROM bringing b),
        (SELECT l.keys FROM left_over l WHERE l.place = 1),
        -- one that every fifth of the caller's notes has
        (SELECT asked[l.number] FROM left_over l WHERE l.place = 1 AND 5 * l.notes >= total),
        -- reading both lists must be worth it
        (SELECT l.keys FROM left_over l WHERE l.place = 2 AND l.notes <= 10 * p_budget),
        (SELECT array_agg(n.notes ORDER BY n.number) FROM (
            SELECT e.number, coalesce(sum(e.notes), 0)::bigint
                + CASE WHEN counting THEN 0 ELSE found_notes[e.number] END AS notes
            FROM entries e GROUP BY e.number) n),
        (SELECT array_agg(memory_tag_key(b.bucket, p_tags[1]))
            FROM unnest(buckets) AS b(bucket) WHERE p_tags IS NOT NULL)
        INTO common, common_notes, first, first_term, second, known_in, tagged;

    IF common IS NOT NULL AND tagged IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && tagged
            LIMIT p_budget);
    ELSIF common IS NOT NULL AND cardinality(common) * common_notes <= most_steps THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && common
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            LIMIT p_budget);
    ELSIF common IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT DISTINCT f.at FROM (
                SELECT h.at FROM unnest(common) AS k(key)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at FROM memories m
                    WHERE memory_keys(
                        m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                        && ARRAY[k.key]
                        AND (p_author IS NULL OR m.author_user_id = p_author)
                        AND (p_after IS NULL OR m.created_at >= p_after)
                        AND (p_before IS NULL OR m.created_at < p_before)
                ) h
                LIMIT 2 * p_budget
            ) f
            LIMIT p_budget);
    END IF;
    IF second IS NOT NULL THEN
        rows := rows || ARRAY(
            SELECT m.ctid FROM memories m
            WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && first
                AND memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                && second
            LIMIT p_budget);
    END IF;
    -- the index would read a list as long as all that the caller sees, only to take its beginning;
    -- the newest notes have such a word as well
    IF first_term IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT n.at FROM (
                SELECT w.at FROM unnest(buckets) AS b(bucket)
                CROSS JOIN LATERAL (
                    SELECT m.ctid AS at, m.created_at, m.id FROM memories m
                    WHERE memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id)
                        = b.bucket
                    ORDER BY m.created_at DESC, m.id DESC
                    LIMIT least(10 * p_budget, 40 * p_budget / cardinality(buckets) + 1)
                ) w
                ORDER BY w.created_at DESC, w.id DESC LIMIT 10 * p_budget
            ) n
            CROSS JOIN LATERAL (
                SELECT FROM memories m WHERE m.ctid = n.at AND m.tsv @@ first_term OFFSET 0
            ) has_it
            LIMIT p_budget);
    END IF;
    IF first IS NOT NULL AND cardinality(rows) < p_limit THEN
        rows := rows || ARRAY(
            SELECT h.at FROM unnest(first) AS k(key)
            CROSS JOIN LATERAL (
                SELECT m.ctid AS at FROM memories m
                WHERE memory_keys(m.org_id, m.visibility, m.author_user_id, m.space_id, m.tsv, m.tags)
                    && ARRAY[k.key]
            ) h
            LIMIT p_budget);
    END IF;

    RETURN QUERY
    WITH hits AS MATERIALIZED (
        -- How often a term occurs: ts_rank of a single term is the sum of 1/j^2 over its
        -- occurrences, divided by pi^2/6, whose inverse this is to within 0.05. Unnesting the
        -- tsvector would yield every other term of the note, too.
        SELECT c.id, c.term_count, c.place, c.passes, t.number,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM (
            -- concatenated with nothing, a tsvector is unpacked once, not once for every word
            SELECT m.id, m.term_count, m.tsv || ''::tsvector AS tsv,
                array_position(buckets,
                    memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id)) AS place,
                (p_visibility IS NULL OR m.visibility = p_visibility)
                    AND (p_author IS NULL OR m.author_user_id = p_author)
                    AND (p_tags IS NULL OR m.tags @> p_tags)
                    AND (p_after IS NULL OR m.created_at >= p_after)
                    AND (p_before IS NULL OR m.created_at < p_before) AS passes
            FROM memories m
            WHERE m.ctid = ANY (rows) AND m.org_id = org
                AND (m.visibility = 'ORG'
                    OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                    OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
                AND (p_space IS NULL OR m.space_id = p_space)
            OFFSET 0
        ) c
        CROSS JOIN LATERAL (
            SELECT a.number, a.term FROM unnest(asked) WITH ORDINALITY AS a(term, number)
            WHERE c.tsv @@ a.term OFFSET 0
        ) t
    ), words AS (
        -- of a bucket's rare words every note is among the hits
        SELECT k.number, k.notes + coalesce(c.notes, 0) AS notes
        FROM unnest(known_in) WITH ORDINALITY AS k(notes, number)
        LEFT JOIN (
            SELECT h.number, count(*) AS notes FROM hits h
            WHERE counting
                AND entry_notes[(h.number - 1) * cardinality(buckets) + h.place] IS NULL
            GROUP BY h.number
        ) c USING (number)
    ), weights AS MATERIALIZED (
        SELECT array_agg(ln(1 + greatest(total - w.notes + 0.5, 0.5) / (w.notes + 0.5))
            ORDER BY w.number) AS idf
        FROM words w
    )
    SELECT h.id, sum((SELECT w.idf FROM weights w)[h.number]
        * h.tf * 2.2 / (h.tf + 0.3 + 0.9 * (h.term_count / average)))
    FROM hits h WHERE h.passes
    GROUP BY h.id
    ORDER BY 2 DESC, 1 DESC LIMIT p_limit;
END
$$;


ALTER FUNCTION public.lexical_candidates(p_query text, p_limit integer, p_terms integer, p_budget bigint, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) OWNER TO switchy_system;

--
-- Name: lexical_messages(text, integer, integer, integer, text, text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.lexical_messages(p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) RETURNS TABLE(message_id text, session_id text, seq bigint, score double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    filtered boolean := p_author IS NOT NULL OR p_agent IS NOT NULL OR p_after IS NOT NULL
        OR p_before IS NOT NULL;
    -- pairs of a message and a word that are scored, messages, and bytes of them as they are stored
    most_pairs CONSTANT bigint := 80 * p_budget;
    most bigint := 8 * p_budget;
    most_bytes CONSTANT bigint := 16000 * p_budget;
    -- entries of the index that are read
    most_entries CONSTANT bigint := 200 * p_budget;
    lexemes text[];
    asked tsquery[];
    total double precision;
    average double precision;
    known_in bigint[];
    idf double precision[];
    frequent text[] := '{}';
    word record;
    entries_read double precision := 0;
    found tid[];
    found_rows tid[] := '{}';
    found_of integer[] := '{}';
    brings integer[];
    newest bigint;
    rows tid[];
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
    most := greatest(least(most, most_pairs / cardinality(lexemes)), p_limit);

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

    -- long words first, which are rarer; what is not looked up is a frequent one
    known_in := array_fill(p_budget + 1::bigint, ARRAY[cardinality(lexemes)]);
    FOR word IN
        SELECT l.lexeme, l.number::integer AS number
        FROM unnest(lexemes) WITH ORDINALITY AS l(lexeme, number)
        ORDER BY length(l.lexeme) DESC, l.number
    LOOP
        found := NULL;
        IF entries_read <= most_entries THEN
            found := ARRAY(
                SELECT m.ctid FROM message_index m
                WHERE message_keys(m.space_id, m.private_to, m.tsv)
                    && ARRAY[message_word_key(p_space, NULL, word.lexeme),
                        message_word_key(p_space, me, word.lexeme)]
                LIMIT p_budget + 1);
            known_in[word.number] := cardinality(found);
        END IF;
        IF found IS NULL OR cardinality(found) > p_budget THEN
            frequent := frequent || word.lexeme;
            -- the index has read its whole list, which may be as long as all there is
            entries_read := entries_read + total;
        ELSE
            entries_read := entries_read + cardinality(found);
            found_rows := found_rows || found;
            found_of := found_of || array_fill(word.number, ARRAY[cardinality(found)]);
        END IF;
    END LOOP;
    rows := found_rows;
    IF cardinality(rows) > most THEN
        -- the rarest bring their messages, the others only score
        brings := ARRAY(
            SELECT f.number FROM (
                SELECT n.number, sum(n.messages) OVER (ORDER BY n.messages, n.number) AS so_far
                FROM unnest(known_in) WITH ORDINALITY AS n(messages, number)
                WHERE n.messages <= p_budget
            ) f
            WHERE f.so_far <= most);
        rows := ARRAY(
            SELECT f.at FROM unnest(found_rows, found_of) AS f(at, number)
            WHERE f.number = ANY (brings));
    END IF;
    IF p_session IS NOT NULL THEN
        SELECT s.last_message_seq INTO newest FROM sessions s
            WHERE s.org_id = org AND s.id = p_session AND s.space_id = p_space;
        IF newest <= most THEN
            -- a session is read whole
            rows := ARRAY(SELECT m.ctid FROM message_index m
                WHERE m.org_id = org AND m.session_id = p_session);
        ELSE
            rows := rows || ARRAY(
                SELECT i.ctid FROM messages m JOIN message_index i ON i.message_id = m.id
                WHERE m.org_id = org AND m.session_id = p_session AND m.seq > newest - most);
        END IF;
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
    IF cardinality(rows) > p_limit THEN
        -- the newest, where they are long ones
        rows := ARRAY(
            SELECT s.at FROM (
                SELECT m.ctid AS at, sum(pg_column_size(m.tsv))
                    OVER (ORDER BY m.ctid DESC ROWS UNBOUNDED PRECEDING) AS so_far
                FROM message_index m WHERE m.ctid = ANY (rows)
            ) s
            WHERE s.so_far <= most_bytes);
    END IF;

    idf := ARRAY(
        SELECT ln(1 + greatest(total - k.known + 0.5, 0.5) / (k.known + 0.5))
        FROM unnest(known_in) WITH ORDINALITY AS k(known, number) ORDER BY k.number);

    RETURN QUERY
    WITH hits AS MATERIALIZED (
        -- how often a word occurs: see lexical_candidates
        SELECT c.message_id, c.session_id, c.seq, t.number, t.idf, c.term_count / average AS length,
            1 / (1.644934 * (1.000001 - ts_rank('{1, 1, 1, 1}', c.tsv, t.term))) - 0.5 AS tf
        FROM (
            SELECT m.message_id, m.session_id, m.seq, m.term_count, m.tsv || ''::tsvector AS tsv
            FROM message_index m
            WHERE m.ctid = ANY (rows) AND m.org_id = org AND m.space_id = p_space
                AND (m.private_to IS NULL OR m.private_to = me)
                AND (p_session IS NULL OR m.session_id = p_session)
            OFFSET 0
        ) c
        CROSS JOIN LATERAL (
            SELECT a.term, a.idf, a.number
            FROM unnest(asked, idf) WITH ORDINALITY AS a(term, idf, number)
            WHERE c.tsv @@ a.term OFFSET 0
        ) t
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


ALTER FUNCTION public.lexical_messages(p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) OWNER TO switchy_system;

--
-- Name: literal_memories(text[], integer, text, text, text, text[], timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.literal_memories(p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) RETURNS TABLE(memory_id text, pieces bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    org text := caller_org();
    me text := private_reader();
    mine text[] := caller_spaces();
    buckets text[] := caller_buckets(p_space, p_visibility, p_author);
    most_notes CONSTANT bigint := 10000;
    most_bytes CONSTANT bigint := 2000000;
    -- words that the dictionary throws away only when there is nothing else: `our` is in every
    -- `colour`; a word of another script leaves no lexeme either, hence the look at its bytes
    wanted text[] := (
        SELECT coalesce(array_agg(p) FILTER (WHERE NOT (p ~ '[a-z]'
            AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')), array_agg(p))
        FROM unnest(p_pieces) p);
BEGIN
    RETURN QUERY
    WITH sized AS (
        SELECT w.at, sum(w.size) OVER (ORDER BY w.created_at DESC, w.id DESC) - w.size AS before
        FROM unnest(buckets) AS b(bucket)
        CROSS JOIN LATERAL (
            SELECT m.ctid AS at, m.created_at, m.id, octet_length(m.content) AS size
            FROM memories m
            WHERE memory_bucket(m.org_id, m.visibility, m.author_user_id, m.space_id) = b.bucket
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_tags IS NULL OR m.tags @> p_tags)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            ORDER BY m.created_at DESC, m.id DESC
            LIMIT least(most_notes, 2 * most_notes / cardinality(buckets) + 1)
        ) w
    ), counted AS (
        SELECT m.id, m.created_at, (
                SELECT count(*) FROM unnest(wanted) AS piece
                WHERE position(piece IN t.lowered) > 0) AS pieces
        FROM memories m
        -- once, not for every piece
        CROSS JOIN LATERAL (SELECT lower(m.content) AS lowered OFFSET 0) t
        WHERE m.ctid = ANY (ARRAY(SELECT s.at FROM sized s WHERE s.before < most_bytes))
            AND m.org_id = org
            AND (m.visibility = 'ORG'
                OR (m.visibility = 'PRIVATE' AND m.author_user_id = me)
                OR (m.visibility = 'SPACE' AND m.space_id = ANY (mine)))
    )
    SELECT c.id, c.pieces FROM counted c
    WHERE c.pieces > 0 ORDER BY c.pieces DESC, c.created_at DESC, c.id DESC LIMIT p_limit;
END
$$;


ALTER FUNCTION public.literal_memories(p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) OWNER TO switchy_system;

--
-- Name: literal_messages(text[], integer, text, text, text, text, timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.literal_messages(p_pieces text[], p_limit integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) RETURNS TABLE(message_id text, session_id text, seq bigint, score double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
DECLARE
    org text := caller_org();
    me text := caller_user();
    most_messages CONSTANT bigint := 10000;
    most_bytes CONSTANT bigint := 2000000;
    wanted text[] := (
        SELECT coalesce(array_agg(p) FILTER (WHERE NOT (p ~ '[a-z]'
            AND octet_length(p) = length(p) AND to_tsvector('english', p) = '')), array_agg(p))
        FROM unnest(p_pieces) p);
BEGIN
    IF p_space <> ALL (caller_spaces()) THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH newest AS (
        SELECT s.id, sum(s.last_message_seq)
                OVER (ORDER BY s.updated_at DESC, s.id DESC) - s.last_message_seq AS before
        FROM sessions s
        WHERE s.org_id = org AND s.space_id = p_space
            AND (s.visibility = 'workspace' OR s.created_by_user_id = me)
            AND (p_session IS NULL OR s.id = p_session)
    ), sized AS (
        SELECT w.at, sum(w.size) OVER (ORDER BY w.created_at DESC, w.id DESC) - w.size AS before
        FROM newest n
        CROSS JOIN LATERAL (
            SELECT m.ctid AS at, m.created_at, m.id, octet_length(m.body) AS size
            FROM messages m
            WHERE m.org_id = org AND m.session_id = n.id
                AND (p_author IS NULL OR m.author_user_id = p_author)
                AND (p_agent IS NULL OR m.author_agent = p_agent)
                AND (p_after IS NULL OR m.created_at >= p_after)
                AND (p_before IS NULL OR m.created_at < p_before)
            ORDER BY m.seq DESC LIMIT most_messages
        ) w
        WHERE n.before < most_messages
    ), counted AS (
        SELECT m.id, m.session_id, m.seq, m.created_at, (
                SELECT count(*) FROM unnest(wanted) AS piece
                WHERE position(piece IN t.lowered) > 0) AS pieces
        FROM messages m
        -- once, not for every piece
        CROSS JOIN LATERAL (SELECT lower(m.body) AS lowered OFFSET 0) t
        WHERE m.ctid = ANY (ARRAY(SELECT s.at FROM sized s WHERE s.before < most_bytes))
    )
    SELECT c.id, c.session_id, c.seq, c.pieces::double precision FROM counted c
    WHERE c.pieces > 0 ORDER BY c.pieces DESC, c.created_at DESC, c.id DESC LIMIT p_limit;
END
$$;


ALTER FUNCTION public.literal_messages(p_pieces text[], p_limit integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) OWNER TO switchy_system;

--
-- Name: lock_keys(text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.lock_keys(p_key text, p_now timestamp with time zone, OUT live bigint, OUT expires_at timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(
        concat_ws(chr(31), caller_org(), caller_user()), 2));
    -- a statement of its own: it sees what was committed while this one waited
    SELECT count(*) FILTER (WHERE k.expires_at IS NULL
                OR k.expires_at > coalesce(p_now, clock_timestamp())),
            max(k.expires_at) FILTER (WHERE k.id = p_key)
        INTO live, expires_at
        FROM api_keys k
        WHERE k.org_id = caller_org() AND k.user_id = caller_user() AND k.revoked_at IS NULL;
END
$$;


ALTER FUNCTION public.lock_keys(p_key text, p_now timestamp with time zone, OUT live bigint, OUT expires_at timestamp with time zone) OWNER TO switchy;

--
-- Name: lock_members(text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.lock_members(p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM orgs o WHERE o.id = caller_org() FOR NO KEY UPDATE;
    -- a statement of its own: it sees what was committed while this one waited
    SELECT max(m.role) FILTER (WHERE m.user_id = caller_user()),
            max(m.role) FILTER (WHERE m.user_id = p_user),
            count(*) FILTER (WHERE m.role = 'OWNER')
        INTO caller_role, user_role, owners
        FROM members m WHERE m.org_id = caller_org();
END
$$;


ALTER FUNCTION public.lock_members(p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) OWNER TO switchy_system;

--
-- Name: lock_session(text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.lock_session(p_session text) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    archived timestamptz;
BEGIN
    SELECT s.archived_at INTO archived FROM sessions s
        WHERE s.id = p_session AND s.org_id = caller_org() FOR UPDATE;
    RETURN archived;
END
$$;


ALTER FUNCTION public.lock_session(p_session text) OWNER TO switchy_system;

--
-- Name: lock_space_members(text, text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.lock_space_members(p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) RETURNS record
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM spaces s
        WHERE s.id = p_space AND s.org_id = caller_org() AND s.archived_at IS NULL
        FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        owners := 0;
        RETURN;
    END IF;
    -- a statement of its own: it sees what was committed while this one waited
    SELECT max(m.role) FILTER (WHERE m.user_id = caller_user()),
            max(m.role) FILTER (WHERE m.user_id = p_user),
            count(*) FILTER (WHERE m.role = 'OWNER')
        INTO caller_role, user_role, owners
        FROM space_members m WHERE m.space_id = p_space;
END
$$;


ALTER FUNCTION public.lock_space_members(p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) OWNER TO switchy_system;

--
-- Name: mailbox(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.mailbox(p_address text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (lower(p_address) ~ '@(gmail|googlemail)\.com$'::text) THEN (replace(regexp_replace(lower(p_address), '^([^@+]+)?.*$'::text, '\1'::text), '.'::text, ''::text) || '@gmail.com'::text) ELSE regexp_replace(lower(p_address), '^([^@+]+)\+[^@]*@'::text, '\1@'::text) END;


ALTER FUNCTION public.mailbox(p_address text) OWNER TO switchy;

--
-- Name: may_mail(text, integer, integer, integer, integer, integer, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.may_mail(p_address text, p_org integer, p_known integer, p_all integer, p_letters integer, p_hours integer, p_now timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    since timestamptz;
    own bigint;
    everybodys bigint;
    letters bigint;
    known boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(mailbox(p_address), 4));
    since := coalesce(p_now, clock_timestamp()) - make_interval(hours => p_hours);
    SELECT count(*) FILTER (WHERE i.org_id = caller_org()), count(*) INTO own, everybodys
        FROM invitations i JOIN invitation_mails m ON m.invitation_id = i.id
        WHERE mailbox(i.email) = mailbox(p_address) AND i.created_at > since
            AND (m.sent_at IS NOT NULL OR m.next_attempt_at IS NOT NULL
                OR (m.attempts > 0 AND m.last_error IS NULL));
    SELECT count(*) INTO letters
        FROM invitations i JOIN invitation_mails m ON m.invitation_id = i.id
        WHERE i.org_id = caller_org() AND i.created_at > since AND NOT m.held;
    known := EXISTS (SELECT FROM invitations i
        WHERE i.org_id = caller_org() AND mailbox(i.email) = mailbox(p_address)
            AND i.status = 'ACCEPTED');
    RETURN everybodys < p_all AND letters < p_letters
        AND own < CASE WHEN known THEN p_known ELSE p_org END;
END
$$;


ALTER FUNCTION public.may_mail(p_address text, p_org integer, p_known integer, p_all integer, p_letters integer, p_hours integer, p_now timestamp with time zone) OWNER TO switchy_system;

--
-- Name: mcp_server_secret(text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.mcp_server_secret(p_server text) RETURNS TABLE(id text, key_id text, nonce bytea, ciphertext bytea)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT v.id, v.key_id, v.nonce, v.ciphertext
    FROM mcp_servers s JOIN vault_secrets v ON v.org_id = s.org_id AND v.id = s.secret_id
    WHERE s.id = p_server AND s.org_id = caller_org() AND caller_runs_integrations()
$$;


ALTER FUNCTION public.mcp_server_secret(p_server text) OWNER TO switchy_system;

--
-- Name: measured_notes(text, text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.measured_notes(p_space text, p_visibility text) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    RETURN (SELECT (COALESCE(sum(s.notes), (0)::numeric))::bigint AS "coalesce" FROM public.memory_statistics s WHERE ((s.org_id = public.caller_org()) AND (s.bucket = ANY (public.caller_buckets(measured_notes.p_space, measured_notes.p_visibility, NULL::text)))));


ALTER FUNCTION public.measured_notes(p_space text, p_visibility text) OWNER TO switchy_system;

--
-- Name: memory_keys(text, text, text, text, tsvector, text[]); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.memory_keys(org_id text, visibility text, author_user_id text, space_id text, tsv tsvector, tags text[]) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE COST 2000 PARALLEL SAFE
    BEGIN ATOMIC
 SELECT array_agg(k.key) AS array_agg
    FROM public.memory_bucket(memory_keys.org_id, memory_keys.visibility, memory_keys.author_user_id, memory_keys.space_id) b(bucket),
     LATERAL ( SELECT hashtextextended(((b.bucket || '='::text) || w.lexeme), (0)::bigint) AS key
            FROM unnest(tsvector_to_array(memory_keys.tsv)) w(lexeme)
         UNION ALL
          SELECT hashtextextended(((b.bucket || '#'::text) || t.tag), (0)::bigint) AS hashtextextended
            FROM unnest(memory_keys.tags) t(tag)) k;
END;


ALTER FUNCTION public.memory_keys(org_id text, visibility text, author_user_id text, space_id text, tsv tsvector, tags text[]) OWNER TO switchy;

--
-- Name: memory_tag_key(text, text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.memory_tag_key(bucket text, tag text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(((bucket || '#'::text) || tag), (0)::bigint);


ALTER FUNCTION public.memory_tag_key(bucket text, tag text) OWNER TO switchy;

--
-- Name: memory_word_key(text, text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.memory_word_key(bucket text, lexeme text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(((bucket || '='::text) || lexeme), (0)::bigint);


ALTER FUNCTION public.memory_word_key(bucket text, lexeme text) OWNER TO switchy;

--
-- Name: message_word_key(text, text, text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.message_word_key(space_id text, private_to text, lexeme text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended((((space_id || COALESCE((' '::text || private_to), ''::text)) || '='::text) || lexeme), (0)::bigint);


ALTER FUNCTION public.message_word_key(space_id text, private_to text, lexeme text) OWNER TO switchy;

--
-- Name: message_keys(text, text, tsvector); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.message_keys(space_id text, private_to text, tsv tsvector) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE COST 2000 PARALLEL SAFE
    BEGIN ATOMIC
 SELECT array_agg(public.message_word_key(message_keys.space_id, message_keys.private_to, w.lexeme)) AS array_agg
    FROM unnest(tsvector_to_array(message_keys.tsv)) w(lexeme);
END;


ALTER FUNCTION public.message_keys(space_id text, private_to text, tsv tsvector) OWNER TO switchy;

--
-- Name: note_similarities(text[], public.halfvec, text, public.sparsevec, text, boolean); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.note_similarities(p_notes text[], p_vector public.halfvec, p_model text, p_terms public.sparsevec, p_sparse_model text, p_vectors boolean) RETURNS TABLE(memory_id text, cosine double precision, starts_at integer, ends_at integer, vector public.halfvec, expansion double precision)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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


ALTER FUNCTION public.note_similarities(p_notes text[], p_vector public.halfvec, p_model text, p_terms public.sparsevec, p_sparse_model text, p_vectors boolean) OWNER TO switchy_system;

--
-- Name: number_message(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.number_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    t timestamptz;
BEGIN
    SELECT s.last_message_seq + 1, coalesce(NEW.created_at, clock_timestamp()),
            greatest(date_trunc('milliseconds', coalesce(NEW.created_at, clock_timestamp())),
                s.last_message_at + interval '1 millisecond')
        INTO NEW.seq, t, NEW.created_at
        FROM sessions s WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id FOR UPDATE;
    UPDATE sessions s SET last_message_seq = NEW.seq, last_message_at = NEW.created_at,
            updated_at = greatest(s.updated_at, NEW.created_at, t)
        WHERE s.org_id = NEW.org_id AND s.id = NEW.session_id;
    RETURN NEW;
END
$$;


ALTER FUNCTION public.number_message() OWNER TO switchy_system;

--
-- Name: owned_by_caller(text); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.owned_by_caller(space text) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM public.space_members m
           WHERE ((m.space_id = owned_by_caller.space) AND (m.user_id = public.caller_user()) AND (m.role = 'OWNER'::text)))) AS "exists";
END;


ALTER FUNCTION public.owned_by_caller(space text) OWNER TO switchy;

--
-- Name: record_session_event(text, text, text, text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.record_session_event(p_org_id text, p_session_id text, p_type text, p_message_id text, p_payload jsonb, p_at timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    number bigint;
BEGIN
    UPDATE sessions s SET last_event_seq = s.last_event_seq + 1
        WHERE s.org_id = p_org_id AND s.id = p_session_id
        RETURNING s.last_event_seq INTO number;
    IF number IS NULL THEN
        RETURN; -- the session itself is going, and this with it
    END IF;
    INSERT INTO session_events (org_id, session_id, seq, type, message_id, payload, created_at)
        VALUES (p_org_id, p_session_id, number, p_type, p_message_id, p_payload, p_at);
    PERFORM pg_notify('switchy_events', 'session:' || p_session_id);
END
$$;


ALTER FUNCTION public.record_session_event(p_org_id text, p_session_id text, p_type text, p_message_id text, p_payload jsonb, p_at timestamp with time zone) OWNER TO switchy;

--
-- Name: refuse_change(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'the credit ledger is append-only: enter an adjustment instead'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;


ALTER FUNCTION public.refuse_change() OWNER TO switchy;

--
-- Name: refuse_for_quota(text, text); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.refuse_for_quota(p_quota text, p_message text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'quota_' || p_quota,
        MESSAGE = p_message;
END
$$;


ALTER FUNCTION public.refuse_for_quota(p_quota text, p_message text) OWNER TO switchy_system;

--
-- Name: rotate_key(text, bytea, text, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE api_keys k SET digest = p_digest, prefix = p_prefix
        WHERE k.id = p_key AND k.org_id = caller_org() AND k.user_id = caller_user()
            AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()));
    RETURN FOUND;
END
$$;


ALTER FUNCTION public.rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamp with time zone) OWNER TO switchy_system;

--
-- Name: say_whose_key(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.say_whose_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        NEW.written_by_user_id := OLD.written_by_user_id;
        RETURN NEW;
    END IF;
    NEW.written_by_user_id := (SELECT k.user_id FROM api_keys k WHERE k.id = acting_key());
    RETURN NEW;
END
$$;


ALTER FUNCTION public.say_whose_key() OWNER TO switchy_system;

--
-- Name: scopes_of_live_key(bytea, timestamp with time zone); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.scopes_of_live_key(p_digest bytea, p_now timestamp with time zone) RETURNS text[]
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
    SELECT k.scopes
        FROM api_keys k JOIN members m ON m.org_id = k.org_id AND m.user_id = k.user_id
        WHERE k.digest = p_digest AND k.org_id = caller_org() AND k.user_id = caller_user()
            AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > coalesce(p_now, clock_timestamp()))
$$;


ALTER FUNCTION public.scopes_of_live_key(p_digest bytea, p_now timestamp with time zone) OWNER TO switchy_system;

--
-- Name: seats_changed(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.seats_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE stripe_accounts s SET sync_due_at = '-infinity', sync_attempts = 0
        FROM billing_accounts a
        WHERE s.org_id = CASE TG_OP WHEN 'DELETE' THEN OLD.org_id ELSE NEW.org_id END
            AND a.org_id = s.org_id AND a.plan IN ('TEAM', 'ENTERPRISE')
            AND s.subscription_id IS NOT NULL AND NOT s.subscription_ended;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.seats_changed() OWNER TO switchy_system;

--
-- Name: tell_of_message(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.tell_of_message() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM record_session_event(
        NEW.org_id, NEW.session_id, 'message.created', NEW.id, '{}', NEW.created_at);
    -- nobody else counts: whoever posts holds the session's lock
    UPDATE messages m SET reply_count = m.reply_count + 1
        WHERE m.org_id = NEW.org_id AND m.session_id = NEW.session_id
            AND m.id = NEW.parent_message_id;
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_message() OWNER TO switchy_system;

--
-- Name: tell_of_reaction(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.tell_of_reaction() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    r message_reactions;
    kind text;
    at timestamptz;
    reactions bigint;
BEGIN
    IF TG_OP = 'INSERT' THEN
        r := NEW;
        kind := 'reaction.added';
        at := NEW.created_at;
    ELSE
        r := OLD;
        kind := 'reaction.removed';
        at := clock_timestamp();
    END IF;
    -- counted under the lock, so that the event with the highest number has the count that stays
    PERFORM FROM sessions s WHERE s.org_id = r.org_id AND s.id = r.session_id FOR UPDATE;
    SELECT count(*) INTO reactions FROM message_reactions m
        WHERE m.message_id = r.message_id AND m.emoji = r.emoji;
    PERFORM record_session_event(r.org_id, r.session_id, kind, r.message_id,
        jsonb_build_object('emoji', r.emoji, 'user_id', r.user_id, 'count', reactions), at);
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_reaction() OWNER TO switchy_system;

--
-- Name: tell_of_session(); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.tell_of_session() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM record_session_event(NEW.org_id, NEW.id,
        CASE WHEN OLD.archived_at IS NULL AND NEW.archived_at IS NOT NULL
            THEN 'session.archived' ELSE 'session.updated' END,
        NULL, '{}', greatest(NEW.updated_at, NEW.archived_at));
    RETURN NULL;
END
$$;


ALTER FUNCTION public.tell_of_session() OWNER TO switchy_system;

--
-- Name: use_quota(text, bigint, bigint, bigint, bigint); Type: FUNCTION; Schema: public; Owner: switchy_system
--

CREATE FUNCTION public.use_quota(p_org text, p_spaces bigint, p_sessions bigint, p_notes bigint, p_bytes bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    most record;
    quota record;
BEGIN
    UPDATE org_usage u SET spaces = u.spaces + p_spaces, sessions = u.sessions + p_sessions,
            notes = u.notes + p_notes, bytes = u.bytes + p_bytes
        WHERE u.org_id = p_org AND u.part = (
            SELECT f.part FROM org_usage f WHERE f.org_id = p_org LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        -- an organization that is going takes its parts along
        INSERT INTO org_usage (org_id, spaces, sessions, notes, bytes)
            SELECT o.id, p_spaces, p_sessions, p_notes, p_bytes FROM orgs o WHERE o.id = p_org;
    END IF;
    IF greatest(p_spaces, p_sessions, p_notes, p_bytes) <= 0 THEN
        RETURN; -- whoever removes something may, however much there is
    END IF;
    SELECT coalesce(q.spaces, d.spaces) AS spaces, coalesce(q.sessions, d.sessions) AS sessions,
            coalesce(q.notes, d.notes) AS notes, coalesce(q.bytes, d.bytes) AS bytes,
            u.spaces AS used_spaces, u.sessions AS used_sessions, u.notes AS used_notes,
            u.bytes AS used_bytes
        INTO most
        FROM quota_defaults d LEFT JOIN org_quotas q ON q.org_id = p_org
        CROSS JOIN (
            SELECT sum(p.spaces) AS spaces, sum(p.sessions) AS sessions, sum(p.notes) AS notes,
                sum(p.bytes) AS bytes
            FROM org_usage p WHERE p.org_id = p_org
        ) u;
    IF (p_spaces > 0 AND most.spaces > 0 AND most.used_spaces > most.spaces)
        OR (p_sessions > 0 AND most.sessions > 0 AND most.used_sessions > most.sessions)
        OR (p_notes > 0 AND most.notes > 0 AND most.used_notes > most.notes)
        OR (p_bytes > 0 AND most.bytes > 0 AND most.used_bytes > most.bytes)
    THEN
        SELECT * INTO quota FROM (VALUES
            ('spaces', 'Spaces (archived ones count)', p_spaces, most.used_spaces, most.spaces),
            ('sessions', 'sessions (archived ones count)', p_sessions, most.used_sessions,
                most.sessions),
            ('notes', 'notes', p_notes, most.used_notes, most.notes),
            ('bytes', 'bytes of notes and messages', p_bytes, most.used_bytes, most.bytes)
        ) AS v(name, words, added, used, most)
        WHERE v.added > 0 AND v.most > 0 AND v.used > v.most LIMIT 1;
        PERFORM refuse_for_quota(quota.name, format(
            'this goes beyond the organization''s quota of %s %s: %s', quota.most, quota.words,
            CASE WHEN quota.name IN ('notes', 'bytes')
                THEN 'delete notes, or ask the operator of this server for more'
                ELSE 'ask the operator of this server for more' END));
    END IF;
END
$$;


ALTER FUNCTION public.use_quota(p_org text, p_spaces bigint, p_sessions bigint, p_notes bigint, p_bytes bigint) OWNER TO switchy_system;

--
-- Name: wake_streams(); Type: FUNCTION; Schema: public; Owner: switchy
--

CREATE FUNCTION public.wake_streams() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('switchy_events', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
    RETURN NULL;
END
$$;


ALTER FUNCTION public.wake_streams() OWNER TO switchy;

--
-- Name: __diesel_schema_migrations; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.__diesel_schema_migrations (
    version character varying(50) NOT NULL,
    run_on timestamp without time zone DEFAULT CURRENT_TIMESTAMP NOT NULL
);


ALTER TABLE public.__diesel_schema_migrations OWNER TO switchy;

--
-- Name: api_keys; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.api_keys (
    id text NOT NULL,
    org_id text NOT NULL,
    user_id text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    digest bytea NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone
);

ALTER TABLE ONLY public.api_keys FORCE ROW LEVEL SECURITY;


ALTER TABLE public.api_keys OWNER TO switchy;

--
-- Name: billing_accounts; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.billing_accounts (
    org_id text NOT NULL,
    plan text DEFAULT 'STARTER'::text NOT NULL,
    billing_interval text,
    anchor timestamp with time zone NOT NULL,
    period_start timestamp with time zone NOT NULL,
    period_end timestamp with time zone NOT NULL,
    monthly_allotment bigint DEFAULT 0 NOT NULL,
    settle_at timestamp with time zone,
    paid_until timestamp with time zone,
    ends_at timestamp with time zone,
    past_due boolean DEFAULT false NOT NULL,
    cancel_at_period_end boolean DEFAULT false NOT NULL,
    CONSTRAINT billing_accounts_billing_interval_check CHECK ((billing_interval = ANY (ARRAY['MONTHLY'::text, 'ANNUAL'::text]))),
    CONSTRAINT billing_accounts_check CHECK (((plan = 'STARTER'::text) = (billing_interval IS NULL))),
    CONSTRAINT billing_accounts_check1 CHECK ((period_start <= period_end)),
    CONSTRAINT billing_accounts_monthly_allotment_check CHECK ((monthly_allotment >= 0)),
    CONSTRAINT billing_accounts_plan_check CHECK ((plan = ANY (ARRAY['STARTER'::text, 'PRO'::text, 'TEAM'::text, 'ENTERPRISE'::text])))
);

ALTER TABLE ONLY public.billing_accounts FORCE ROW LEVEL SECURITY;


ALTER TABLE public.billing_accounts OWNER TO switchy;

--
-- Name: credit_balances; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.credit_balances (
    org_id text NOT NULL,
    entries bigint DEFAULT 0 NOT NULL,
    monthly bigint DEFAULT 0 NOT NULL,
    topup bigint DEFAULT 0 NOT NULL,
    CONSTRAINT credit_balances_monthly_check CHECK ((monthly >= 0)),
    CONSTRAINT credit_balances_topup_check CHECK ((topup >= 0))
);

ALTER TABLE ONLY public.credit_balances FORCE ROW LEVEL SECURITY;


ALTER TABLE public.credit_balances OWNER TO switchy;

--
-- Name: credit_ledger; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.credit_ledger (
    org_id text NOT NULL,
    entry bigint NOT NULL,
    kind text NOT NULL,
    monthly bigint NOT NULL,
    topup bigint NOT NULL,
    monthly_after bigint NOT NULL,
    topup_after bigint NOT NULL,
    reference text NOT NULL,
    reason text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT credit_ledger_check CHECK (
CASE kind
    WHEN 'allotment'::text THEN ((monthly >= 0) AND (topup = 0))
    WHEN 'expiry'::text THEN ((monthly <= 0) AND (topup = 0))
    WHEN 'topup'::text THEN ((monthly = 0) AND (topup >= 0))
    WHEN 'spend'::text THEN ((monthly <= 0) AND (topup <= 0))
    WHEN 'clawback'::text THEN ((monthly = 0) AND (topup <= 0))
    ELSE true
END),
    CONSTRAINT credit_ledger_kind_check CHECK ((kind = ANY (ARRAY['allotment'::text, 'expiry'::text, 'topup'::text, 'spend'::text, 'clawback'::text, 'adjustment'::text]))),
    CONSTRAINT credit_ledger_monthly_after_check CHECK ((monthly_after >= 0)),
    CONSTRAINT credit_ledger_reference_check CHECK ((reference <> ''::text)),
    CONSTRAINT credit_ledger_topup_after_check CHECK ((topup_after >= 0))
);

ALTER TABLE ONLY public.credit_ledger FORCE ROW LEVEL SECURITY;


ALTER TABLE public.credit_ledger OWNER TO switchy;

--
-- Name: delegations; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.delegations (
    org_id text NOT NULL,
    user_id text NOT NULL,
    key_id text NOT NULL,
    key_user_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT delegations_check CHECK ((user_id <> key_user_id))
);

ALTER TABLE ONLY public.delegations FORCE ROW LEVEL SECURITY;


ALTER TABLE public.delegations OWNER TO switchy;

--
-- Name: idempotency_keys; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.idempotency_keys (
    key_id text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    idempotency_key text NOT NULL,
    org_id text NOT NULL,
    request_digest bytea NOT NULL,
    status smallint NOT NULL,
    body text NOT NULL,
    location text,
    created_at timestamp with time zone NOT NULL,
    rights text[] DEFAULT '{}'::text[] NOT NULL
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;


ALTER TABLE public.idempotency_keys OWNER TO switchy;

--
-- Name: invitation_mails; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.invitation_mails (
    invitation_id text NOT NULL,
    org_id text NOT NULL,
    nonce bytea,
    attempts smallint DEFAULT 0 NOT NULL,
    next_attempt_at timestamp with time zone,
    sent_at timestamp with time zone,
    last_error text,
    held boolean DEFAULT false NOT NULL,
    CONSTRAINT invitation_mails_check CHECK (((nonce IS NULL) = (next_attempt_at IS NULL))),
    CONSTRAINT invitation_mails_check1 CHECK (((NOT held) OR ((nonce IS NULL) AND (sent_at IS NULL))))
);

ALTER TABLE ONLY public.invitation_mails FORCE ROW LEVEL SECURITY;


ALTER TABLE public.invitation_mails OWNER TO switchy;

--
-- Name: invitations; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.invitations (
    id text NOT NULL,
    org_id text NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    status text DEFAULT 'PENDING'::text NOT NULL,
    digest bytea NOT NULL,
    invited_by_user_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    accepted_by_user_id text,
    CONSTRAINT invitations_check CHECK (((status = 'PENDING'::text) = (ended_at IS NULL))),
    CONSTRAINT invitations_role_check CHECK ((role = ANY (ARRAY['ADMIN'::text, 'MEMBER'::text]))),
    CONSTRAINT invitations_status_check CHECK ((status = ANY (ARRAY['PENDING'::text, 'ACCEPTED'::text, 'REVOKED'::text, 'EXPIRED'::text])))
);

ALTER TABLE ONLY public.invitations FORCE ROW LEVEL SECURITY;


ALTER TABLE public.invitations OWNER TO switchy;

--
-- Name: mcp_servers; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.mcp_servers (
    id text NOT NULL,
    org_id text NOT NULL,
    display_name text NOT NULL,
    mention_slug text NOT NULL,
    endpoint_url text NOT NULL,
    auth_type text NOT NULL,
    secret_id text,
    health text DEFAULT 'UNKNOWN'::text NOT NULL,
    last_checked_at timestamp with time zone,
    next_check_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mcp_servers_auth_type_check CHECK ((auth_type = ANY (ARRAY['NONE'::text, 'BEARER'::text, 'API_KEY'::text]))),
    CONSTRAINT mcp_servers_check CHECK (((auth_type = 'NONE'::text) = (secret_id IS NULL))),
    CONSTRAINT mcp_servers_health_check CHECK ((health = ANY (ARRAY['HEALTHY'::text, 'DEGRADED'::text, 'UNREACHABLE'::text, 'UNKNOWN'::text])))
);

ALTER TABLE ONLY public.mcp_servers FORCE ROW LEVEL SECURITY;


ALTER TABLE public.mcp_servers OWNER TO switchy;

--
-- Name: memory_backlog; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memory_backlog (
    memory_id text NOT NULL,
    org_id text NOT NULL,
    author_user_id text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.memory_backlog FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memory_backlog OWNER TO switchy;

--
-- Name: memory_common_words; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memory_common_words (
    org_id text NOT NULL,
    bucket text NOT NULL,
    lexeme text NOT NULL,
    notes bigint NOT NULL
);

ALTER TABLE ONLY public.memory_common_words FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memory_common_words OWNER TO switchy;

--
-- Name: memory_embeddings; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memory_embeddings (
    memory_id text NOT NULL,
    model_id text NOT NULL,
    passage smallint NOT NULL,
    org_id text NOT NULL,
    space_id text,
    author_user_id text NOT NULL,
    visibility text NOT NULL,
    starts_at integer NOT NULL,
    ends_at integer NOT NULL,
    embedding public.halfvec(384) NOT NULL
)
WITH (vacuum_index_cleanup='on', autovacuum_vacuum_scale_factor='0.02');

ALTER TABLE ONLY public.memory_embeddings FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memory_embeddings OWNER TO switchy;

--
-- Name: memory_expansions; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.memory_expansions (
    memory_id text NOT NULL,
    org_id text NOT NULL,
    model_id text NOT NULL,
    terms public.sparsevec
);

ALTER TABLE ONLY public.memory_expansions FORCE ROW LEVEL SECURITY;


ALTER TABLE public.memory_expansions OWNER TO switchy;

--
-- Name: message_index; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.message_index (
    org_id text NOT NULL,
    session_id text NOT NULL,
    message_id text NOT NULL,
    seq bigint NOT NULL,
    space_id text NOT NULL,
    private_to text,
    tsv tsvector NOT NULL,
    term_count integer NOT NULL
);

ALTER TABLE ONLY public.message_index FORCE ROW LEVEL SECURITY;


ALTER TABLE public.message_index OWNER TO switchy;

--
-- Name: message_reactions; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.message_reactions (
    org_id text NOT NULL,
    session_id text NOT NULL,
    message_id text NOT NULL,
    user_id text NOT NULL,
    emoji text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE ONLY public.message_reactions FORCE ROW LEVEL SECURITY;


ALTER TABLE public.message_reactions OWNER TO switchy;

--
-- Name: messages; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.messages (
    id text NOT NULL,
    org_id text NOT NULL,
    session_id text NOT NULL,
    seq bigint NOT NULL,
    external_id uuid DEFAULT gen_random_uuid() NOT NULL,
    author_type text NOT NULL,
    author_user_id text,
    author_agent text,
    body text NOT NULL,
    parent_message_id text,
    reply_count bigint DEFAULT 0 NOT NULL,
    mentions text[] DEFAULT '{}'::text[] NOT NULL,
    model text,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_input_tokens bigint,
    cache_creation_input_tokens bigint,
    tool_call_count integer,
    cost_usd numeric,
    metadata jsonb,
    created_at timestamp with time zone NOT NULL,
    role text,
    tool_calls jsonb,
    tool_call_id text,
    follows_message_id text,
    written_by_user_id text,
    CONSTRAINT messages_author_type_check CHECK ((author_type = ANY (ARRAY['USER'::text, 'AGENT'::text, 'SYSTEM'::text]))),
    CONSTRAINT messages_check CHECK (((author_type = 'SYSTEM'::text) OR (author_user_id IS NOT NULL))),
    CONSTRAINT messages_check1 CHECK (((author_type = 'AGENT'::text) = (author_agent IS NOT NULL))),
    CONSTRAINT messages_check2 CHECK ((num_nulls(input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, tool_call_count) = ANY (ARRAY[0, 5]))),
    CONSTRAINT messages_check3 CHECK (((cost_usd IS NULL) OR (input_tokens IS NOT NULL))),
    CONSTRAINT messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text, 'system'::text, 'tool'::text]))),
    CONSTRAINT messages_tool_calls_check CHECK ((jsonb_typeof(tool_calls) = 'array'::text))
);

ALTER TABLE ONLY public.messages FORCE ROW LEVEL SECURITY;


ALTER TABLE public.messages OWNER TO switchy;

--
-- Name: org_quotas; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.org_quotas (
    org_id text NOT NULL,
    spaces bigint,
    member_spaces bigint,
    sessions bigint,
    notes bigint,
    bytes bigint,
    waiting bigint
);

ALTER TABLE ONLY public.org_quotas FORCE ROW LEVEL SECURITY;


ALTER TABLE public.org_quotas OWNER TO switchy;

--
-- Name: org_usage; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.org_usage (
    org_id text NOT NULL,
    part uuid DEFAULT gen_random_uuid() NOT NULL,
    spaces bigint NOT NULL,
    sessions bigint NOT NULL,
    notes bigint NOT NULL,
    bytes bigint NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.org_usage FORCE ROW LEVEL SECURITY;


ALTER TABLE public.org_usage OWNER TO switchy;

--
-- Name: orgs; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.orgs (
    id text NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.orgs FORCE ROW LEVEL SECURITY;


ALTER TABLE public.orgs OWNER TO switchy;

--
-- Name: quota_defaults; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.quota_defaults (
    is_only boolean DEFAULT true NOT NULL,
    spaces bigint NOT NULL,
    member_spaces bigint NOT NULL,
    sessions bigint NOT NULL,
    notes bigint NOT NULL,
    bytes bigint NOT NULL,
    waiting bigint NOT NULL,
    CONSTRAINT quota_defaults_is_only_check CHECK (is_only)
);

ALTER TABLE ONLY public.quota_defaults FORCE ROW LEVEL SECURITY;


ALTER TABLE public.quota_defaults OWNER TO switchy;

--
-- Name: rate_limits; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.rate_limits (
    subject text NOT NULL,
    bucket text NOT NULL,
    hits timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    window_start timestamp with time zone,
    window_hits integer DEFAULT 0 NOT NULL,
    previous_hits integer DEFAULT 0 NOT NULL,
    touched_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE ONLY public.rate_limits FORCE ROW LEVEL SECURITY;


ALTER TABLE public.rate_limits OWNER TO switchy;

--
-- Name: server_secrets; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.server_secrets (
    name text NOT NULL,
    value bytea NOT NULL
);

ALTER TABLE ONLY public.server_secrets FORCE ROW LEVEL SECURITY;


ALTER TABLE public.server_secrets OWNER TO switchy;

--
-- Name: session_events; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.session_events (
    org_id text NOT NULL,
    session_id text NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    message_id text,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.session_events FORCE ROW LEVEL SECURITY;


ALTER TABLE public.session_events OWNER TO switchy;

--
-- Name: session_participants; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.session_participants (
    org_id text NOT NULL,
    session_id text NOT NULL,
    user_id text NOT NULL
);

ALTER TABLE ONLY public.session_participants FORCE ROW LEVEL SECURITY;


ALTER TABLE public.session_participants OWNER TO switchy;

--
-- Name: sessions; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.sessions (
    id text NOT NULL,
    external_id uuid DEFAULT gen_random_uuid() NOT NULL,
    org_id text NOT NULL,
    space_id text NOT NULL,
    title text,
    description text,
    default_agent text,
    model text,
    created_by_user_id text NOT NULL,
    visibility text DEFAULT 'workspace'::text NOT NULL,
    origin text DEFAULT 'user'::text NOT NULL,
    labels jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    archived_at timestamp with time zone,
    last_message_seq bigint DEFAULT 0 NOT NULL,
    last_message_at timestamp with time zone,
    last_event_seq bigint DEFAULT 0 NOT NULL,
    message_count integer DEFAULT 0 NOT NULL,
    bytes integer GENERATED ALWAYS AS (((((octet_length(COALESCE(title, ''::text)) + octet_length(COALESCE(description, ''::text))) + octet_length(COALESCE(model, ''::text))) + octet_length(COALESCE(default_agent, ''::text))) + octet_length((labels)::text))) STORED NOT NULL,
    CONSTRAINT sessions_message_count_check CHECK ((message_count >= 0)),
    CONSTRAINT sessions_origin_check CHECK ((origin = ANY (ARRAY['user'::text, 'eval'::text, 'worker'::text]))),
    CONSTRAINT sessions_visibility_check CHECK ((visibility = ANY (ARRAY['private'::text, 'workspace'::text])))
);

ALTER TABLE ONLY public.sessions FORCE ROW LEVEL SECURITY;


ALTER TABLE public.sessions OWNER TO switchy;

--
-- Name: space_mcp_servers; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.space_mcp_servers (
    org_id text NOT NULL,
    space_id text NOT NULL,
    server_id text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.space_mcp_servers FORCE ROW LEVEL SECURITY;


ALTER TABLE public.space_mcp_servers OWNER TO switchy;

--
-- Name: stripe_accounts; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.stripe_accounts (
    org_id text NOT NULL,
    customer_id text,
    subscription_id text,
    item_id text,
    seats integer,
    subscription_created_at timestamp with time zone,
    subscription_event_at timestamp with time zone,
    payment_event_at timestamp with time zone,
    refill_invoice_at timestamp with time zone,
    subscription_ended boolean DEFAULT false NOT NULL,
    sync_due_at timestamp with time zone,
    sync_attempts integer DEFAULT 0 NOT NULL
);

ALTER TABLE ONLY public.stripe_accounts FORCE ROW LEVEL SECURITY;


ALTER TABLE public.stripe_accounts OWNER TO switchy;

--
-- Name: stripe_checkouts; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.stripe_checkouts (
    session_id text NOT NULL,
    org_id text NOT NULL,
    reference text NOT NULL,
    plan text,
    billing_interval text,
    seats integer,
    credits bigint,
    created_by_user_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    superseded_at timestamp with time zone,
    payment_intent_id text,
    refunded_credits bigint DEFAULT 0 NOT NULL,
    CONSTRAINT stripe_checkouts_billing_interval_check CHECK ((billing_interval = ANY (ARRAY['MONTHLY'::text, 'ANNUAL'::text]))),
    CONSTRAINT stripe_checkouts_check CHECK (((plan IS NULL) = (billing_interval IS NULL))),
    CONSTRAINT stripe_checkouts_check1 CHECK (((plan IS NULL) = (seats IS NULL))),
    CONSTRAINT stripe_checkouts_check2 CHECK (((plan IS NULL) <> (credits IS NULL))),
    CONSTRAINT stripe_checkouts_credits_check CHECK ((credits > 0)),
    CONSTRAINT stripe_checkouts_plan_check CHECK ((plan = ANY (ARRAY['PRO'::text, 'TEAM'::text, 'ENTERPRISE'::text]))),
    CONSTRAINT stripe_checkouts_refunded_credits_check CHECK ((refunded_credits >= 0)),
    CONSTRAINT stripe_checkouts_seats_check CHECK ((seats > 0))
);

ALTER TABLE ONLY public.stripe_checkouts FORCE ROW LEVEL SECURITY;


ALTER TABLE public.stripe_checkouts OWNER TO switchy;

--
-- Name: stripe_events; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.stripe_events (
    event_id text NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.stripe_events FORCE ROW LEVEL SECURITY;


ALTER TABLE public.stripe_events OWNER TO switchy;

--
-- Name: users; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.users (
    id text NOT NULL,
    email text NOT NULL,
    name text,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.users FORCE ROW LEVEL SECURITY;


ALTER TABLE public.users OWNER TO switchy;

--
-- Name: vault_secrets; Type: TABLE; Schema: public; Owner: switchy
--

CREATE TABLE public.vault_secrets (
    org_id text NOT NULL,
    id text NOT NULL,
    key_id text NOT NULL,
    nonce bytea NOT NULL,
    ciphertext bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT vault_secrets_nonce_check CHECK ((octet_length(nonce) = 24))
);

ALTER TABLE ONLY public.vault_secrets FORCE ROW LEVEL SECURITY;


ALTER TABLE public.vault_secrets OWNER TO switchy;

--
-- Name: __diesel_schema_migrations __diesel_schema_migrations_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.__diesel_schema_migrations
    ADD CONSTRAINT __diesel_schema_migrations_pkey PRIMARY KEY (version);


--
-- Name: api_keys api_keys_digest_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_digest_key UNIQUE (digest);


--
-- Name: api_keys api_keys_holder; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_holder UNIQUE (org_id, id, user_id);


--
-- Name: api_keys api_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);


--
-- Name: billing_accounts billing_accounts_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.billing_accounts
    ADD CONSTRAINT billing_accounts_pkey PRIMARY KEY (org_id);


--
-- Name: credit_balances credit_balances_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.credit_balances
    ADD CONSTRAINT credit_balances_pkey PRIMARY KEY (org_id);


--
-- Name: credit_ledger credit_ledger_org_id_reference_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.credit_ledger
    ADD CONSTRAINT credit_ledger_org_id_reference_key UNIQUE (org_id, reference);


--
-- Name: credit_ledger credit_ledger_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.credit_ledger
    ADD CONSTRAINT credit_ledger_pkey PRIMARY KEY (org_id, entry);


--
-- Name: delegations delegations_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.delegations
    ADD CONSTRAINT delegations_pkey PRIMARY KEY (user_id, key_id);


--
-- Name: idempotency_keys idempotency_keys_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key_id, method, path, idempotency_key);


--
-- Name: invitation_mails invitation_mails_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitation_mails
    ADD CONSTRAINT invitation_mails_pkey PRIMARY KEY (invitation_id);


--
-- Name: invitations invitations_digest_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_digest_key UNIQUE (digest);


--
-- Name: invitations invitations_org_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_org_id_id_key UNIQUE (org_id, id);


--
-- Name: invitations invitations_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_pkey PRIMARY KEY (id);


--
-- Name: mcp_servers mcp_servers_org_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.mcp_servers
    ADD CONSTRAINT mcp_servers_org_id_id_key UNIQUE (org_id, id);


--
-- Name: mcp_servers mcp_servers_org_id_mention_slug_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.mcp_servers
    ADD CONSTRAINT mcp_servers_org_id_mention_slug_key UNIQUE (org_id, mention_slug);


--
-- Name: mcp_servers mcp_servers_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.mcp_servers
    ADD CONSTRAINT mcp_servers_pkey PRIMARY KEY (id);


--
-- Name: members members_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_pkey PRIMARY KEY (org_id, user_id);


--
-- Name: memories memories_org_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_org_id_id_key UNIQUE (org_id, id);


--
-- Name: memories memories_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_pkey PRIMARY KEY (id);


--
-- Name: memory_backlog memory_backlog_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_backlog
    ADD CONSTRAINT memory_backlog_pkey PRIMARY KEY (memory_id);


--
-- Name: memory_common_words memory_common_words_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_common_words
    ADD CONSTRAINT memory_common_words_pkey PRIMARY KEY (org_id, bucket, lexeme);


--
-- Name: memory_embeddings memory_embeddings_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_embeddings
    ADD CONSTRAINT memory_embeddings_pkey PRIMARY KEY (memory_id, model_id, passage);


--
-- Name: memory_expansions memory_expansions_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_expansions
    ADD CONSTRAINT memory_expansions_pkey PRIMARY KEY (memory_id, model_id);


--
-- Name: memory_statistics memory_statistics_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_statistics
    ADD CONSTRAINT memory_statistics_pkey PRIMARY KEY (org_id, bucket);


--
-- Name: message_index message_index_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.message_index
    ADD CONSTRAINT message_index_pkey PRIMARY KEY (message_id);


--
-- Name: message_reactions message_reactions_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.message_reactions
    ADD CONSTRAINT message_reactions_pkey PRIMARY KEY (message_id, user_id, emoji);


--
-- Name: messages messages_org_id_session_id_external_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_external_id_key UNIQUE (org_id, session_id, external_id);


--
-- Name: messages messages_org_id_session_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_id_key UNIQUE (org_id, session_id, id);


--
-- Name: messages messages_org_id_session_id_seq_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_seq_key UNIQUE (org_id, session_id, seq);


--
-- Name: messages messages_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (id);


--
-- Name: org_quotas org_quotas_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.org_quotas
    ADD CONSTRAINT org_quotas_pkey PRIMARY KEY (org_id);


--
-- Name: org_usage org_usage_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.org_usage
    ADD CONSTRAINT org_usage_pkey PRIMARY KEY (org_id, part);


--
-- Name: orgs orgs_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.orgs
    ADD CONSTRAINT orgs_pkey PRIMARY KEY (id);


--
-- Name: orgs orgs_slug_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.orgs
    ADD CONSTRAINT orgs_slug_key UNIQUE (slug);


--
-- Name: quota_defaults quota_defaults_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.quota_defaults
    ADD CONSTRAINT quota_defaults_pkey PRIMARY KEY (is_only);


--
-- Name: rate_limits rate_limits_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.rate_limits
    ADD CONSTRAINT rate_limits_pkey PRIMARY KEY (subject, bucket);


--
-- Name: search_models search_models_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.search_models
    ADD CONSTRAINT search_models_pkey PRIMARY KEY (is_active);


--
-- Name: server_secrets server_secrets_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.server_secrets
    ADD CONSTRAINT server_secrets_pkey PRIMARY KEY (name);


--
-- Name: session_events session_events_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.session_events
    ADD CONSTRAINT session_events_pkey PRIMARY KEY (org_id, session_id, seq);


--
-- Name: session_participants session_participants_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.session_participants
    ADD CONSTRAINT session_participants_pkey PRIMARY KEY (session_id, user_id);


--
-- Name: sessions sessions_org_id_external_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_org_id_external_id_key UNIQUE (org_id, external_id);


--
-- Name: sessions sessions_org_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_org_id_id_key UNIQUE (org_id, id);


--
-- Name: sessions sessions_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);


--
-- Name: space_mcp_servers space_mcp_servers_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_mcp_servers
    ADD CONSTRAINT space_mcp_servers_pkey PRIMARY KEY (space_id, server_id);


--
-- Name: space_members space_members_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_members
    ADD CONSTRAINT space_members_pkey PRIMARY KEY (space_id, user_id);


--
-- Name: spaces spaces_org_id_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.spaces
    ADD CONSTRAINT spaces_org_id_id_key UNIQUE (org_id, id);


--
-- Name: spaces spaces_org_id_slug_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.spaces
    ADD CONSTRAINT spaces_org_id_slug_key UNIQUE (org_id, slug);


--
-- Name: spaces spaces_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.spaces
    ADD CONSTRAINT spaces_pkey PRIMARY KEY (id);


--
-- Name: stripe_accounts stripe_accounts_customer_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_accounts
    ADD CONSTRAINT stripe_accounts_customer_id_key UNIQUE (customer_id);


--
-- Name: stripe_accounts stripe_accounts_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_accounts
    ADD CONSTRAINT stripe_accounts_pkey PRIMARY KEY (org_id);


--
-- Name: stripe_accounts stripe_accounts_subscription_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_accounts
    ADD CONSTRAINT stripe_accounts_subscription_id_key UNIQUE (subscription_id);


--
-- Name: stripe_checkouts stripe_checkouts_payment_intent_id_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_checkouts
    ADD CONSTRAINT stripe_checkouts_payment_intent_id_key UNIQUE (payment_intent_id);


--
-- Name: stripe_checkouts stripe_checkouts_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_checkouts
    ADD CONSTRAINT stripe_checkouts_pkey PRIMARY KEY (session_id);


--
-- Name: stripe_checkouts stripe_checkouts_reference_key; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_checkouts
    ADD CONSTRAINT stripe_checkouts_reference_key UNIQUE (reference);


--
-- Name: stripe_events stripe_events_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_events
    ADD CONSTRAINT stripe_events_pkey PRIMARY KEY (event_id);


--
-- Name: users users_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);


--
-- Name: vault_secrets vault_secrets_pkey; Type: CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.vault_secrets
    ADD CONSTRAINT vault_secrets_pkey PRIMARY KEY (org_id, id);


--
-- Name: api_keys_listed; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX api_keys_listed ON public.api_keys USING btree (org_id, created_at DESC, id DESC) WHERE (revoked_at IS NULL);


--
-- Name: api_keys_org; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX api_keys_org ON public.api_keys USING btree (org_id, user_id);


--
-- Name: billing_accounts_settle; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX billing_accounts_settle ON public.billing_accounts USING btree (settle_at) WHERE (settle_at IS NOT NULL);


--
-- Name: delegations_holder; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX delegations_holder ON public.delegations USING btree (org_id, key_user_id);


--
-- Name: delegations_key; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX delegations_key ON public.delegations USING btree (org_id, key_id, key_user_id);


--
-- Name: idempotency_keys_created; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX idempotency_keys_created ON public.idempotency_keys USING btree (created_at);


--
-- Name: invitation_mails_due; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitation_mails_due ON public.invitation_mails USING btree (next_attempt_at) WHERE (next_attempt_at IS NOT NULL);


--
-- Name: invitations_accepter; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitations_accepter ON public.invitations USING btree (accepted_by_user_id) WHERE (accepted_by_user_id IS NOT NULL);


--
-- Name: invitations_expiring; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitations_expiring ON public.invitations USING btree (expires_at) WHERE (status = 'PENDING'::text);


--
-- Name: invitations_inviter; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitations_inviter ON public.invitations USING btree (invited_by_user_id);


--
-- Name: invitations_listed; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitations_listed ON public.invitations USING btree (org_id, created_at DESC, id DESC);


--
-- Name: invitations_mailbox; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX invitations_mailbox ON public.invitations USING btree (public.mailbox(email), created_at);


--
-- Name: invitations_pending; Type: INDEX; Schema: public; Owner: switchy
--

CREATE UNIQUE INDEX invitations_pending ON public.invitations USING btree (org_id, lower(email)) WHERE (status = 'PENDING'::text);


--
-- Name: mcp_servers_due; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX mcp_servers_due ON public.mcp_servers USING btree (next_check_at);


--
-- Name: mcp_servers_secret; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX mcp_servers_secret ON public.mcp_servers USING btree (org_id, secret_id);


--
-- Name: members_user; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX members_user ON public.members USING btree (user_id);


--
-- Name: memories_keys; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memories_keys ON public.memories USING gin (public.memory_keys(org_id, visibility, author_user_id, space_id, tsv, tags)) WITH (gin_pending_list_limit='256');


--
-- Name: memories_newest; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memories_newest ON public.memories USING btree (public.memory_bucket(org_id, visibility, author_user_id, space_id), created_at DESC, id DESC);


--
-- Name: memories_recent; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memories_recent ON public.memories USING btree (org_id, created_at DESC, id DESC);


--
-- Name: memories_space; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memories_space ON public.memories USING btree (org_id, space_id) INCLUDE (term_count) WHERE (space_id IS NOT NULL);


--
-- Name: memories_visible; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memories_visible ON public.memories USING btree (org_id, visibility, author_user_id, space_id) INCLUDE (term_count);


--
-- Name: memory_backlog_author; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memory_backlog_author ON public.memory_backlog USING btree (org_id, author_user_id, since);


--
-- Name: memory_embeddings_hnsw; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memory_embeddings_hnsw ON public.memory_embeddings USING hnsw (embedding public.halfvec_cosine_ops);


--
-- Name: memory_embeddings_visible; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX memory_embeddings_visible ON public.memory_embeddings USING btree (org_id, visibility, author_user_id, space_id) INCLUDE (model_id);


--
-- Name: message_index_keys; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX message_index_keys ON public.message_index USING gin (public.message_keys(space_id, private_to, tsv)) WITH (gin_pending_list_limit='256');


--
-- Name: message_index_session; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX message_index_session ON public.message_index USING btree (org_id, session_id, message_id);


--
-- Name: message_index_space; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX message_index_space ON public.message_index USING btree (org_id, space_id, private_to) INCLUDE (term_count);


--
-- Name: message_reactions_message; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX message_reactions_message ON public.message_reactions USING btree (org_id, session_id, message_id);


--
-- Name: messages_follows; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX messages_follows ON public.messages USING btree (org_id, session_id, follows_message_id) WHERE (follows_message_id IS NOT NULL);


--
-- Name: messages_replies; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX messages_replies ON public.messages USING btree (org_id, session_id, parent_message_id) WHERE (parent_message_id IS NOT NULL);


--
-- Name: rate_limits_touched; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX rate_limits_touched ON public.rate_limits USING btree (touched_at);


--
-- Name: session_events_created; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX session_events_created ON public.session_events USING btree (created_at);


--
-- Name: sessions_space; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX sessions_space ON public.sessions USING btree (org_id, space_id, updated_at DESC, id DESC);


--
-- Name: space_mcp_servers_server; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX space_mcp_servers_server ON public.space_mcp_servers USING btree (org_id, server_id);


--
-- Name: space_members_listed; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX space_members_listed ON public.space_members USING btree (space_id, joined_at, user_id);


--
-- Name: space_members_user; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX space_members_user ON public.space_members USING btree (org_id, user_id);


--
-- Name: stripe_accounts_sync; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX stripe_accounts_sync ON public.stripe_accounts USING btree (sync_due_at) WHERE (sync_due_at IS NOT NULL);


--
-- Name: stripe_checkouts_org; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX stripe_checkouts_org ON public.stripe_checkouts USING btree (org_id, created_at);


--
-- Name: stripe_events_object; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX stripe_events_object ON public.stripe_events USING btree (object_id, kind);


--
-- Name: stripe_events_received; Type: INDEX; Schema: public; Owner: switchy
--

CREATE INDEX stripe_events_received ON public.stripe_events USING btree (received_at);


--
-- Name: users_email; Type: INDEX; Schema: public; Owner: switchy
--

CREATE UNIQUE INDEX users_email ON public.users USING btree (lower(email));


--
-- Name: memory_backlog bound; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER bound AFTER INSERT ON public.memory_backlog REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.bound_backlog();


--
-- Name: credit_ledger carry_credits; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER carry_credits AFTER INSERT ON public.credit_ledger FOR EACH ROW EXECUTE FUNCTION public.carry_credits();


--
-- Name: credit_balances check_credit_balance; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE CONSTRAINT TRIGGER check_credit_balance AFTER INSERT OR DELETE OR UPDATE ON public.credit_balances NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW EXECUTE FUNCTION public.check_credit_balance();


--
-- Name: memories count_added; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_added AFTER INSERT ON public.memories REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.count_notes();


--
-- Name: messages count_added; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_added AFTER INSERT ON public.messages REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.count_messages();


--
-- Name: sessions count_added; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_added AFTER INSERT ON public.sessions REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.count_sessions();


--
-- Name: spaces count_added; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_added AFTER INSERT ON public.spaces REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.count_spaces();


--
-- Name: memories count_changed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_changed AFTER UPDATE ON public.memories REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.count_notes();


--
-- Name: memories count_removed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_removed AFTER DELETE ON public.memories REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.count_notes();


--
-- Name: messages count_removed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_removed AFTER DELETE ON public.messages REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.count_messages();


--
-- Name: sessions count_removed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_removed AFTER DELETE ON public.sessions REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.count_sessions();


--
-- Name: spaces count_removed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER count_removed AFTER DELETE ON public.spaces REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION public.count_spaces();


--
-- Name: invitations end_invitation; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER end_invitation AFTER UPDATE OF status ON public.invitations FOR EACH ROW WHEN ((new.status <> 'PENDING'::text)) EXECUTE FUNCTION public.end_invitation();


--
-- Name: credit_ledger enter_credits; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER enter_credits BEFORE INSERT ON public.credit_ledger FOR EACH ROW EXECUTE FUNCTION public.enter_credits();


--
-- Name: memories follow_memory; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER follow_memory AFTER UPDATE OF visibility, space_id ON public.memories FOR EACH ROW EXECUTE FUNCTION public.follow_memory();


--
-- Name: sessions follow_session; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER follow_session AFTER UPDATE OF space_id, visibility, created_by_user_id ON public.sessions FOR EACH ROW WHEN ((((old.space_id IS DISTINCT FROM new.space_id) OR (old.visibility IS DISTINCT FROM new.visibility)) OR (old.created_by_user_id IS DISTINCT FROM new.created_by_user_id))) EXECUTE FUNCTION public.follow_session();


--
-- Name: mcp_servers forget_mcp_secret; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER forget_mcp_secret AFTER DELETE ON public.mcp_servers FOR EACH ROW WHEN ((old.secret_id IS NOT NULL)) EXECUTE FUNCTION public.forget_mcp_secret();


--
-- Name: memories index_memory; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER index_memory BEFORE INSERT OR UPDATE OF content, tags ON public.memories FOR EACH ROW EXECUTE FUNCTION public.index_memory();


--
-- Name: messages index_message; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER index_message AFTER INSERT OR UPDATE OF body ON public.messages FOR EACH ROW EXECUTE FUNCTION public.index_message();


--
-- Name: members leave_org; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER leave_org BEFORE DELETE ON public.members FOR EACH ROW EXECUTE FUNCTION public.leave_org();


--
-- Name: space_members leave_space; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER leave_space AFTER DELETE ON public.space_members FOR EACH ROW EXECUTE FUNCTION public.leave_space();


--
-- Name: messages number; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER number BEFORE INSERT ON public.messages FOR EACH ROW EXECUTE FUNCTION public.number_message();


--
-- Name: credit_ledger refuse_change; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON public.credit_ledger FOR EACH ROW EXECUTE FUNCTION public.refuse_change();


--
-- Name: credit_balances refuse_truncation; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON public.credit_balances FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: credit_ledger refuse_truncation; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON public.credit_ledger FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();


--
-- Name: memories say_whose_key; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER say_whose_key BEFORE INSERT OR UPDATE OF written_by_user_id ON public.memories FOR EACH ROW WHEN (((public.acting_key() <> ''::text) OR (new.written_by_user_id IS NOT NULL))) EXECUTE FUNCTION public.say_whose_key();


--
-- Name: messages say_whose_key; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER say_whose_key BEFORE INSERT OR UPDATE OF written_by_user_id ON public.messages FOR EACH ROW WHEN (((public.acting_key() <> ''::text) OR (new.written_by_user_id IS NOT NULL))) EXECUTE FUNCTION public.say_whose_key();


--
-- Name: members seats_changed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER seats_changed AFTER INSERT OR DELETE ON public.members FOR EACH ROW EXECUTE FUNCTION public.seats_changed();


--
-- Name: message_reactions tell; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER tell AFTER INSERT OR DELETE ON public.message_reactions FOR EACH ROW EXECUTE FUNCTION public.tell_of_reaction();


--
-- Name: messages tell; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER tell AFTER INSERT ON public.messages FOR EACH ROW EXECUTE FUNCTION public.tell_of_message();


--
-- Name: sessions tell; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER tell AFTER UPDATE OF title, description, default_agent, model, visibility, labels, archived_at ON public.sessions FOR EACH ROW WHEN ((((((((old.title IS DISTINCT FROM new.title) OR (old.description IS DISTINCT FROM new.description)) OR (old.default_agent IS DISTINCT FROM new.default_agent)) OR (old.model IS DISTINCT FROM new.model)) OR (old.visibility IS DISTINCT FROM new.visibility)) OR (old.labels IS DISTINCT FROM new.labels)) OR (old.archived_at IS DISTINCT FROM new.archived_at))) EXECUTE FUNCTION public.tell_of_session();


--
-- Name: api_keys wake; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER wake AFTER DELETE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.wake_streams('key', 'id');


--
-- Name: members wake; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER wake AFTER DELETE ON public.members FOR EACH ROW EXECUTE FUNCTION public.wake_streams('user', 'user_id');


--
-- Name: space_members wake; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER wake AFTER DELETE ON public.space_members FOR EACH ROW EXECUTE FUNCTION public.wake_streams('user', 'user_id');


--
-- Name: spaces wake; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER wake AFTER UPDATE OF archived_at ON public.spaces FOR EACH ROW EXECUTE FUNCTION public.wake_streams('space', 'id');


--
-- Name: api_keys wake_changed; Type: TRIGGER; Schema: public; Owner: switchy
--

CREATE TRIGGER wake_changed AFTER UPDATE OF revoked_at, expires_at, digest, scopes ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.wake_streams('key', 'id');


--
-- Name: api_keys api_keys_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: api_keys api_keys_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: billing_accounts billing_accounts_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.billing_accounts
    ADD CONSTRAINT billing_accounts_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: credit_balances credit_balances_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.credit_balances
    ADD CONSTRAINT credit_balances_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id);


--
-- Name: credit_ledger credit_ledger_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.credit_ledger
    ADD CONSTRAINT credit_ledger_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id);


--
-- Name: delegations delegations_org_id_key_id_key_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.delegations
    ADD CONSTRAINT delegations_org_id_key_id_key_user_id_fkey FOREIGN KEY (org_id, key_id, key_user_id) REFERENCES public.api_keys(org_id, id, user_id) ON DELETE CASCADE;


--
-- Name: delegations delegations_org_id_key_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.delegations
    ADD CONSTRAINT delegations_org_id_key_user_id_fkey FOREIGN KEY (org_id, key_user_id) REFERENCES public.members(org_id, user_id) ON DELETE CASCADE;


--
-- Name: delegations delegations_org_id_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.delegations
    ADD CONSTRAINT delegations_org_id_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES public.members(org_id, user_id) ON DELETE CASCADE;


--
-- Name: idempotency_keys idempotency_keys_key_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_key_id_fkey FOREIGN KEY (key_id) REFERENCES public.api_keys(id) ON DELETE CASCADE;


--
-- Name: invitation_mails invitation_mails_org_id_invitation_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitation_mails
    ADD CONSTRAINT invitation_mails_org_id_invitation_id_fkey FOREIGN KEY (org_id, invitation_id) REFERENCES public.invitations(org_id, id) ON DELETE CASCADE;


--
-- Name: invitations invitations_accepted_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_accepted_by_user_id_fkey FOREIGN KEY (accepted_by_user_id) REFERENCES public.users(id) ON DELETE SET NULL;


--
-- Name: invitations invitations_invited_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_invited_by_user_id_fkey FOREIGN KEY (invited_by_user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: invitations invitations_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: mcp_servers mcp_servers_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.mcp_servers
    ADD CONSTRAINT mcp_servers_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: mcp_servers mcp_servers_org_id_secret_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.mcp_servers
    ADD CONSTRAINT mcp_servers_org_id_secret_id_fkey FOREIGN KEY (org_id, secret_id) REFERENCES public.vault_secrets(org_id, id);


--
-- Name: members members_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: members members_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.members
    ADD CONSTRAINT members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: memories memories_author_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_author_user_id_fkey FOREIGN KEY (author_user_id) REFERENCES public.users(id);


--
-- Name: memories memories_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: memories memories_org_id_space_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_org_id_space_id_fkey FOREIGN KEY (org_id, space_id) REFERENCES public.spaces(org_id, id) ON DELETE CASCADE;


--
-- Name: memories memories_written_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memories
    ADD CONSTRAINT memories_written_by_user_id_fkey FOREIGN KEY (written_by_user_id) REFERENCES public.users(id);


--
-- Name: memory_backlog memory_backlog_org_id_memory_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_backlog
    ADD CONSTRAINT memory_backlog_org_id_memory_id_fkey FOREIGN KEY (org_id, memory_id) REFERENCES public.memories(org_id, id) ON DELETE CASCADE;


--
-- Name: memory_common_words memory_common_words_org_id_bucket_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_common_words
    ADD CONSTRAINT memory_common_words_org_id_bucket_fkey FOREIGN KEY (org_id, bucket) REFERENCES public.memory_statistics(org_id, bucket) ON DELETE CASCADE;


--
-- Name: memory_embeddings memory_embeddings_org_id_memory_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_embeddings
    ADD CONSTRAINT memory_embeddings_org_id_memory_id_fkey FOREIGN KEY (org_id, memory_id) REFERENCES public.memories(org_id, id) ON DELETE CASCADE;


--
-- Name: memory_expansions memory_expansions_org_id_memory_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_expansions
    ADD CONSTRAINT memory_expansions_org_id_memory_id_fkey FOREIGN KEY (org_id, memory_id) REFERENCES public.memories(org_id, id) ON DELETE CASCADE;


--
-- Name: memory_statistics memory_statistics_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.memory_statistics
    ADD CONSTRAINT memory_statistics_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: message_index message_index_org_id_session_id_message_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.message_index
    ADD CONSTRAINT message_index_org_id_session_id_message_id_fkey FOREIGN KEY (org_id, session_id, message_id) REFERENCES public.messages(org_id, session_id, id) ON DELETE CASCADE;


--
-- Name: message_reactions message_reactions_org_id_session_id_message_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.message_reactions
    ADD CONSTRAINT message_reactions_org_id_session_id_message_id_fkey FOREIGN KEY (org_id, session_id, message_id) REFERENCES public.messages(org_id, session_id, id) ON DELETE CASCADE;


--
-- Name: message_reactions message_reactions_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.message_reactions
    ADD CONSTRAINT message_reactions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;


--
-- Name: messages messages_author_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_author_user_id_fkey FOREIGN KEY (author_user_id) REFERENCES public.users(id);


--
-- Name: messages messages_org_id_session_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_fkey FOREIGN KEY (org_id, session_id) REFERENCES public.sessions(org_id, id) ON DELETE CASCADE;


--
-- Name: messages messages_org_id_session_id_follows_message_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_follows_message_id_fkey FOREIGN KEY (org_id, session_id, follows_message_id) REFERENCES public.messages(org_id, session_id, id) ON DELETE CASCADE;


--
-- Name: messages messages_org_id_session_id_parent_message_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_org_id_session_id_parent_message_id_fkey FOREIGN KEY (org_id, session_id, parent_message_id) REFERENCES public.messages(org_id, session_id, id) ON DELETE CASCADE;


--
-- Name: messages messages_written_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_written_by_user_id_fkey FOREIGN KEY (written_by_user_id) REFERENCES public.users(id);


--
-- Name: org_quotas org_quotas_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.org_quotas
    ADD CONSTRAINT org_quotas_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: org_usage org_usage_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.org_usage
    ADD CONSTRAINT org_usage_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: session_events session_events_org_id_session_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.session_events
    ADD CONSTRAINT session_events_org_id_session_id_fkey FOREIGN KEY (org_id, session_id) REFERENCES public.sessions(org_id, id) ON DELETE CASCADE;


--
-- Name: session_participants session_participants_org_id_session_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.session_participants
    ADD CONSTRAINT session_participants_org_id_session_id_fkey FOREIGN KEY (org_id, session_id) REFERENCES public.sessions(org_id, id) ON DELETE CASCADE;


--
-- Name: session_participants session_participants_org_id_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.session_participants
    ADD CONSTRAINT session_participants_org_id_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES public.members(org_id, user_id) ON DELETE CASCADE;


--
-- Name: sessions sessions_created_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES public.users(id);


--
-- Name: sessions sessions_org_id_space_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_org_id_space_id_fkey FOREIGN KEY (org_id, space_id) REFERENCES public.spaces(org_id, id) ON DELETE CASCADE;


--
-- Name: space_mcp_servers space_mcp_servers_org_id_server_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_mcp_servers
    ADD CONSTRAINT space_mcp_servers_org_id_server_id_fkey FOREIGN KEY (org_id, server_id) REFERENCES public.mcp_servers(org_id, id) ON DELETE CASCADE;


--
-- Name: space_mcp_servers space_mcp_servers_org_id_space_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_mcp_servers
    ADD CONSTRAINT space_mcp_servers_org_id_space_id_fkey FOREIGN KEY (org_id, space_id) REFERENCES public.spaces(org_id, id) ON DELETE CASCADE;


--
-- Name: space_members space_members_org_id_space_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_members
    ADD CONSTRAINT space_members_org_id_space_id_fkey FOREIGN KEY (org_id, space_id) REFERENCES public.spaces(org_id, id) ON DELETE CASCADE;


--
-- Name: space_members space_members_org_id_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.space_members
    ADD CONSTRAINT space_members_org_id_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES public.members(org_id, user_id) ON DELETE CASCADE;


--
-- Name: spaces spaces_created_by_user_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.spaces
    ADD CONSTRAINT spaces_created_by_user_id_fkey FOREIGN KEY (created_by_user_id) REFERENCES public.users(id);


--
-- Name: spaces spaces_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.spaces
    ADD CONSTRAINT spaces_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: stripe_accounts stripe_accounts_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_accounts
    ADD CONSTRAINT stripe_accounts_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.billing_accounts(org_id) ON DELETE CASCADE;


--
-- Name: stripe_checkouts stripe_checkouts_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.stripe_checkouts
    ADD CONSTRAINT stripe_checkouts_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: vault_secrets vault_secrets_org_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: switchy
--

ALTER TABLE ONLY public.vault_secrets
    ADD CONSTRAINT vault_secrets_org_id_fkey FOREIGN KEY (org_id) REFERENCES public.orgs(id) ON DELETE CASCADE;


--
-- Name: api_keys; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: memories author_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY author_only ON public.memories AS RESTRICTIVE FOR UPDATE TO switchy_app USING ((author_user_id = ( SELECT public.caller_user() AS caller_user))) WITH CHECK (((author_user_id = ( SELECT public.caller_user() AS caller_user)) AND ((visibility <> 'SPACE'::text) OR public.caller_writes_in(space_id))));


--
-- Name: memory_embeddings author_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY author_only ON public.memory_embeddings AS RESTRICTIVE FOR UPDATE TO switchy_app USING ((author_user_id = ( SELECT public.caller_user() AS caller_user)));


--
-- Name: memory_expansions author_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY author_only ON public.memory_expansions AS RESTRICTIVE FOR UPDATE TO switchy_app USING ((EXISTS ( SELECT
   FROM public.memories m
  WHERE ((m.id = memory_expansions.memory_id) AND (m.author_user_id = ( SELECT public.caller_user() AS caller_user))))));


--
-- Name: memory_embeddings author_removes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY author_removes ON public.memory_embeddings AS RESTRICTIVE FOR DELETE TO switchy_app USING ((author_user_id = ( SELECT public.caller_user() AS caller_user)));


--
-- Name: memory_expansions author_removes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY author_removes ON public.memory_expansions AS RESTRICTIVE FOR DELETE TO switchy_app USING ((EXISTS ( SELECT
   FROM public.memories m
  WHERE ((m.id = memory_expansions.memory_id) AND (m.author_user_id = ( SELECT public.caller_user() AS caller_user))))));


--
-- Name: billing_accounts; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.billing_accounts ENABLE ROW LEVEL SECURITY;

--
-- Name: api_keys caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.api_keys FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: billing_accounts caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.billing_accounts FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: credit_balances caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.credit_balances FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: delegations caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.delegations FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user))));


--
-- Name: idempotency_keys caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.idempotency_keys TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND
CASE
    WHEN (( SELECT public.acting_key() AS acting_key) = ''::text) THEN (EXISTS ( SELECT
       FROM public.api_keys k
      WHERE ((k.id = idempotency_keys.key_id) AND (k.user_id = ( SELECT public.caller_user() AS caller_user)))))
    ELSE (key_id = ( SELECT public.acting_key() AS acting_key))
END));


--
-- Name: invitation_mails caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.invitation_mails FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_manages_org() AS caller_manages_org)));


--
-- Name: invitations caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.invitations FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_manages_org() AS caller_manages_org)));


--
-- Name: mcp_servers caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.mcp_servers FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: members caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.members FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: memories caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.memories TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((visibility = 'ORG'::text) OR ((visibility = 'PRIVATE'::text) AND (author_user_id = ( SELECT public.private_reader() AS private_reader))) OR ((visibility = 'SPACE'::text) AND (space_id = ANY (( SELECT public.caller_spaces() AS caller_spaces)::text[]))))));


--
-- Name: memory_embeddings caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.memory_embeddings TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((visibility = 'ORG'::text) OR ((visibility = 'PRIVATE'::text) AND (author_user_id = ( SELECT public.private_reader() AS private_reader))) OR ((visibility = 'SPACE'::text) AND (space_id = ANY (( SELECT public.caller_spaces() AS caller_spaces)::text[]))))));


--
-- Name: memory_expansions caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.memory_expansions TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.memories m
  WHERE (m.id = memory_expansions.memory_id))))) WITH CHECK ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: message_reactions caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.message_reactions FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE (s.id = message_reactions.session_id)
 OFFSET 0))));


--
-- Name: messages caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.messages FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE (s.id = messages.session_id)
 OFFSET 0))));


--
-- Name: orgs caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.orgs FOR SELECT TO switchy_app USING ((id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: session_events caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.session_events FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE (s.id = session_events.session_id)
 OFFSET 0))));


--
-- Name: session_participants caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.session_participants FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE (s.id = session_participants.session_id)
 OFFSET 0))));


--
-- Name: sessions caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.sessions TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (space_id = ANY (( SELECT public.caller_spaces() AS caller_spaces)::text[])) AND ((visibility = 'workspace'::text) OR (created_by_user_id = ( SELECT public.consenting_caller() AS consenting_caller)))));


--
-- Name: space_mcp_servers caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.space_mcp_servers FOR SELECT TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((space_id = ANY (( SELECT public.caller_spaces() AS caller_spaces)::text[])) OR ( SELECT public.caller_runs_integrations() AS caller_runs_integrations))));


--
-- Name: space_members caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.space_members FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: spaces caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.spaces FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: stripe_accounts caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.stripe_accounts FOR SELECT TO switchy_app USING ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: users caller; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller ON public.users FOR SELECT TO switchy_app USING ((id IN ( SELECT m.user_id
   FROM public.members m
  WHERE (m.org_id = ( SELECT public.caller_org() AS caller_org)))));


--
-- Name: session_participants caller_admits; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_admits ON public.session_participants FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE ((s.id = session_participants.session_id) AND public.caller_writes_in(s.space_id))
 OFFSET 0))));


--
-- Name: space_members caller_admits; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_admits ON public.space_members FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (public.owned_by_caller(space_id) OR ((user_id = ( SELECT public.caller_user() AS caller_user)) AND public.founded_by_caller(space_id)))));


--
-- Name: delegations caller_allows; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_allows ON public.delegations FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user)) AND (( SELECT public.acting_key() AS acting_key) = ''::text)));


--
-- Name: space_mcp_servers caller_binds; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_binds ON public.space_mcp_servers FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((space_id = ANY (( SELECT public.caller_edited_spaces() AS caller_edited_spaces)::text[])) OR ( SELECT public.caller_runs_integrations() AS caller_runs_integrations))));


--
-- Name: spaces caller_changes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_changes ON public.spaces FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((id = ANY (( SELECT public.caller_spaces() AS caller_spaces)::text[])) OR ( SELECT public.caller_owns_org() AS caller_owns_org)))) WITH CHECK ((org_id = ( SELECT public.caller_org() AS caller_org)));


--
-- Name: spaces caller_creates; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_creates ON public.spaces FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (created_by_user_id = ( SELECT public.caller_user() AS caller_user))));


--
-- Name: members caller_dismisses; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_dismisses ON public.members FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((user_id = ( SELECT public.caller_user() AS caller_user)) OR ( SELECT public.caller_owns_org() AS caller_owns_org) OR ((role <> 'OWNER'::text) AND ( SELECT public.caller_manages_org() AS caller_manages_org)))));


--
-- Name: space_members caller_dismisses; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_dismisses ON public.space_members FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((user_id = ( SELECT public.caller_user() AS caller_user)) OR public.owned_by_caller(space_id))));


--
-- Name: delegations caller_ends; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_ends ON public.delegations FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user))));


--
-- Name: invitations caller_ends; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_ends ON public.invitations FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_manages_org() AS caller_manages_org) AND (status = 'PENDING'::text))) WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (status = ANY (ARRAY['REVOKED'::text, 'EXPIRED'::text]))));


--
-- Name: invitation_mails caller_invites; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_invites ON public.invitation_mails FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_manages_org() AS caller_manages_org)));


--
-- Name: invitations caller_invites; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_invites ON public.invitations FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_manages_org() AS caller_manages_org) AND (status = 'PENDING'::text) AND (invited_by_user_id = ( SELECT public.caller_user() AS caller_user))));


--
-- Name: api_keys caller_mints; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_mints ON public.api_keys FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user)) AND ( SELECT public.caller_manages_org() AS caller_manages_org)));


--
-- Name: messages caller_posts; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_posts ON public.messages FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (author_user_id = ( SELECT public.caller_user() AS caller_user)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE ((s.id = messages.session_id) AND (s.archived_at IS NULL) AND public.caller_writes_in(s.space_id))
 OFFSET 0))));


--
-- Name: members caller_promotes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_promotes ON public.members FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_owns_org() AS caller_owns_org)));


--
-- Name: space_members caller_promotes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_promotes ON public.space_members FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND public.owned_by_caller(space_id)));


--
-- Name: message_reactions caller_reacts; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_reacts ON public.message_reactions FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE ((s.id = message_reactions.session_id) AND (s.archived_at IS NULL) AND public.caller_writes_in(s.space_id))
 OFFSET 0))));


--
-- Name: mcp_servers caller_registers; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_registers ON public.mcp_servers FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_runs_integrations() AS caller_runs_integrations)));


--
-- Name: mcp_servers caller_removes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_removes ON public.mcp_servers FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_runs_integrations() AS caller_runs_integrations)));


--
-- Name: api_keys caller_revokes; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_revokes ON public.api_keys FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (revoked_at IS NULL) AND ((user_id = ( SELECT public.caller_user() AS caller_user)) OR ( SELECT public.caller_manages_org() AS caller_manages_org)))) WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (revoked_at IS NOT NULL)));


--
-- Name: vault_secrets caller_seals; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_seals ON public.vault_secrets FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_runs_integrations() AS caller_runs_integrations)));


--
-- Name: message_reactions caller_takes_back; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_takes_back ON public.message_reactions FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (user_id = ( SELECT public.caller_user() AS caller_user)) AND (EXISTS ( SELECT
   FROM public.sessions s
  WHERE ((s.id = message_reactions.session_id) AND (s.archived_at IS NULL) AND public.caller_writes_in(s.space_id))
 OFFSET 0))));


--
-- Name: mcp_servers caller_tests; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_tests ON public.mcp_servers FOR UPDATE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ( SELECT public.caller_runs_integrations() AS caller_runs_integrations)));


--
-- Name: space_mcp_servers caller_unbinds; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY caller_unbinds ON public.space_mcp_servers FOR DELETE TO switchy_app USING (((org_id = ( SELECT public.caller_org() AS caller_org)) AND ((space_id = ANY (( SELECT public.caller_edited_spaces() AS caller_edited_spaces)::text[])) OR ( SELECT public.caller_runs_integrations() AS caller_runs_integrations))));


--
-- Name: sessions changers_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY changers_only ON public.sessions AS RESTRICTIVE FOR UPDATE TO switchy_app USING ((((created_by_user_id = ( SELECT public.caller_user() AS caller_user)) AND public.caller_writes_in(space_id)) OR public.caller_edits(space_id)));


--
-- Name: credit_balances; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.credit_balances ENABLE ROW LEVEL SECURITY;

--
-- Name: credit_ledger; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.credit_ledger ENABLE ROW LEVEL SECURITY;

--
-- Name: delegations; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.delegations ENABLE ROW LEVEL SECURITY;

--
-- Name: spaces editors_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY editors_only ON public.spaces AS RESTRICTIVE FOR UPDATE TO switchy_app USING (((archived_at IS NULL) AND (public.caller_edits(id) OR ( SELECT public.caller_owns_org() AS caller_owns_org)))) WITH CHECK (
CASE
    WHEN (archived_at IS NULL) THEN public.caller_edits(id)
    ELSE (public.owned_by_caller(id) OR ( SELECT public.caller_owns_org() AS caller_owns_org))
END);


--
-- Name: search_models everybody; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY everybody ON public.search_models FOR SELECT TO switchy_app USING (true);


--
-- Name: idempotency_keys; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

--
-- Name: invitation_mails; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.invitation_mails ENABLE ROW LEVEL SECURITY;

--
-- Name: invitations; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.invitations ENABLE ROW LEVEL SECURITY;

--
-- Name: mcp_servers; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.mcp_servers ENABLE ROW LEVEL SECURITY;

--
-- Name: members; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.members ENABLE ROW LEVEL SECURITY;

--
-- Name: memories; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memories ENABLE ROW LEVEL SECURITY;

--
-- Name: memory_backlog; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memory_backlog ENABLE ROW LEVEL SECURITY;

--
-- Name: memory_common_words; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memory_common_words ENABLE ROW LEVEL SECURITY;

--
-- Name: memory_embeddings; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memory_embeddings ENABLE ROW LEVEL SECURITY;

--
-- Name: memory_expansions; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memory_expansions ENABLE ROW LEVEL SECURITY;

--
-- Name: memory_statistics; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.memory_statistics ENABLE ROW LEVEL SECURITY;

--
-- Name: message_index; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.message_index ENABLE ROW LEVEL SECURITY;

--
-- Name: message_reactions; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.message_reactions ENABLE ROW LEVEL SECURITY;

--
-- Name: messages; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.messages ENABLE ROW LEVEL SECURITY;

--
-- Name: org_quotas; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.org_quotas ENABLE ROW LEVEL SECURITY;

--
-- Name: org_usage; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.org_usage ENABLE ROW LEVEL SECURITY;

--
-- Name: orgs; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.orgs ENABLE ROW LEVEL SECURITY;

--
-- Name: memories own_name; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_name ON public.memories AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK ((author_user_id = ( SELECT public.caller_user() AS caller_user)));


--
-- Name: memory_backlog own_name; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_name ON public.memory_backlog FOR INSERT TO switchy_app WITH CHECK (((org_id = ( SELECT public.caller_org() AS caller_org)) AND (author_user_id = ( SELECT public.caller_user() AS caller_user))));


--
-- Name: memory_embeddings own_name; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_name ON public.memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK ((author_user_id = ( SELECT public.caller_user() AS caller_user)));


--
-- Name: sessions own_name; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_name ON public.sessions AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK ((created_by_user_id = ( SELECT public.caller_user() AS caller_user)));


--
-- Name: memory_embeddings own_note; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_note ON public.memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK ((NOT public.is_anothers_note(memory_id)));


--
-- Name: memory_expansions own_note; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_note ON public.memory_expansions AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK ((NOT public.is_anothers_note(memory_id)));


--
-- Name: api_keys own_or_managed; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY own_or_managed ON public.api_keys AS RESTRICTIVE FOR SELECT TO switchy_app USING (((user_id = ( SELECT public.caller_user() AS caller_user)) OR ( SELECT public.caller_manages_org() AS caller_manages_org)));


--
-- Name: quota_defaults; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.quota_defaults ENABLE ROW LEVEL SECURITY;

--
-- Name: rate_limits; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.rate_limits ENABLE ROW LEVEL SECURITY;

--
-- Name: memories removers_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY removers_only ON public.memories AS RESTRICTIVE FOR DELETE TO switchy_app USING (((author_user_id = ( SELECT public.caller_user() AS caller_user)) OR ((visibility = 'SPACE'::text) AND public.caller_edits(space_id)) OR ((visibility = 'ORG'::text) AND ( SELECT public.caller_manages_org() AS caller_manages_org))));


--
-- Name: search_models; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.search_models ENABLE ROW LEVEL SECURITY;

--
-- Name: server_secrets; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.server_secrets ENABLE ROW LEVEL SECURITY;

--
-- Name: session_events; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.session_events ENABLE ROW LEVEL SECURITY;

--
-- Name: session_participants; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.session_participants ENABLE ROW LEVEL SECURITY;

--
-- Name: sessions; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.sessions ENABLE ROW LEVEL SECURITY;

--
-- Name: space_mcp_servers; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.space_mcp_servers ENABLE ROW LEVEL SECURITY;

--
-- Name: space_members; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.space_members ENABLE ROW LEVEL SECURITY;

--
-- Name: spaces; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.spaces ENABLE ROW LEVEL SECURITY;

--
-- Name: stripe_accounts; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.stripe_accounts ENABLE ROW LEVEL SECURITY;

--
-- Name: stripe_checkouts; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.stripe_checkouts ENABLE ROW LEVEL SECURITY;

--
-- Name: stripe_events; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.stripe_events ENABLE ROW LEVEL SECURITY;

--
-- Name: api_keys system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.api_keys TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: billing_accounts system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.billing_accounts TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: credit_balances system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.credit_balances TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: credit_ledger system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.credit_ledger TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: delegations system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.delegations TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: idempotency_keys system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.idempotency_keys TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: invitation_mails system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.invitation_mails TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: invitations system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.invitations TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: mcp_servers system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.mcp_servers TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: members system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.members TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memories system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memories TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memory_backlog system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memory_backlog TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memory_common_words system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memory_common_words TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memory_embeddings system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memory_embeddings TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memory_expansions system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memory_expansions TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: memory_statistics system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.memory_statistics TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: message_index system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.message_index TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: message_reactions system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.message_reactions TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: messages system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.messages TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: org_quotas system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.org_quotas TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: org_usage system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.org_usage TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: orgs system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.orgs TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: quota_defaults system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.quota_defaults TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: rate_limits system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.rate_limits TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: search_models system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.search_models TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: server_secrets system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.server_secrets TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: session_events system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.session_events TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: session_participants system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.session_participants TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: sessions system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.sessions TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: space_mcp_servers system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.space_mcp_servers TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: space_members system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.space_members TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: spaces system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.spaces TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: stripe_accounts system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.stripe_accounts TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: stripe_checkouts system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.stripe_checkouts TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: stripe_events system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.stripe_events TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: users system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.users TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: vault_secrets system; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY system ON public.vault_secrets TO switchy_system USING (true) WITH CHECK (true);


--
-- Name: users; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;

--
-- Name: vault_secrets; Type: ROW SECURITY; Schema: public; Owner: switchy
--

ALTER TABLE public.vault_secrets ENABLE ROW LEVEL SECURITY;

--
-- Name: memories writers_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY writers_only ON public.memories AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK (((visibility <> 'SPACE'::text) OR public.caller_writes_in(space_id)));


--
-- Name: memory_embeddings writers_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY writers_only ON public.memory_embeddings AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK (((visibility <> 'SPACE'::text) OR public.caller_writes_in(space_id)));


--
-- Name: sessions writers_only; Type: POLICY; Schema: public; Owner: switchy
--

CREATE POLICY writers_only ON public.sessions AS RESTRICTIVE FOR INSERT TO switchy_app WITH CHECK (public.caller_writes_in(space_id));


--
-- Name: SCHEMA public; Type: ACL; Schema: -; Owner: pg_database_owner
--

GRANT ALL ON SCHEMA public TO switchy_system;
GRANT USAGE ON SCHEMA public TO switchy_app;


--
-- Name: FUNCTION accept_invitation(p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text, OUT name text, OUT joined_at timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.accept_invitation(p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text, OUT name text, OUT joined_at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.accept_invitation(p_digest bytea, p_now timestamp with time zone, OUT outcome text, OUT org_id text, OUT user_id text, OUT role text, OUT email text, OUT name text, OUT joined_at timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.actor_of_key(p_key_id text, p_actor text, OUT role text, OUT consents boolean) TO switchy_app;


--
-- Name: FUNCTION authenticate(p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer, p_now timestamp with time zone, OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[], OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone, OUT at timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.authenticate(p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer, p_now timestamp with time zone, OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[], OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone, OUT at timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.authenticate(p_digest bytea, p_address text, p_bucket text, p_limit integer, p_failure_limit integer, p_now timestamp with time zone, OUT key_id text, OUT user_id text, OUT org_id text, OUT role text, OUT scopes text[], OUT allowed boolean, OUT remaining integer, OUT reset_at timestamp with time zone, OUT at timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION bound_backlog(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.bound_backlog() FROM PUBLIC;


--
-- Name: FUNCTION caller_consents(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.caller_consents() FROM PUBLIC;
GRANT ALL ON FUNCTION public.caller_consents() TO switchy_app;


--
-- Name: TABLE space_members; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.space_members TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.space_members TO switchy_app;


--
-- Name: COLUMN space_members.role; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(role) ON TABLE public.space_members TO switchy_app;


--
-- Name: TABLE spaces; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.spaces TO switchy_system;
GRANT SELECT,INSERT ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.name; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(name) ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.description; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(description) ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.tags; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(tags) ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.default_model; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(default_model) ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.updated_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(updated_at) ON TABLE public.spaces TO switchy_app;


--
-- Name: COLUMN spaces.archived_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(archived_at) ON TABLE public.spaces TO switchy_app;


--
-- Name: FUNCTION caller_is_member_of(p_org text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.caller_is_member_of(p_org text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.caller_is_member_of(p_org text) TO switchy_app;


--
-- Name: TABLE members; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.members TO switchy_system;
GRANT SELECT,DELETE ON TABLE public.members TO switchy_app;


--
-- Name: COLUMN members.role; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(role) ON TABLE public.members TO switchy_app;


--
-- Name: FUNCTION count_common_words(p_listed bigint, p_sample bigint); Type: ACL; Schema: public; Owner: switchy
--

REVOKE ALL ON FUNCTION public.count_common_words(p_listed bigint, p_sample bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.count_common_words(p_listed bigint, p_sample bigint) TO switchy_system;


--
-- Name: TABLE memories; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memories TO switchy_system;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memories TO switchy_app;


--
-- Name: TABLE memory_statistics; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_statistics TO switchy_system;


--
-- Name: FUNCTION count_memories(p_least bigint); Type: ACL; Schema: public; Owner: switchy
--

REVOKE ALL ON FUNCTION public.count_memories(p_least bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.count_memories(p_least bigint) TO switchy_system;


--
-- Name: FUNCTION count_messages(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.count_messages() FROM PUBLIC;


--
-- Name: FUNCTION count_notes(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.count_notes() FROM PUBLIC;


--
-- Name: FUNCTION count_sessions(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.count_sessions() FROM PUBLIC;


--
-- Name: FUNCTION count_spaces(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.count_spaces() FROM PUBLIC;


--
-- Name: FUNCTION end_invitation(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.end_invitation() FROM PUBLIC;


--
-- Name: FUNCTION filtered_memories(p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.filtered_memories(p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.filtered_memories(p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION follow_memory(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.follow_memory() FROM PUBLIC;
GRANT ALL ON FUNCTION public.follow_memory() TO switchy_app;


--
-- Name: FUNCTION follow_session(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.follow_session() FROM PUBLIC;


--
-- Name: FUNCTION forget_mcp_secret(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.forget_mcp_secret() FROM PUBLIC;
GRANT ALL ON FUNCTION public.forget_mcp_secret() TO switchy_app;


--
-- Name: FUNCTION index_message(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.index_message() FROM PUBLIC;


--
-- Name: TABLE search_models; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.search_models TO switchy_system;
GRANT SELECT ON TABLE public.search_models TO switchy_app;


--
-- Name: FUNCTION is_anothers_note(p_memory text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.is_anothers_note(p_memory text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.is_anothers_note(p_memory text) TO switchy_app;


--
-- Name: FUNCTION key_that_acts(p_key text, p_now timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.key_that_acts(p_key text, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.key_that_acts(p_key text, p_now timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION leave_org(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.leave_org() FROM PUBLIC;


--
-- Name: FUNCTION leave_space(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.leave_space() FROM PUBLIC;


--
-- Name: FUNCTION lexical_candidates(p_query text, p_limit integer, p_terms integer, p_budget bigint, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.lexical_candidates(p_query text, p_limit integer, p_terms integer, p_budget bigint, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lexical_candidates(p_query text, p_limit integer, p_terms integer, p_budget bigint, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION lexical_messages(p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.lexical_messages(p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lexical_messages(p_query text, p_limit integer, p_terms integer, p_budget integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION literal_memories(p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.literal_memories(p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.literal_memories(p_pieces text[], p_limit integer, p_space text, p_visibility text, p_author text, p_tags text[], p_after timestamp with time zone, p_before timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION literal_messages(p_pieces text[], p_limit integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.literal_messages(p_pieces text[], p_limit integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.literal_messages(p_pieces text[], p_limit integer, p_space text, p_session text, p_author text, p_agent text, p_after timestamp with time zone, p_before timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION lock_members(p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.lock_members(p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lock_members(p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) TO switchy_app;


--
-- Name: FUNCTION lock_session(p_session text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.lock_session(p_session text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lock_session(p_session text) TO switchy_app;


--
-- Name: FUNCTION lock_space_members(p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.lock_space_members(p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION public.lock_space_members(p_space text, p_user text, OUT caller_role text, OUT user_role text, OUT owners bigint) TO switchy_app;


--
-- Name: FUNCTION may_mail(p_address text, p_org integer, p_known integer, p_all integer, p_letters integer, p_hours integer, p_now timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.may_mail(p_address text, p_org integer, p_known integer, p_all integer, p_letters integer, p_hours integer, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.may_mail(p_address text, p_org integer, p_known integer, p_all integer, p_letters integer, p_hours integer, p_now timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION mcp_server_secret(p_server text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.mcp_server_secret(p_server text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.mcp_server_secret(p_server text) TO switchy_app;


--
-- Name: FUNCTION measured_notes(p_space text, p_visibility text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.measured_notes(p_space text, p_visibility text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.measured_notes(p_space text, p_visibility text) TO switchy_app;


--
-- Name: FUNCTION note_similarities(p_notes text[], p_vector public.halfvec, p_model text, p_terms public.sparsevec, p_sparse_model text, p_vectors boolean); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.note_similarities(p_notes text[], p_vector public.halfvec, p_model text, p_terms public.sparsevec, p_sparse_model text, p_vectors boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION public.note_similarities(p_notes text[], p_vector public.halfvec, p_model text, p_terms public.sparsevec, p_sparse_model text, p_vectors boolean) TO switchy_app;


--
-- Name: FUNCTION number_message(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.number_message() FROM PUBLIC;


--
-- Name: FUNCTION refuse_for_quota(p_quota text, p_message text); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.refuse_for_quota(p_quota text, p_message text) FROM PUBLIC;


--
-- Name: FUNCTION rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.rotate_key(p_key text, p_digest bytea, p_prefix text, p_now timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION say_whose_key(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.say_whose_key() FROM PUBLIC;
GRANT ALL ON FUNCTION public.say_whose_key() TO switchy_app;


--
-- Name: FUNCTION scopes_of_live_key(p_digest bytea, p_now timestamp with time zone); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.scopes_of_live_key(p_digest bytea, p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION public.scopes_of_live_key(p_digest bytea, p_now timestamp with time zone) TO switchy_app;


--
-- Name: FUNCTION seats_changed(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.seats_changed() FROM PUBLIC;
GRANT ALL ON FUNCTION public.seats_changed() TO switchy_app;


--
-- Name: FUNCTION tell_of_message(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.tell_of_message() FROM PUBLIC;


--
-- Name: FUNCTION tell_of_reaction(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.tell_of_reaction() FROM PUBLIC;


--
-- Name: FUNCTION tell_of_session(); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.tell_of_session() FROM PUBLIC;


--
-- Name: FUNCTION use_quota(p_org text, p_spaces bigint, p_sessions bigint, p_notes bigint, p_bytes bigint); Type: ACL; Schema: public; Owner: switchy_system
--

REVOKE ALL ON FUNCTION public.use_quota(p_org text, p_spaces bigint, p_sessions bigint, p_notes bigint, p_bytes bigint) FROM PUBLIC;


--
-- Name: TABLE api_keys; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.api_keys TO switchy_system;


--
-- Name: COLUMN api_keys.id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(id),INSERT(id) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.org_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(org_id),INSERT(org_id) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.user_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(user_id),INSERT(user_id) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.name; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(name),INSERT(name) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.prefix; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(prefix),INSERT(prefix) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.digest; Type: ACL; Schema: public; Owner: switchy
--

GRANT INSERT(digest) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.scopes; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(scopes),INSERT(scopes) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.created_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(created_at),INSERT(created_at) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.expires_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(expires_at),INSERT(expires_at) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.revoked_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(revoked_at),UPDATE(revoked_at) ON TABLE public.api_keys TO switchy_app;


--
-- Name: COLUMN api_keys.last_used_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(last_used_at) ON TABLE public.api_keys TO switchy_app;


--
-- Name: TABLE billing_accounts; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.billing_accounts TO switchy_system;
GRANT SELECT ON TABLE public.billing_accounts TO switchy_app;


--
-- Name: TABLE credit_balances; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,UPDATE ON TABLE public.credit_balances TO switchy_system;
GRANT SELECT ON TABLE public.credit_balances TO switchy_app;


--
-- Name: TABLE credit_ledger; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT ON TABLE public.credit_ledger TO switchy_system;


--
-- Name: TABLE delegations; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.delegations TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.delegations TO switchy_app;


--
-- Name: TABLE idempotency_keys; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.idempotency_keys TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.idempotency_keys TO switchy_app;


--
-- Name: TABLE invitation_mails; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.invitation_mails TO switchy_system;


--
-- Name: COLUMN invitation_mails.invitation_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(invitation_id),INSERT(invitation_id) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: COLUMN invitation_mails.org_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(org_id),INSERT(org_id) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: COLUMN invitation_mails.nonce; Type: ACL; Schema: public; Owner: switchy
--

GRANT INSERT(nonce) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: COLUMN invitation_mails.next_attempt_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(next_attempt_at),INSERT(next_attempt_at) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: COLUMN invitation_mails.sent_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(sent_at) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: COLUMN invitation_mails.held; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(held),INSERT(held) ON TABLE public.invitation_mails TO switchy_app;


--
-- Name: TABLE invitations; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.invitations TO switchy_system;


--
-- Name: COLUMN invitations.id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(id),INSERT(id) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.org_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(org_id),INSERT(org_id) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.email; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(email),INSERT(email) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.role; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(role),INSERT(role) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.status; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(status),UPDATE(status) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.digest; Type: ACL; Schema: public; Owner: switchy
--

GRANT INSERT(digest) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.invited_by_user_id; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(invited_by_user_id),INSERT(invited_by_user_id) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.created_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(created_at),INSERT(created_at) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.expires_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(expires_at),INSERT(expires_at) ON TABLE public.invitations TO switchy_app;


--
-- Name: COLUMN invitations.ended_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT(ended_at),UPDATE(ended_at) ON TABLE public.invitations TO switchy_app;


--
-- Name: TABLE mcp_servers; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.mcp_servers TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.mcp_servers TO switchy_app;


--
-- Name: COLUMN mcp_servers.health; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(health) ON TABLE public.mcp_servers TO switchy_app;


--
-- Name: COLUMN mcp_servers.last_checked_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(last_checked_at) ON TABLE public.mcp_servers TO switchy_app;


--
-- Name: COLUMN mcp_servers.next_check_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(next_check_at) ON TABLE public.mcp_servers TO switchy_app;


--
-- Name: TABLE memory_backlog; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_backlog TO switchy_system;
GRANT INSERT ON TABLE public.memory_backlog TO switchy_app;


--
-- Name: TABLE memory_common_words; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_common_words TO switchy_system;


--
-- Name: TABLE memory_embeddings; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_embeddings TO switchy_system;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_embeddings TO switchy_app;


--
-- Name: TABLE memory_expansions; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_expansions TO switchy_system;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.memory_expansions TO switchy_app;


--
-- Name: TABLE message_index; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message_index TO switchy_system;


--
-- Name: TABLE message_reactions; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.message_reactions TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.message_reactions TO switchy_app;


--
-- Name: TABLE messages; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.messages TO switchy_system;
GRANT SELECT,INSERT ON TABLE public.messages TO switchy_app;


--
-- Name: TABLE org_quotas; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.org_quotas TO switchy_system;


--
-- Name: TABLE org_usage; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.org_usage TO switchy_system;


--
-- Name: TABLE orgs; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.orgs TO switchy_system;
GRANT SELECT ON TABLE public.orgs TO switchy_app;


--
-- Name: TABLE quota_defaults; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.quota_defaults TO switchy_system;


--
-- Name: TABLE rate_limits; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.rate_limits TO switchy_system;


--
-- Name: TABLE server_secrets; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.server_secrets TO switchy_system;


--
-- Name: TABLE session_events; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.session_events TO switchy_system;
GRANT SELECT ON TABLE public.session_events TO switchy_app;


--
-- Name: TABLE session_participants; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.session_participants TO switchy_system;
GRANT SELECT,INSERT ON TABLE public.session_participants TO switchy_app;


--
-- Name: TABLE sessions; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.sessions TO switchy_system;
GRANT SELECT,INSERT ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.title; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(title) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.description; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(description) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.default_agent; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(default_agent) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.model; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(model) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.visibility; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(visibility) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.labels; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(labels) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.updated_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(updated_at) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.archived_at; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(archived_at) ON TABLE public.sessions TO switchy_app;


--
-- Name: COLUMN sessions.message_count; Type: ACL; Schema: public; Owner: switchy
--

GRANT UPDATE(message_count) ON TABLE public.sessions TO switchy_app;


--
-- Name: TABLE space_mcp_servers; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.space_mcp_servers TO switchy_system;
GRANT SELECT,INSERT,DELETE ON TABLE public.space_mcp_servers TO switchy_app;


--
-- Name: TABLE stripe_accounts; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.stripe_accounts TO switchy_system;
GRANT SELECT ON TABLE public.stripe_accounts TO switchy_app;


--
-- Name: TABLE stripe_checkouts; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.stripe_checkouts TO switchy_system;


--
-- Name: TABLE stripe_events; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.stripe_events TO switchy_system;


--
-- Name: TABLE users; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.users TO switchy_system;
GRANT SELECT ON TABLE public.users TO switchy_app;


--
-- Name: TABLE vault_secrets; Type: ACL; Schema: public; Owner: switchy
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.vault_secrets TO switchy_system;
GRANT INSERT ON TABLE public.vault_secrets TO switchy_app;


--
-- PostgreSQL database dump complete
--


