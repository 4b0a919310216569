-- Plan, credits and what is known of them at Stripe.

-- One row an organization, made when it is first asked for: until then it is a STARTER that nobody
-- has looked at.
CREATE TABLE billing_accounts (
    org_id text PRIMARY KEY REFERENCES orgs ON DELETE CASCADE,
    plan text NOT NULL DEFAULT 'STARTER'
        CHECK (plan IN ('STARTER', 'PRO', 'TEAM', 'ENTERPRISE')),
    billing_interval text CHECK (billing_interval IN ('MONTHLY', 'ANNUAL')),
    -- months of credits are counted from here, so that a 31st comes back after February
    anchor timestamptz NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    -- what this month began with
    monthly_allotment bigint NOT NULL DEFAULT 0 CHECK (monthly_allotment >= 0),
    -- when time alone changes something (a refill, the end of a plan); null: never
    settle_at timestamptz,
    paid_until timestamptz,
    -- when the plan falls back to STARTER; null: not foreseen
    ends_at timestamptz,
    past_due boolean NOT NULL DEFAULT false,
    cancel_at_period_end boolean NOT NULL DEFAULT false,
    CHECK ((plan = 'STARTER') = (billing_interval IS NULL)),
    CHECK (period_start <= period_end)
);
CREATE INDEX billing_accounts_settle ON billing_accounts (settle_at) WHERE settle_at IS NOT NULL;

-- What Stripe calls the same, and how new our knowledge of it is. Made and locked together with
-- the account.
CREATE TABLE stripe_accounts (
    org_id text PRIMARY KEY REFERENCES billing_accounts ON DELETE CASCADE,
    customer_id text UNIQUE,
    subscription_id text UNIQUE,
    -- the subscription's one item, whose quantity is the seats
    item_id text,
    seats integer,
    subscription_created_at timestamptz,
    -- `created` of the newest event that was applied, each for what it is about: older ones change
    -- nothing any more
    subscription_event_at timestamptz,
    payment_event_at timestamptz,
    refill_invoice_at timestamptz,
    -- deleted at Stripe; nothing brings it back
    subscription_ended boolean NOT NULL DEFAULT false,
    -- when Stripe is to be asked or told about the subscription; null: nothing to do. While a
    -- server is at it, the moment at which another one may take over.
    sync_due_at timestamptz,
    sync_attempts integer NOT NULL DEFAULT 0
);
CREATE INDEX stripe_accounts_sync ON stripe_accounts (sync_due_at) WHERE sync_due_at IS NOT NULL;

-- The books: one row an effect, never changed. What there is now stands in `credit_balances`.
CREATE TABLE credit_ledger (
    org_id text NOT NULL REFERENCES orgs,
    -- 1, 2, 3, … without a gap
    entry bigint NOT NULL,
    kind text NOT NULL
        CHECK (kind IN ('allotment', 'expiry', 'topup', 'spend', 'clawback', 'adjustment')),
    -- what it does to either bucket
    monthly bigint NOT NULL,
    topup bigint NOT NULL,
    monthly_after bigint NOT NULL CHECK (monthly_after >= 0),
    topup_after bigint NOT NULL CHECK (topup_after >= 0),
    -- what caused it: nothing is booked twice
    reference text NOT NULL CHECK (reference <> ''),
    reason text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, entry),
    UNIQUE (org_id, reference),
    CHECK (CASE kind
        WHEN 'allotment' THEN monthly >= 0 AND topup = 0
        WHEN 'expiry' THEN monthly <= 0 AND topup = 0
        WHEN 'topup' THEN monthly = 0 AND topup >= 0
        WHEN 'spend' THEN monthly <= 0 AND topup <= 0
        WHEN 'clawback' THEN monthly = 0 AND topup <= 0
        ELSE true
    END)
);

CREATE TABLE credit_balances (
    org_id text PRIMARY KEY REFERENCES orgs,
    entries bigint NOT NULL DEFAULT 0,
    monthly bigint NOT NULL DEFAULT 0 CHECK (monthly >= 0),
    topup bigint NOT NULL DEFAULT 0 CHECK (topup >= 0)
);

