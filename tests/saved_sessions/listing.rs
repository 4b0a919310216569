//! Filters, order, pages and facets.

use super::*;
use crate::fixture::shape::{each, fields};
use chrono::{DateTime, TimeDelta};
use switchy_server::clock::{Clock, ManualClock};

/// The titles of the sessions that a query finds, in the order of the answer.
async fn titles(caller: &Caller, query: &str) -> Vec<String> {
    let list = caller.get(&format!("{SESSIONS}?{query}")).await.bare();
    each(&list["sessions"], "title").into_iter().map(str::to_owned).collect()
}

/// The same in the order of the alphabet.
async fn found(caller: &Caller, query: &str) -> Vec<String> {
    let mut titles = titles(caller, query).await;
    titles.sort();
    titles
}

/// Some sessions of the OWNER, and of Eve, who is a MEMBER.
async fn library() -> (Server, Org, Caller) {
    let (server, org, space) = team().await;
    let eve = admitted(&server, &org, &space, "eve", "MEMBER").await;
    for (who, more) in [
        (
            &org.owner,
            json!({ "title": "A", "agent": "x", "labels": { "env": ["prod"], "team": ["core"] } }),
        ),
        (
            &org.owner,
            json!({ "title": "B", "agent": "y", "labels": { "env": ["dev"], "team": ["core"] } }),
        ),
        (
            &org.owner,
            json!({ "title": "C", "model": "gpt-5", "labels": { "env": ["prod", "dev"] } }),
        ),
        (&eve, json!({ "title": "D", "agent": "x", "model": "gpt-5", "origin": "worker" })),
        (&eve, json!({ "title": "E", "agent": "z", "origin": "eval" })),
    ] {
        shared(who, more).await;
    }
    (server, org, eve)
}

#[tokio::test]
async fn a_filter_is_met_by_any_of_its_values_and_different_filters_are_all_met() {
    let (_server, org, eve) = library().await;
    let (owner_id, eve_id) = (org.owner.user_id.as_str(), eve.user_id.as_str());
    for (query, expected) in [
        ("", "ABCD"),
        ("agent=x", "AD"),
        ("agent=x&agent=y", "ABD"),
        ("agent=X", ""),
        ("agent=x&model=gpt-5", "D"),
        ("model=gpt-5&model=claude-sonnet-4-5", "ABCD"),
        ("model=gpt", ""),
        (&format!("user_id={eve_id}"), "D"),
        (&format!("user={eve_id}"), "D"),
        (&format!("user={eve_id}&user={owner_id}"), "ABCD"),
        ("user=eve", "D"),
        ("user=EVE@acme.test", "D"),
        ("user=eve@acme", ""),
        ("user=eve&user=owner@acme.test", "ABCD"),
        ("label=env:prod", "AC"),
        ("label=env:prod&label=env:dev", "ABC"),
        ("label=env:dev&label=team:core", "B"),
        ("label=env:prod&label=env:dev&label=team:core", "AB"),
        ("label=env:none", ""),
        ("label=nothing:prod", ""),
        ("label=env:pro%25", ""),
        ("origin=worker", "D"),
        ("origin=user&origin=worker", "ABCD"),
        ("origin=eval", "E"),
        ("origin=eval&origin=worker", "DE"),
        ("include_workload_sessions=true", "ABCDE"),
        ("include_workload_sessions=false", "ABCD"),
        ("include_workload_sessions=true&origin=user", "ABC"),
        ("project_id=x&whatever=1", "ABCD"),
    ] {
        assert_eq!(found(&org.owner, query).await.concat(), expected, "{query}");
        let facets = org.owner.get(&format!("{SESSIONS}/facets?{query}")).await.bare();
        let users = facets["users"].as_array().expect("users").iter();
        let counted: i64 = users.map(|u| u["count"].as_i64().expect("a count")).sum();
        assert_eq!(counted, expected.len() as i64, "facets of {query}");
    }
}

