//! What must hold after everything, whenever it was killed.

use crate::clients::{CREDITS, Desk, Kind, Written};
use crate::fixture::binary::{PATIENCE, POLL};
use crate::fixture::cluster::connect;
use std::collections::BTreeMap;
use std::time::Instant;
use tokio_postgres::Client;

/// Searches, and requests that are sent once more.
const SAMPLES: usize = 100;

/// Nothing may be found by these.
const TORN: &[(&str, &str)] = &[
    (
        "a note that is not indexed",
        "SELECT count(*) FROM memories WHERE tsv = ''::tsvector OR term_count = 0",
    ),
    (
        "a note with some of its passages",
        "SELECT count(*) FROM (SELECT FROM memory_embeddings GROUP BY memory_id, model_id \
         HAVING min(passage) <> 0 OR max(passage) <> count(*) - 1 OR min(starts_at) <> 0) torn",
    ),
    (
        "a note whose passages end before it does",
        "SELECT count(*) FROM memories m WHERE octet_length(m.content) <> \
         (SELECT max(e.ends_at) FROM memory_embeddings e WHERE e.memory_id = m.id)",
    ),
    (
        "a note with vectors but without an expansion, or the other way round",
        "SELECT count(*) FROM memories m WHERE \
         EXISTS (SELECT FROM memory_embeddings e WHERE e.memory_id = m.id) <> \
         EXISTS (SELECT FROM memory_expansions x WHERE x.memory_id = m.id)",
    ),
    (
        "a gap in a session's messages",
        "SELECT count(*) FROM sessions s WHERE s.last_message_seq <> \
         (SELECT count(*) FROM messages m WHERE m.session_id = s.id) OR s.last_message_seq <> \
         (SELECT coalesce(max(m.seq), 0) FROM messages m WHERE m.session_id = s.id)",
    ),
    (
        "a gap in a session's events",
        "SELECT count(*) FROM sessions s WHERE s.last_event_seq <> \
         (SELECT count(*) FROM session_events e WHERE e.session_id = s.id) OR s.last_event_seq <> \
         (SELECT coalesce(max(e.seq), 0) FROM session_events e WHERE e.session_id = s.id)",
    ),
    (
        "a message that was not told of once",
        "SELECT count(*) FROM messages m WHERE 1 <> (SELECT count(*) FROM session_events e \
         WHERE e.message_id = m.id AND e.type = 'message.created')",
    ),
    (
        "books that do not add up",
        "SELECT count(*) FROM credit_balances b WHERE (b.entries, b.entries, b.monthly, b.topup) \
         IS DISTINCT FROM (SELECT (count(*), coalesce(max(l.entry), 0), \
            coalesce(sum(l.monthly), 0)::bigint, coalesce(sum(l.topup), 0)::bigint) \
            FROM credit_ledger l WHERE l.org_id = b.org_id)",
    ),
    (
        "a balance below zero",
        "SELECT count(*) FROM credit_ledger WHERE monthly_after < 0 OR topup_after < 0",
    ),
    (
        "a checkout whose credits were not booked, or credits without a checkout",
        "SELECT count(*) FROM stripe_checkouts c WHERE (c.completed_at IS NOT NULL)::int <> \
         (SELECT count(*) FROM credit_ledger l WHERE l.reference = 'checkout:' || c.session_id)",
    ),
    (
        "a refund that was not booked once",
        "SELECT count(*) FROM stripe_checkouts c \
         WHERE c.completed_at IS NOT NULL AND (c.refunded_credits > 0)::int <> \
         (SELECT count(*) FROM credit_ledger l \
          WHERE l.reference LIKE 'refund:ch_' || substr(c.session_id, 4) || ':%')",
    ),
];

