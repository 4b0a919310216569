//! The tables as Diesel sees them: the columns that queries of ours name.

diesel::table! {
    orgs (id) {
        id -> Text,
        slug -> Text,
        name -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Text,
        email -> Text,
        name -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    members (org_id, user_id) {
        org_id -> Text,
        user_id -> Text,
        role -> Text,
        joined_at -> Timestamptz,
    }
}

diesel::table! {
    spaces (id) {
        id -> Text,
        org_id -> Text,
        slug -> Text,
        name -> Text,
        description -> Nullable<Text>,
        tags -> Array<Text>,
        default_model -> Nullable<Text>,
        created_by_user_id -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    space_members (space_id, user_id) {
        org_id -> Text,
        space_id -> Text,
        user_id -> Text,
        role -> Text,
        joined_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (id) {
        id -> Text,
        external_id -> Uuid,
        org_id -> Text,
        space_id -> Text,
        title -> Nullable<Text>,
        description -> Nullable<Text>,
        default_agent -> Nullable<Text>,
        model -> Nullable<Text>,
        created_by_user_id -> Text,
        visibility -> Text,
        origin -> Text,
        labels -> Jsonb,
        message_count -> Integer,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        archived_at -> Nullable<Timestamptz>,
        last_message_seq -> BigInt,
        last_event_seq -> BigInt,
    }
}

diesel::table! {
    session_participants (session_id, user_id) {
        org_id -> Text,
        session_id -> Text,
        user_id -> Text,
    }
}

diesel::table! {
    memories (id) {
        id -> Text,
        org_id -> Text,
        space_id -> Nullable<Text>,
        author_user_id -> Text,
        visibility -> Text,
        content -> Text,
        tags -> Array<Text>,
        source_url -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        written_by_user_id -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use pgvector::sql_types::*;
    memory_embeddings (memory_id, model_id, passage) {
        memory_id -> Text,
        model_id -> Text,
        passage -> SmallInt,
        org_id -> Text,
        space_id -> Nullable<Text>,
        author_user_id -> Text,
        visibility -> Text,
        starts_at -> Integer,
        ends_at -> Integer,
        embedding -> HalfVector,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        org_id -> Text,
        user_id -> Text,
        name -> Text,
        prefix -> Text,
        digest -> Binary,
        scopes -> Array<Text>,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    invitations (id) {
        id -> Text,
        org_id -> Text,
        email -> Text,
        role -> Text,
        status -> Text,
        invited_by_user_id -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    invitation_mails (invitation_id) {
        invitation_id -> Text,
        org_id -> Text,
        next_attempt_at -> Nullable<Timestamptz>,
        sent_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    messages (id) {
        id -> Text,
        org_id -> Text,
        session_id -> Text,
        seq -> BigInt,
        author_type -> Text,
        author_user_id -> Nullable<Text>,
        author_agent -> Nullable<Text>,
        body -> Text,
        parent_message_id -> Nullable<Text>,
        mentions -> Array<Text>,
        model -> Nullable<Text>,
        input_tokens -> Nullable<BigInt>,
        output_tokens -> Nullable<BigInt>,
        cache_read_input_tokens -> Nullable<BigInt>,
        cache_creation_input_tokens -> Nullable<BigInt>,
        tool_call_count -> Nullable<Integer>,
        metadata -> Nullable<Jsonb>,
        external_id -> Uuid,
        role -> Nullable<Text>,
        tool_calls -> Nullable<Jsonb>,
        tool_call_id -> Nullable<Text>,
        created_at -> Timestamptz,
        reply_count -> BigInt,
        written_by_user_id -> Nullable<Text>,
    }
}

diesel::table! {
    message_reactions (message_id, user_id, emoji) {
        org_id -> Text,
        session_id -> Text,
        message_id -> Text,
        user_id -> Text,
        emoji -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    session_events (org_id, session_id, seq) {
        org_id -> Text,
        session_id -> Text,
        seq -> BigInt,
        #[sql_name = "type"]
        kind -> Text,
        message_id -> Nullable<Text>,
        payload -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    billing_accounts (org_id) {
        org_id -> Text,
        plan -> Text,
        billing_interval -> Nullable<Text>,
        anchor -> Timestamptz,
        period_start -> Timestamptz,
        period_end -> Timestamptz,
        monthly_allotment -> BigInt,
        settle_at -> Nullable<Timestamptz>,
        paid_until -> Nullable<Timestamptz>,
        ends_at -> Nullable<Timestamptz>,
        past_due -> Bool,
        cancel_at_period_end -> Bool,
    }
}

diesel::table! {
    stripe_accounts (org_id) {
        org_id -> Text,
        customer_id -> Nullable<Text>,
        subscription_id -> Nullable<Text>,
        item_id -> Nullable<Text>,
        seats -> Nullable<Integer>,
        subscription_created_at -> Nullable<Timestamptz>,
        subscription_event_at -> Nullable<Timestamptz>,
        payment_event_at -> Nullable<Timestamptz>,
        refill_invoice_at -> Nullable<Timestamptz>,
        subscription_ended -> Bool,
    }
}

diesel::table! {
    credit_ledger (org_id, entry) {
        org_id -> Text,
        entry -> BigInt,
        kind -> Text,
        monthly -> BigInt,
        topup -> BigInt,
        monthly_after -> BigInt,
        topup_after -> BigInt,
        reference -> Text,
        reason -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    credit_balances (org_id) {
        org_id -> Text,
        entries -> BigInt,
        monthly -> BigInt,
        topup -> BigInt,
    }
}

diesel::table! {
    stripe_checkouts (session_id) {
        session_id -> Text,
        org_id -> Text,
        reference -> Text,
        plan -> Nullable<Text>,
        billing_interval -> Nullable<Text>,
        seats -> Nullable<Integer>,
        credits -> Nullable<BigInt>,
        created_by_user_id -> Text,
        created_at -> Timestamptz,
        completed_at -> Nullable<Timestamptz>,
        superseded_at -> Nullable<Timestamptz>,
        payment_intent_id -> Nullable<Text>,
        refunded_credits -> BigInt,
    }
}

diesel::table! {
    stripe_events (event_id) {
        event_id -> Text,
        kind -> Text,
        object_id -> Text,
        created_at -> Timestamptz,
        received_at -> Timestamptz,
    }
}

diesel::table! {
    vault_secrets (org_id, id) {
        org_id -> Text,
        id -> Text,
        key_id -> Text,
        nonce -> Binary,
        ciphertext -> Binary,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    mcp_servers (id) {
        id -> Text,
        org_id -> Text,
        display_name -> Text,
        mention_slug -> Text,
        endpoint_url -> Text,
        auth_type -> Text,
        secret_id -> Nullable<Text>,
        health -> Text,
        last_checked_at -> Nullable<Timestamptz>,
        next_check_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    space_mcp_servers (space_id, server_id) {
        org_id -> Text,
        space_id -> Text,
        server_id -> Text,
        created_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(invitations, invitation_mails);
diesel::joinable!(space_members -> spaces (space_id));
diesel::joinable!(session_participants -> sessions (session_id));
diesel::joinable!(members -> users (user_id));
diesel::joinable!(members -> orgs (org_id));
diesel::joinable!(space_members -> users (user_id));
diesel::joinable!(stripe_accounts -> billing_accounts (org_id));
diesel::allow_tables_to_appear_in_same_query!(billing_accounts, stripe_accounts, credit_balances);
diesel::allow_tables_to_appear_in_same_query!(space_mcp_servers, mcp_servers);
diesel::allow_tables_to_appear_in_same_query!(space_mcp_servers, spaces);
diesel::allow_tables_to_appear_in_same_query!(space_mcp_servers, space_members);
diesel::allow_tables_to_appear_in_same_query!(mcp_servers, spaces);
diesel::allow_tables_to_appear_in_same_query!(mcp_servers, space_members);
diesel::allow_tables_to_appear_in_same_query!(
    orgs,
    users,
    members,
    spaces,
    space_members,
    sessions,
    session_participants,
    memories,
    memory_embeddings,
    api_keys,
    messages,
    message_reactions,
    session_events,
);