#[tokio::test]
async fn archived_sessions_are_listed_when_asked_for() {
    let (_server, org, _) = library().await;
    let list = org.owner.get(&format!("{SESSIONS}?agent=y")).await.bare();
    let path = path(&list["sessions"][0]);
    org.owner.post(&format!("{path}/archive"), json!({})).await.bare();
    for (query, expected) in [
        ("", "ACD"),
        ("archived=active", "ACD"),
        ("archived=archived", "B"),
        ("archived=any", "ABCD"),
        ("archived=archived&agent=x", ""),
    ] {
        assert_eq!(found(&org.owner, query).await.concat(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_search_finds_words_in_title_model_agent_labels_and_preview() {
    let (_server, org, _) = team().await;
    let upgrade = shared(&org.owner, json!({ "title": "Postgres Upgrade", "agent": "bot" })).await;
    shared(
        &org.owner,
        json!({ "title": "100% sure", "model": "gpt-5", "labels": { "env": ["Prod"] } }),
    )
    .await;
    let talk = json!([
        { "role": "system", "content": "be brief" },
        { "role": "user", "content": "What breaks with \u{dc}mlauts?" },
        { "role": "user", "content": "never mind" },
    ]);
    append(&org.owner, &upgrade, talk).await;
    for (search, expected) in [
        ("postgres", &["Postgres Upgrade"][..]),
        ("POSTGRES", &["Postgres Upgrade"]),
        ("upgrade post", &["Postgres Upgrade"]),
        ("gres", &["Postgres Upgrade"]),
        ("pq", &[]),
        ("up", &["Postgres Upgrade"]),
        ("r", &["100% sure", "Postgres Upgrade"]),
        ("%", &["100% sure"]),
        ("_", &[]),
        ("100% sure", &["100% sure"]),
        ("gpt-5", &["100% sure"]),
        ("bot sonnet", &["Postgres Upgrade"]),
        ("env:prod", &["100% sure"]),
        ("prod", &["100% sure"]),
        ("breaks", &["Postgres Upgrade"]),
        ("\u{fc}mlaut", &["Postgres Upgrade"]),
        ("never", &[]),
        ("brief", &[]),
        ("postgres sure", &[]),
        ("'; DROP TABLE sessions; --", &[]),
    ] {
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("search", search).finish();
        assert_eq!(found(&org.owner, &query).await, expected, "{search}");
    }
}

#[tokio::test]
async fn a_list_is_sorted_as_asked_and_ties_are_broken_one_way() {
    let clock =
        ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"));
    let options = Options { clock: Clock::Manual(clock.clone()), ..Options::default() };
    let (_server, org, _) = team_with(options).await;
    let mut made = Vec::new();
    for (title, count) in [("A", 5), ("B", 1), ("C", 5), ("D", 0)] {
        clock.advance(TimeDelta::seconds(1));
        made.push(shared(&org.owner, json!({ "title": title, "message_count": count })).await);
    }
    for (i, title) in [(2, "C"), (0, "A")] {
        clock.advance(TimeDelta::seconds(1));
        append(&org.owner, &made[i], json!([{ "role": "user", "content": title }])).await;
    }
    clock.advance(TimeDelta::seconds(1));
    org.owner.patch(&path(&made[1]), json!({ "agent": "x" })).await.bare();
    for (query, expected) in [
        ("", "BACD"),
        ("sort_by=updated_at", "BACD"),
        ("sort_by=updated_at&sort_dir=desc", "BACD"),
        ("sort_dir=asc", "DCAB"),
        ("sort_by=created_at", "DCBA"),
        ("sort_by=created_at&sort_dir=asc", "ABCD"),
    ] {
        assert_eq!(titles(&org.owner, query).await.concat(), expected, "{query}");
    }
    // who has no messages comes last, either way; ties are stable
    let last = titles(&org.owner, "sort_by=last_message_at").await.concat();
    assert!(last.starts_with("AC"), "{last}");
    let first = titles(&org.owner, "sort_by=last_message_at&sort_dir=asc").await.concat();
    assert!(first.starts_with("CA"), "{first}");
    let down = titles(&org.owner, "sort_by=message_count").await.concat();
    let up = titles(&org.owner, "sort_by=message_count&sort_dir=asc").await.concat();
    assert!(down.ends_with("BD"), "{down}");
    assert_eq!(up.chars().rev().collect::<String>(), down);
}

#[tokio::test]
async fn a_page_tells_where_it_is() {
    let (_server, org, _) = team().await;
    let list = org.owner.get(SESSIONS).await.bare();
    let expected = json!({
        "sessions": [], "total": 0, "page": 1, "limit": 20, "total_pages": 0, "has_next": false,
        "has_previous": false,
    });
    assert_eq!(list, expected);
    for i in 0..5 {
        shared(&org.owner, json!({ "title": i.to_string() })).await;
    }
    let mut seen = Vec::new();
    for (page, count, next, previous) in
        [(1, 2, true, false), (2, 2, true, true), (3, 1, false, true), (4, 0, false, true)]
    {
        let list = org.owner.get(&format!("{SESSIONS}?limit=2&page={page}")).await.bare();
        seen.extend(each(&list["sessions"], "title").into_iter().map(str::to_owned));
        let place = ["total", "page", "limit", "total_pages"].map(|f| list[f].as_i64());
        assert_eq!(place, [Some(5), Some(page), Some(2), Some(3)]);
        assert_eq!(list["sessions"].as_array().map(Vec::len), Some(count));
        assert_eq!((&list["has_next"], &list["has_previous"]), (&json!(next), &json!(previous)));
    }
    assert_eq!(seen, ["4", "3", "2", "1", "0"]);
    let far = org.owner.get(&format!("{SESSIONS}?page=1000000&limit=100")).await.bare();
    assert_eq!((&far["total"], &far["sessions"]), (&json!(5), &json!([])));
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_query_is_told_at_once() {
    let (_server, org, _) = team().await;
    let long = "x".repeat(201);
    let many = "&agent=a".repeat(21);
    for (query, expected) in [
        ("page=0", &["query.page"][..]),
        ("page=1000001", &["query.page"]),
        ("limit=0&page=x", &["query.limit", "query.page"]),
        ("limit=101", &["query.limit"]),
        ("page=1&page=2", &["query.page"]),
        ("sort_by=title&sort_dir=up", &["query.sort_by", "query.sort_dir"]),
        ("archived=yes", &["query.archived"]),
        ("include_workload_sessions=1", &["query.include_workload_sessions"]),
        ("origin=robot", &["query.origin.0"]),
        ("origin=user&origin=robot", &["query.origin.1"]),
        ("label=env", &["query.label.0"]),
        (
            "label=env:x&label=:x&label=Env:x&label=env:",
            &["query.label.1", "query.label.2", "query.label.3"],
        ),
        (&format!("search={long}"), &["query.search"]),
        (&many, &["query.agent"]),
        ("model=%00", &["query.model"]),
        (&format!("user={}", "x".repeat(256)), &["query.user.0"]),
        (
            "limit=0&label=env&origin=x&archived=y",
            &["query.archived", "query.label.0", "query.limit", "query.origin.0"],
        ),
    ] {
        let answer = org.owner.get(&format!("{SESSIONS}?{query}")).await;
        assert_eq!(places(&answer), expected, "{query}");
        let of_filters: Vec<_> = expected
            .iter()
            .filter(|p| {
                !["query.page", "query.limit", "query.sort_by", "query.sort_dir"].contains(p)
            })
            .collect();
        let facets = org.owner.get(&format!("{SESSIONS}/facets?{query}")).await;
        if of_filters.is_empty() {
            facets.bare();
        } else {
            assert_eq!(places(&facets).iter().collect::<Vec<_>>(), of_filters, "{query}");
        }
    }
}

#[tokio::test]
async fn facets_count_what_the_list_shows() {
    let (_server, org, eve) = library().await;
    let facets = org.owner.get(&format!("{SESSIONS}/facets")).await.bare();
    assert_eq!(fields(&facets), ["agents", "labels", "models", "users"]);
    let one = |value: &str, count: i64| json!({ "value": value, "count": count });
    assert_eq!(facets["agents"], json!([one("x", 2), one("y", 1)]));
    assert_eq!(facets["models"], json!([one("claude-sonnet-4-5", 2), one("gpt-5", 2)]));
    let labels = json!({ "env": [one("dev", 2), one("prod", 2)], "team": [one("core", 2)] });
    assert_eq!(facets["labels"], labels);
    let user = |who: &Caller, count: i64, name: &str| json!({ "value": who.user_id.as_str(), "count": count, "email": who.email, "username": name });
    let users = json!([user(&org.owner, 3, "owner"), user(&eve, 1, "eve")]);
    assert_eq!(facets["users"], users);
    // keys without a session are left out
    let of_eve = org.owner.get(&format!("{SESSIONS}/facets?user=eve")).await.bare();
    assert_eq!(of_eve["labels"], json!({}));
    assert_eq!(of_eve["agents"], json!([one("x", 1)]));
}

#[tokio::test]
async fn facets_tell_the_most_frequent_values_and_not_all_there_are() {
    let (server, org, _) = team().await;
    shared(&org.owner, json!({ "labels": { "run": ["often"] } })).await;
    let more = "INSERT INTO sessions (id, org_id, space_id, created_by_user_id, labels) \
                SELECT 'c' || lpad(n::text, 24, '0'), s.org_id, s.space_id, s.created_by_user_id, \
                jsonb_build_object('run', jsonb_build_array('r' || n, 'often')) \
                FROM sessions s, generate_series(1, 300) n";
    server.sql().await.batch_execute(more).await.expect("made");
    let facets = org.owner.get(&format!("{SESSIONS}/facets")).await.bare();
    let run = facets["labels"]["run"].as_array().expect("values");
    assert_eq!(run.len(), 100);
    assert_eq!(run[0], json!({ "value": "often", "count": 301 }));
}

#[tokio::test]
async fn evaluation_runs_are_hidden_in_the_other_dialect_unless_asked_for() {
    let (_server, org, _) = library().await;
    let native = async |query: &str| {
        let list = org.owner.get(&format!("/spaces/team/sessions{query}")).await.data(200);
        each(&list["sessions"], "title").concat()
    };
    assert_eq!(native("").await, "DCBA");
    assert_eq!(native("?includeEval=false").await, "DCBA");
    assert_eq!(native("?includeEval=true").await, "EDCBA");
    let bad = org.owner.get("/spaces/team/sessions?includeEval=maybe").await;
    bad.fails(400, "VALIDATION_ERROR");
}
