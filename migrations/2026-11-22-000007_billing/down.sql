DROP TRIGGER seats_changed ON members;
DROP FUNCTION seats_changed;
DROP TABLE stripe_events, stripe_checkouts, credit_balances, credit_ledger, stripe_accounts,
    billing_accounts;
DROP FUNCTION enter_credits, carry_credits, check_credit_balance, refuse_change;
