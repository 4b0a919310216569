//! The schema as PostgreSQL has it: `spec/schema.sql` is the whole of it, and the tables that Diesel
//! knows agree with it.

use crate::fixture::cluster::{cluster, connect_to};
use secrecy::ExposeSecret;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Tables that raw SQL alone reads and writes.
const WITHOUT_DIESEL: &[&str] = &[
    "delegations",
    "idempotency_keys",
    "memory_backlog",
    "memory_common_words",
    "memory_expansions",
    "memory_statistics",
    "message_index",
    "org_quotas",
    "org_usage",
    "quota_defaults",
    "rate_limits",
    "search_models",
    "server_secrets",
];

/// Columns that raw SQL alone names. Diesel has no type for those of type `tsvector`.
const COLUMNS_WITHOUT_DIESEL: &[&str] = &[
    "invitation_mails.attempts",
    "invitation_mails.held",
    "invitation_mails.last_error",
    "invitation_mails.nonce",
    "invitations.accepted_by_user_id",
    "invitations.digest",
    "memories.term_count",
    "memories.tsv",
    "messages.cost_usd",
    "messages.follows_message_id",
    "sessions.bytes",
    "sessions.last_message_at",
    "stripe_accounts.sync_attempts",
    "stripe_accounts.sync_due_at",
];

/// A column: its type as Diesel says it, and whether it may be null.
type Columns = BTreeMap<String, String>;

/// A table: its key, and its columns by name.
#[derive(Debug, Default, PartialEq)]
struct Table {
    key: Vec<String>,
    columns: Columns,
}

/// The dump without what differs from one dump to the next, and from one version to the next.
fn normalised(dump: &str) -> String {
    let lines = dump.lines().filter(|line| {
        !["-- Dumped ", "\\restrict ", "\\unrestrict "].iter().any(|start| line.starts_with(start))
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// The tables of `server/src/store/schema.rs`.
fn of_diesel() -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::new();
    for block in include_str!("../server/src/store/schema.rs").split("diesel::table! {").skip(1) {
        let block = block.split("\n}").next().expect("a table ends");
        let mut table = Table::default();
        let mut named = String::new();
        let mut renamed = None;
        for line in block.lines().map(str::trim) {
            if let Some(sql_name) = line.strip_prefix("#[sql_name = \"") {
                renamed = sql_name.strip_suffix("\"]").map(str::to_owned);
            } else if let Some((column, kind)) = line.split_once(" -> ") {
                let column = renamed.take().unwrap_or_else(|| column.to_owned());
                table.columns.insert(column, kind.trim_end_matches(',').to_owned());
            } else if let Some((name, key)) =
                line.strip_suffix(") {").and_then(|line| line.split_once(" ("))
            {
                named = name.to_owned();
                table.key = key.split(", ").map(str::to_owned).collect();
            }
        }
        tables.insert(named, table);
    }
    tables
}

/// The tables of a migrated database.
async fn of_postgres() -> BTreeMap<String, Table> {
    let client = connect_to(&cluster().database().await).await;
    let rows = client
        .query(
            "SELECT c.relname::text, a.attname::text, t.typname::text, a.attnotnull,
                array_position(i.indkey::int2[], a.attnum)
             FROM pg_class c
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                JOIN pg_type t ON t.oid = a.atttypid
                LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
             WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
             ORDER BY c.relname, 5, a.attnum",
            &[],
        )
        .await
        .expect("the columns");
    let mut tables = BTreeMap::<String, Table>::new();
    for row in rows {
        let kind = match row.get::<_, String>(2).as_str() {
            "text" => "Text",
            "_text" => "Array<Text>",
            "timestamptz" => "Timestamptz",
            "int2" => "SmallInt",
            "int4" => "Integer",
            "int8" => "BigInt",
            "bool" => "Bool",
            "bytea" => "Binary",
            "jsonb" => "Jsonb",
            "uuid" => "Uuid",
            "numeric" => "Numeric",
            "halfvec" => "HalfVector",
            other => other,
        }
        .to_owned();
        let kind = if row.get(3) { kind } else { format!("Nullable<{kind}>") };
        let table = tables.entry(row.get(0)).or_default();
        let column: String = row.get(1);
        if row.get::<_, Option<i32>>(4).is_some() {
            table.key.push(column.clone());
        }
        table.columns.insert(column, kind);
    }
    tables.remove("__diesel_schema_migrations");
    tables
}

#[tokio::test]
async fn the_dumped_schema_is_the_one_that_is_checked_in() {
    let database = cluster().database().await;
    let folder = cluster().installed.postgres.as_ref().expect("PostgreSQL is installed");
    let dump = Command::new(folder.join("bin/pg_dump"))
        .args(["--schema-only", "--dbname"])
        .arg(database.expose_secret())
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let dump = String::from_utf8(dump.stdout).expect("UTF-8");
    expectorate::assert_contents("spec/schema.sql", &normalised(&dump));
}

#[tokio::test]
async fn diesel_knows_tables_as_the_database_has_them() {
    let database = of_postgres().await;
    for (name, known) in of_diesel() {
        let table = database.get(&name).unwrap_or_else(|| panic!("there is no table {name}"));
        assert_eq!(known.key, table.key, "the key of {name}");
        for (column, kind) in &known.columns {
            assert_eq!(Some(kind), table.columns.get(column), "{name}.{column}");
        }
    }
}

#[tokio::test]
async fn what_diesel_does_not_know_is_listed_by_name() {
    let known = of_diesel();
    let (mut tables, mut columns) = (BTreeSet::new(), BTreeSet::new());
    for (name, table) in of_postgres().await {
        let Some(known) = known.get(&name) else {
            tables.insert(name);
            continue;
        };
        let unknown = table.columns.into_keys().filter(|c| !known.columns.contains_key(c));
        columns.extend(unknown.map(|column| format!("{name}.{column}")));
    }
    let listed = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(tables, listed(WITHOUT_DIESEL));
    assert_eq!(columns, listed(COLUMNS_WITHOUT_DIESEL));
}
