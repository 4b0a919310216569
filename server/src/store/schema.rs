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

diesel::joinable!(space_members -> spaces (space_id));
diesel::joinable!(session_participants -> sessions (session_id));
diesel::joinable!(members -> users (user_id));
diesel::joinable!(members -> orgs (org_id));
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
