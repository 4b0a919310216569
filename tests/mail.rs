//! Letters of invitations, through a real mail server: that they arrive whatever goes wrong in
//! between, and that they say no more than they should.

use crate::fixture::binary::Home;
use crate::fixture::logs::Logs;
use crate::fixture::python::Peer;
use crate::fixture::shape::id;
use crate::fixture::{Caller, Options, Org, Server, embedders};
use chrono::{DateTime, TimeDelta};
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::mail::Mailer;
use switchy_server::store::invitation_mails;

/// Longest time for anything; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mail server and what it takes.
pub(crate) struct Sink {
    peer: Peer,
    letters: Receiver<Value>,
}

impl Sink {
    pub(crate) fn start(arguments: &[&str]) -> Sink {
        let mut peer = Peer::start("smtp_sink", arguments);
        let (sender, letters) = channel();
        let lines = peer.take_lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let letter = serde_json::from_str(&line).expect("JSON");
                if sender.send(letter).is_err() {
                    return;
                }
            }
        });
        Sink { peer, letters }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.peer.port)
    }

    /// The next letter.
    pub(crate) fn letter(&self) -> Value {
        tokio::task::block_in_place(|| self.letters.recv_timeout(PATIENCE)).expect("a letter")
    }

    /// Whether no letter has come.
    pub(crate) fn is_empty(&self) -> bool {
        self.letters.try_recv().is_err()
    }
}