/// Checks everything; how many checks there were.
pub async fn all(desk: &Desk, acknowledged: &[Written], database: &str) -> usize {
    let sql = connect(database).await;
    until_embedded(&sql).await;
    for (what, query) in TORN {
        let found: i64 = sql.query_one(*query, &[]).await.expect(what).get(0);
        assert_eq!(found, 0, "{what}");
    }
    let mut checks = TORN.len();
    for (query, kinds) in [
        ("SELECT content FROM memories", &[Kind::Note, Kind::Batch][..]),
        ("SELECT title FROM sessions", &[Kind::Session]),
        ("SELECT body FROM messages", &[Kind::Message]),
        ("SELECT event_id FROM stripe_events", &[Kind::TopUp, Kind::Refund]),
        ("SELECT reference FROM credit_ledger WHERE kind = 'spend'", &[Kind::Spending]),
    ] {
        checks += exactly_once(&sql, acknowledged, query, kinds).await;
    }
    checks += idempotency_keys(&sql, acknowledged).await;
    checks += top_ups(&sql, acknowledged).await;
    checks += found_by_words(desk, acknowledged).await;
    checks + replayed(desk, acknowledged).await
}

/// Waits until every note has its vectors.
async fn until_embedded(sql: &Client) {
    let begun = Instant::now();
    let left = "SELECT count(*) FROM memories m \
                WHERE NOT EXISTS (SELECT FROM memory_embeddings e WHERE e.memory_id = m.id)";
    loop {
        let left: i64 = sql.query_one(left, &[]).await.expect("counted").get(0);
        if left == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{left} notes are not embedded");
        tokio::time::sleep(POLL).await;
    }
}

/// What the database holds of these kinds is what was acknowledged, each once.
async fn exactly_once(sql: &Client, all: &[Written], query: &str, kinds: &[Kind]) -> usize {
    let mut counts: BTreeMap<String, (bool, u64)> = BTreeMap::new();
    for written in all.iter().filter(|written| kinds.contains(&written.kind)) {
        for mark in &written.marks {
            counts.entry(mark.clone()).or_default().0 = true;
        }
    }
    for row in sql.query(query, &[]).await.expect("rows") {
        counts.entry(row.get(0)).or_default().1 += 1;
    }
    let wrong: Vec<_> = counts.iter().filter(|(_, found)| **found != (true, 1)).collect();
    assert!(wrong.is_empty(), "{query}: (acknowledged, times found): {wrong:#?}");
    counts.len()
}

async fn idempotency_keys(sql: &Client, all: &[Written]) -> usize {
    let mut expected: Vec<_> =
        all.iter().map(|w| w.key.clone()).filter(|key| !key.is_empty()).collect();
    let rows = sql.query("SELECT idempotency_key FROM idempotency_keys", &[]).await.expect("rows");
    let mut found: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    expected.sort();
    found.sort();
    assert!(expected == found, "{} keys, {} answers are kept", expected.len(), found.len());
    found.len()
}

/// Every payment brought its credits, once however often it was told of.
async fn top_ups(sql: &Client, all: &[Written]) -> usize {
    let paid: std::collections::BTreeSet<_> = all
        .iter()
        .filter(|written| written.kind == Kind::TopUp)
        .map(|written| written.body["data"]["object"]["id"].to_string())
        .collect();
    let query = "SELECT coalesce(sum(topup), 0)::bigint FROM credit_ledger WHERE kind = 'topup'";
    let bought: i64 = sql.query_one(query, &[]).await.expect("a sum").get(0);
    assert_eq!(bought, CREDITS * i64::try_from(paid.len()).expect("few"));
    paid.len()
}

/// Some of them, evenly spread.
fn sample<'a>(all: &'a [Written], kinds: &'a [Kind]) -> impl Iterator<Item = &'a Written> {
    let these: Vec<_> = all.iter().filter(|written| kinds.contains(&written.kind)).collect();
    let step = these.len().div_ceil(SAMPLES).max(1);
    these.into_iter().step_by(step)
}

async fn found_by_words(desk: &Desk, all: &[Written]) -> usize {
    let mut checks = 0;
    for written in sample(all, &[Kind::Note]) {
        let content = &written.marks[0];
        let word = content.split(' ').nth(1).expect("a word");
        assert!(desk.owner.search(word).await.contains(content), "{word} is not found");
        checks += 1;
    }
    checks
}

/// Sent once more, a request is answered as it was.
async fn replayed(desk: &Desk, all: &[Written]) -> usize {
    let kinds = [Kind::Note, Kind::Batch, Kind::Session, Kind::Message];
    let mut checks = 0;
    for written in sample(all, &kinds) {
        let body = written.body.clone();
        let again = desk.owner.post_once(&written.path, &written.key, body).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{}", again.text);
        assert_eq!(again.data(201), written.answer);
        checks += 1;
    }
    checks
}