-- Sessions at Stripe that this server has made. A webhook's say-so about any other is ignored:
-- credits come from this table alone, whatever the metadata of the account's sessions say.
CREATE TABLE stripe_checkouts (
    session_id text PRIMARY KEY,
    org_id text NOT NULL REFERENCES orgs ON DELETE CASCADE,
    -- ours, and the session's `client_reference_id`
    reference text NOT NULL UNIQUE,
    plan text CHECK (plan IN ('PRO', 'TEAM', 'ENTERPRISE')),
    billing_interval text CHECK (billing_interval IN ('MONTHLY', 'ANNUAL')),
    seats integer CHECK (seats > 0),
    credits bigint CHECK (credits > 0),
    created_by_user_id text NOT NULL,
    created_at timestamptz NOT NULL,
    completed_at timestamptz,
    -- another checkout of a plan took its place: it is to be expired
    superseded_at timestamptz,
    payment_intent_id text UNIQUE,
    -- credits that refunds so far take back, if they are still there
    refunded_credits bigint NOT NULL DEFAULT 0 CHECK (refunded_credits >= 0),
    -- either a plan or a top-up
    CHECK ((plan IS NULL) = (billing_interval IS NULL)),
    CHECK ((plan IS NULL) = (seats IS NULL)),
    CHECK ((plan IS NULL) <> (credits IS NULL))
);
CREATE INDEX stripe_checkouts_org ON stripe_checkouts (org_id, created_at);

-- Events that were carried out.
CREATE TABLE stripe_events (
    event_id text PRIMARY KEY,
    kind text NOT NULL,
    -- what it is about: a late event must not bring back what another has deleted
    object_id text NOT NULL,
    created_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX stripe_events_received ON stripe_events (received_at);
CREATE INDEX stripe_events_object ON stripe_events (object_id, kind);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['billing_accounts', 'stripe_accounts', 'credit_ledger',
        'credit_balances', 'stripe_checkouts', 'stripe_events']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format(
            'CREATE POLICY system ON %I TO switchy_system USING (true) WITH CHECK (true)', t);
    END LOOP;
END
$$;

-- Not even maintenance may change or remove an entry.
GRANT SELECT, INSERT ON credit_ledger TO switchy_system;
GRANT SELECT, INSERT, UPDATE ON credit_balances TO switchy_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON billing_accounts, stripe_accounts, stripe_checkouts,
    stripe_events TO switchy_system;

-- Requests read; whatever changes is the server's own doing.
GRANT SELECT ON billing_accounts, stripe_accounts, credit_balances TO switchy_app;
CREATE POLICY caller ON billing_accounts FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller ON stripe_accounts FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));
CREATE POLICY caller ON credit_balances FOR SELECT TO switchy_app
    USING (org_id = (SELECT caller_org()));

-- An entry takes the next number and continues from what there is: the balance's row is locked
-- until the transaction ends, so that two entries never begin from the same.
CREATE FUNCTION enter_credits() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER enter_credits BEFORE INSERT ON credit_ledger
    FOR EACH ROW EXECUTE FUNCTION enter_credits();

CREATE FUNCTION carry_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE credit_balances SET entries = NEW.entry, monthly = NEW.monthly_after,
        topup = NEW.topup_after
        WHERE org_id = NEW.org_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER carry_credits AFTER INSERT ON credit_ledger
    FOR EACH ROW EXECUTE FUNCTION carry_credits();

-- The balance is what the newest entry says. Each entry continues from the one before it and none
-- ever changes, so the balance is the sum of them all; adding them up each time would cost more
-- with every entry.
CREATE FUNCTION check_credit_balance() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE CONSTRAINT TRIGGER check_credit_balance AFTER INSERT OR UPDATE OR DELETE ON credit_balances
    FOR EACH ROW EXECUTE FUNCTION check_credit_balance();

-- For everybody, the owner of the table included.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the credit ledger is append-only: enter an adjustment instead'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE ON credit_ledger
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON credit_ledger
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_truncation BEFORE TRUNCATE ON credit_balances
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Whoever joins or leaves changes what the subscription costs: Stripe is told soon after.
-- SECURITY DEFINER, because who changes members need not see the account.
CREATE FUNCTION seats_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE stripe_accounts s SET sync_due_at = '-infinity', sync_attempts = 0
        FROM billing_accounts a
        WHERE s.org_id = CASE TG_OP WHEN 'DELETE' THEN OLD.org_id ELSE NEW.org_id END
            AND a.org_id = s.org_id AND a.plan IN ('TEAM', 'ENTERPRISE')
            AND s.subscription_id IS NOT NULL AND NOT s.subscription_ended;
    RETURN NULL;
END
$$;
CREATE TRIGGER seats_changed AFTER INSERT OR DELETE ON members
    FOR EACH ROW EXECUTE FUNCTION seats_changed();

DO $$
DECLARE
    here text := current_schema();
BEGIN
    EXECUTE format('ALTER FUNCTION seats_changed SET search_path = %I, pg_temp', here);
    EXECUTE 'ALTER FUNCTION seats_changed OWNER TO switchy_system';
    EXECUTE 'REVOKE ALL ON FUNCTION seats_changed FROM PUBLIC';
    EXECUTE 'GRANT EXECUTE ON FUNCTION seats_changed TO switchy_app';
END
$$;