fn header<'a>(letter: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = letter["headers"].as_array().expect("headers").iter();
    let named = headers.filter(|h| h[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    named.map(|h| h[1].as_str().expect("text")).collect()
}

fn names(letter: &Value) -> BTreeSet<String> {
    let headers = letter["headers"].as_array().expect("headers").iter();
    headers.map(|h| h[0].as_str().expect("text").to_lowercase()).collect()
}

pub(crate) fn recipient(letter: &Value) -> &str {
    let all = letter["to"].as_array().expect("recipients");
    assert_eq!(all.len(), 1, "{letter}");
    all[0].as_str().expect("an address")
}

/// The token in a letter.
fn token(letter: &Value) -> &str {
    let body = letter["body"].as_str().expect("text");
    let at = body.find("inv_").unwrap_or_else(|| panic!("no token: {body}"));
    body[at..].split_whitespace().next().expect("a token")
}

fn mailer(url: &str) -> Option<Mailer> {
    Some(Mailer::new(&url.to_owned().into(), None).expect("a mailer"))
}

pub(crate) fn options(url: &str) -> Options {
    Options {
        embedder: embedders::none(),
        mailer: mailer(url),
        public_url: Some("https://switchy.example/".parse().expect("a URL")),
        ..Options::default()
    }
}

/// A clock that the test moves.
pub(crate) fn clock() -> ManualClock {
    ManualClock::starting_at(DateTime::from_timestamp(1_767_225_600, 0).expect("a moment"))
}

fn path(org: &Org) -> String {
    format!("/org/{}/invitations", org.id)
}

pub(crate) async fn invite(by: &Caller, org: &Org, email: &str) -> Value {
    let body = json!({ "email": email, "role": "MEMBER" });
    by.post(&path(org), body).await.data(201)["invitation"].take()
}

/// What has become of the letter to this address.
async fn delivery(org: &Org, email: &str) -> String {
    let list = org.owner.get(&path(org)).await.data(200)["invitations"].take();
    let mut all = list.as_array().expect("a list").iter();
    let one = all.find(|i| i["email"] == email).unwrap_or_else(|| panic!("no {email}: {list}"));
    one["delivery"].as_str().expect("text").to_owned()
}

pub(crate) async fn until_delivery(org: &Org, email: &str, wanted: &str) {
    let begun = Instant::now();
    loop {
        let is = delivery(org, email).await;
        if is == wanted {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{email}: {is} instead of {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Attempts, and what went wrong last.
async fn attempts(server: &Server, invitation: &Value) -> (i16, Option<String>) {
    let sql = "SELECT attempts, last_error FROM invitation_mails WHERE invitation_id = $1";
    let row = server.sql().await.query_one(sql, &[&id(invitation)]).await.expect("a letter");
    (row.get(0), row.get(1))
}

/// Waits until an attempt has failed; returns why.
async fn until_failed(server: &Server, invitation: &Value, attempt: i16) -> String {
    let begun = Instant::now();
    loop {
        if let (n, Some(error)) = attempts(server, invitation).await
            && n == attempt
        {
            return error;
        }
        assert!(begun.elapsed() < PATIENCE, "it did not fail");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invited_gets_a_letter_to_join_with() {
    let sink = Sink::start(&[]);
    let (log, logs) = Logs::new();
    let server = Server::with(Options { log, ..options(&sink.url()) }).await;
    let org = server.org("acme").await;
    let grace = server.org("elsewhere").await.owner;
    let name = "UPDATE users SET name = 'Ada Lövelace' WHERE id = $1";
    let sql = server.sql().await;
    sql.execute(name, &[&org.owner.user_id.as_str()]).await.expect("named");

    let invitation = invite(&org.owner, &org, &grace.email).await;
    assert_eq!(invitation["delivery"], "QUEUED");
    let letter = sink.letter();
    assert_eq!(recipient(&letter), grace.email);
    assert_eq!(letter["from"], "noreply@switchy.example");
    for (name, value) in [
        ("from", "Switchy <noreply@switchy.example>"),
        ("to", &*grace.email),
        ("subject", "Ada Lövelace invites you to acme on Switchy"),
        ("reply-to", "Ada Lövelace <owner@acme.test>"),
        ("auto-submitted", "auto-generated"),
        ("message-id", &format!("<{}@switchy.example>", id(&invitation))),
    ] {
        assert_eq!(header(&letter, name), [value], "{name}");
    }
    let body = letter["body"].as_str().expect("text");
    let secret = invitation["token"].as_str().expect("a token");
    let command =
        format!("\n    switchy --url https://switchy.example/api invite accept {secret}\n");
    assert!(body.contains(&command), "{body}");
    assert!(body.contains("Ada Lövelace (owner@acme.test) invites you to join acme"), "{body}");
    assert!(body.contains(&grace.email) && body.contains("UTC"), "{body}");

    until_delivery(&org, &grace.email, "SENT").await;
    let left = "SELECT nonce IS NULL AND sent_at IS NOT NULL AND next_attempt_at IS NULL \
                FROM invitation_mails";
    assert!(sql.query_one(left, &[]).await.expect("a letter").get::<_, bool>(0));
    let request = grace.request(Method::POST, &format!("/invitations/{}/accept", token(&letter)));
    crate::fixture::Answer::of(request).await.data(200);

    let lines = logs.lines();
    assert!(lines.iter().any(|l| l.contains("an invitation was mailed")), "{lines:#?}");
    assert!(!lines.iter().any(|l| l.contains(&secret[4..12])), "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_waits_for_the_mail_server_to_come_back() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let clock = clock();
    let url = format!("smtp://127.0.0.1:{port}");
    let server =
        Server::with(Options { clock: Clock::Manual(clock.clone()), ..options(&url) }).await;
    let org = server.org("acme").await;
    let first = invite(&org.owner, &org, "first@example.com").await;
    until_failed(&server, &first, 1).await;
    assert_eq!(delivery(&org, "first@example.com").await, "QUEUED");

    let sink = Sink::start(&["--port", &port.to_string()]);
    // not before its time
    clock.advance(TimeDelta::seconds(29));
    invite(&org.owner, &org, "second@example.com").await;
    assert_eq!(recipient(&sink.letter()), "second@example.com");
    until_delivery(&org, "second@example.com", "SENT").await;
    assert_eq!(attempts(&server, &first).await.0, 1);
    clock.advance(TimeDelta::seconds(1));
    invite(&org.owner, &org, "third@example.com").await;
    let mut came = [sink.letter(), sink.letter()].map(|l| recipient(&l).to_owned());
    came.sort_unstable();
    assert_eq!(came, ["first@example.com", "third@example.com"]);
    until_delivery(&org, "first@example.com", "SENT").await;
    assert_eq!(attempts(&server, &first).await, (2, None));
    assert!(sink.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_refused_for_good_is_given_up_and_another_is_not() {
    let sink =
        Sink::start(&["--refuse", "gone@example.com=550", "--refuse", "full@example.com=452"]);
    let (log, logs) = Logs::new();
    let server = Server::with(Options { log, ..options(&sink.url()) }).await;
    let org = server.org("acme").await;
    let gone = invite(&org.owner, &org, "gone@example.com").await;
    let full = invite(&org.owner, &org, "full@example.com").await;
    invite(&org.owner, &org, "fine@example.com").await;
    assert_eq!(recipient(&sink.letter()), "fine@example.com");
    until_delivery(&org, "gone@example.com", "FAILED").await;
    assert!(until_failed(&server, &gone, 1).await.contains("no gone@example.com here"));
    until_failed(&server, &full, 1).await;
    assert_eq!(delivery(&org, "full@example.com").await, "QUEUED");
    let warned = |what: &str| {
        logs.lines().iter().any(|l| l.contains("could not be mailed") && l.contains(what))
    };
    assert!(warned("no gone@example.com here") && warned("again_in_s=30"), "{:#?}", logs.lines());
    // it can be accepted all the same, and invited anew
    assert_eq!(org.owner.delete(&format!("{}/{}", path(&org), id(&gone))).await.status, 204);
    invite(&org.owner, &org, "gone@example.com").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_is_given_up_after_a_day() {
    let clock = clock();
    // nobody listens there
    let server = Server::with(Options {
        clock: Clock::Manual(clock.clone()),
        ..options("smtp://127.0.0.1:1")
    })
    .await;
    let org = server.org("acme").await;
    let one = invite(&org.owner, &org, "one@example.com").await;
    until_failed(&server, &one, 1).await;
    let almost = "UPDATE invitation_mails SET attempts = 29, last_error = NULL";
    server.sql().await.execute(almost, &[]).await.expect("set");
    clock.advance(TimeDelta::hours(1));
    invite(&org.owner, &org, "two@example.com").await;
    until_failed(&server, &one, 30).await;
    assert_eq!(delivery(&org, "one@example.com").await, "FAILED");
    assert_eq!(delivery(&org, "two@example.com").await, "QUEUED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_that_is_over_is_not_mailed() {
    let clock = clock();
    let at_first = Server::with(Options {
        clock: Clock::Manual(clock.clone()),
        ..options("smtp://127.0.0.1:1")
    })
    .await;
    let org = at_first.org("acme").await;
    let revoked = invite(&org.owner, &org, "revoked@example.com").await;
    let expired = invite(&org.owner, &org, "expired@example.com").await;
    for invitation in [&revoked, &expired] {
        until_failed(&at_first, invitation, 1).await;
    }
    let gone = org.owner.delete(&format!("{}/{}", path(&org), id(&revoked))).await;
    assert_eq!(gone.status, 204);
    let left = "SELECT count(*) FROM invitation_mails WHERE nonce IS NOT NULL";
    let sql = at_first.sql().await;
    let left = async || sql.query_one(left, &[]).await.expect("counted").get::<_, i64>(0);
    assert_eq!(left().await, 1);
    // another server, with a mail server that works
    clock.advance(TimeDelta::days(7));
    let sink = Sink::start(&[]);
    let later = at_first
        .beside(Options { clock: Clock::Manual(clock.clone()), ..options(&sink.url()) })
        .await;
    let here = org.owner.at(&later.url);
    invite(&here, &org, "fresh@example.com").await;
    assert_eq!(recipient(&sink.letter()), "fresh@example.com");
    until_delivery(&org, "fresh@example.com", "SENT").await;
    assert!(sink.is_empty());
    assert_eq!(left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_send_each_letter_once() {
    let sink = Sink::start(&[]);
    let one = Server::with(options(&sink.url())).await;
    let other = one.beside(options(&sink.url())).await;
    let org = one.org("acme").await;
    let callers = [org.owner.clone(), org.owner.at(&other.url)];
    let wanted: BTreeSet<String> = (0..20).map(|i| format!("n{i}@example.com")).collect();
    let invitations = wanted.iter().enumerate().map(|(i, email)| {
        let (by, org) = (&callers[i % 2], &org);
        async move { invite(by, org, email).await }
    });
    join_all(invitations).await;
    let came: Vec<String> = (0..20).map(|_| recipient(&sink.letter()).to_owned()).collect();
    assert_eq!(came.into_iter().collect::<BTreeSet<_>>(), wanted);
    for email in &wanted {
        until_delivery(&org, email, "SENT").await;
    }
    assert!(sink.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_in_the_hands_of_a_server_that_died_is_sent_by_another() {
    let clock = clock();
    let without_mail = Server::with(Options {
        clock: Clock::Manual(clock.clone()),
        ..options("smtp://127.0.0.1:1")
    })
    .await;
    let org = without_mail.org("acme").await;
    let invitation = invite(&org.owner, &org, "one@example.com").await;
    until_failed(&without_mail, &invitation, 1).await;
    clock.advance(TimeDelta::seconds(30));
    // taken, and nothing more is heard of it
    let lease = TimeDelta::minutes(5);
    let taken = invitation_mails::claim(&without_mail.store, lease).await.expect("asked");
    assert_eq!(taken.expect("a letter").attempt, 2);
    assert!(invitation_mails::claim(&without_mail.store, lease).await.expect("asked").is_none());

    let sink = Sink::start(&[]);
    let later = without_mail
        .beside(Options { clock: Clock::Manual(clock.clone()), ..options(&sink.url()) })
        .await;
    let here = org.owner.at(&later.url);
    invite(&here, &org, "two@example.com").await;
    assert_eq!(recipient(&sink.letter()), "two@example.com");
    clock.advance(lease);
    invite(&here, &org, "three@example.com").await;
    let mut came = [sink.letter(), sink.letter()].map(|l| recipient(&l).to_owned());
    came.sort_unstable();
    assert_eq!(came, ["one@example.com", "three@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_adds_nothing_to_a_letter() {
    let sink = Sink::start(&[]);
    let server = Server::with(options(&sink.url())).await;
    let org = server.org("acme").await;
    invite(&org.owner, &org, "plain@example.com").await;
    let plain = sink.letter();
    let sql = server.sql().await;
    let evil =
        "x\r\nBcc: eve@example.com\r\n\r\nClick http://evil.example\u{2028}\u{85}now\u{1b}[2J";
    sql.execute("UPDATE users SET name = $1", &[&evil]).await.expect("named");
    let long = format!("{evil}{}", " é".repeat(5_000));
    sql.execute("UPDATE orgs SET name = $1", &[&long]).await.expect("named");
    invite(&org.owner, &org, "grace@example.com").await;
    let letter = sink.letter();
    assert_eq!(recipient(&letter), "grace@example.com");
    assert_eq!(names(&letter), names(&plain));
    assert!(letter["body"].as_str().expect("text").lines().count() <= 12, "{letter}");
    assert!(!letter.to_string().contains("\\u001b"), "{letter}");
    assert!(header(&letter, "subject")[0].chars().count() < 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_hangs_holds_up_nobody() {
    let sink = Sink::start(&["--hang"]);
    // a single connection to the database: the letter must not keep it
    let server = Server::with(Options { pool_size: 1, ..options(&sink.url()) }).await;
    let org = server.org("acme").await;
    let begun = Instant::now();
    for i in 0..5 {
        let made = invite(&org.owner, &org, &format!("n{i}@example.com")).await;
        assert_eq!(made["delivery"], "QUEUED");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(server.stop(Duration::from_secs(15)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_over_starttls_with_a_login_where_the_operator_wants_it() {
    let home = Home::new();
    let folder = home.folder();
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, certified.cert.pem()).expect("written");
    std::fs::write(&key, certified.signing_key.serialize_pem()).expect("written");
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    let sink = Sink::start(&["--tls", &cert, &key, "--login", "ada", "p@ss/word"]);
    let port = sink.peer.port;
    let url = format!("smtp://ada:p%40ss%2Fword@localhost:{port}?tls=required");

    let serving = tokio::task::block_in_place(|| {
        let mut serve = home.serve();
        serve
            .env("SWITCHY_SMTP_URL", &url)
            .env("SWITCHY_MAIL_FROM", "The team <team@example.com>")
            .env("SSL_CERT_FILE", &cert);
        crate::fixture::binary::Serving::start(&mut serve)
    });
    let owner = serving.caller(&home.key());
    let me = owner.get("/me").await.data(200);
    let place = format!("/org/{}/invitations", id(&me["organization"]));
    owner.post(&place, json!({ "email": "grace@example.com", "role": "ADMIN" })).await.data(201);
    let letter = sink.letter();
    assert_eq!((&letter["tls"], &letter["user"]), (&json!(true), &json!("ada")));
    assert_eq!(header(&letter, "from"), ["The team <team@example.com>"]);
    assert!(letter["body"].as_str().expect("text").contains(&serving.url), "{letter}");

    // a wrong password, and no encryption: refused, and tried again until the operator sees it
    for url in [
        format!("smtp://ada:wrong@localhost:{port}?tls=required"),
        format!("smtp://localhost:{port}"),
    ] {
        let server = Server::with(options(&url)).await;
        let org = server.org("acme").await;
        let invitation = invite(&org.owner, &org, "grace@example.com").await;
        let error = until_failed(&server, &invitation, 1).await;
        assert!(!error.contains("wrong"), "{error}");
        assert_eq!(delivery(&org, "grace@example.com").await, "QUEUED", "{error}");
    }
    assert!(sink.is_empty());
}

#[test]
fn settings_that_cannot_work_stop_the_start_with_a_sentence() {
    let home = Home::new();
    for (variable, value) in
        [("SWITCHY_SMTP_URL", "http://ada:hunter2@localhost"), ("SWITCHY_MAIL_FROM", "nobody")]
    {
        let mut serve = home.serve();
        serve.env("SWITCHY_SMTP_URL", "smtp://localhost").env(variable, value);
        let ended = crate::fixture::binary::Ended::of(&mut serve);
        assert!(ended.sentence().contains(variable), "{}", ended.stderr);
        assert!(!ended.everything().contains("hunter2"), "{}", ended.everything());
    }
}
