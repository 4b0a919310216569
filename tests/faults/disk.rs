//! A database whose disk is full. Any user may set a limit on how large a file may grow: to
//! PostgreSQL that is the same failure, when it extends a table, as a full disk.

use super::database::Own;
use super::{asks_to_wait, options};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Larger than a segment of PostgreSQL's log, in bytes, so that it is a table that cannot grow.
const LARGEST_FILE: u64 = 17 * 1024 * 1024;

/// Processes that PostgreSQL starts from now on write files up to this size.
fn limit(pid: i32, size: &str) {
    // the account that it runs as may do this, another one, even root, may not everywhere
    let account = std::fs::metadata(format!("/proc/{pid}")).expect("it runs");
    // the hard limit stays: it could not be raised again
    let status = Command::new("prlimit")
        .uid(account.uid())
        .gid(account.gid())
        .args([format!("--pid={pid}"), format!("--fsize={size}:")])
        .status()
        .expect("prlimit of util-linux");
    assert!(status.success(), "prlimit --fsize={size}");
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_full_disk_is_503_for_what_needs_room_and_writes_go_on_when_there_is_some() {
    let own = Own::start();
    limit(own.pid(), &LARGEST_FILE.to_string());
    let server = own.server(options()).await;
    let owner = server.org("acme").await.owner;
    let kept = owner.note(json!({ "content": "from before", "visibility": "ORG" })).await;
    let sql = server.sql().await;
    // a stranger's file beside ours would fill a real disk; here the table itself is filled
    let fill = "INSERT INTO memories (id, org_id, author_user_id, visibility, content) \
                SELECT gen_random_uuid(), org_id, author_user_id, 'ORG', \
                    (SELECT string_agg(gen_random_uuid()::text, ' ') \
                     FROM generate_series(1, 250) WHERE g = g) \
                FROM memories, generate_series(1, $2::int) g WHERE id = $1";
    let id = kept["id"].as_str().expect("an id");
    for step in [100, 10, 1] {
        let mut rows = 0;
        while let Ok(more) = sql.execute(fill, &[&id, &step]).await {
            rows += more;
            assert!(rows < 20_000, "the disk does not fill");
        }
    }
    // until there is no room for a single one
    let words = || uuid::Uuid::new_v4().to_string();
    let content = (0..250).map(|_| words()).collect::<Vec<_>>().join(" ");
    let note = json!({ "content": content, "visibility": "ORG" });
    let mut written = 0;
    let refused = loop {
        let answer = owner.post("/memory", note.clone()).await;
        if answer.status != 201 {
            break answer;
        }
        written += 1;
        assert!(written < 500, "the disk does not fill");
    };
    asks_to_wait(&refused);
    let before = owner.get("/memory").await.data(200)["total"].clone();
    asks_to_wait(&owner.post_once("/memory", "once", note.clone()).await);
    // what is there is read, and what needs no room is written
    assert_eq!(owner.get("/memory").await.data(200)["total"], before);
    owner.get("/me").await.data(200);

    // room, for those processes that are there too
    let backends = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'";
    for row in sql.query(backends, &[]).await.expect("processes") {
        limit(row.get(0), "unlimited");
    }
    limit(own.pid(), "unlimited");
    // nothing of the failed attempt is kept: the same request is carried out now
    let again = owner.post_once("/memory", "once", note).await;
    assert_eq!(again.header("idempotency-replayed"), None);
    again.data(201);
    assert_eq!(
        owner.get(&format!("/memory/{id}")).await.data(200)["memory"]["content"],
        "from before"
    );
}
