//! Clients that write, and send the same again until they are answered.

use crate::dice::Dice;
use crate::fixture::Caller;
use crate::fixture::binary::{Ended, command, server_program};
use crate::fixture::cluster::connect;
use crate::fixture::stripe::{SECRET, event, signature};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Clients that write at the same time.
const CLIENTS: usize = 5;
/// Checkouts that are prepared for each cycle; when they are used up, nobody pays any more.
const CHECKOUTS: u64 = 200;
/// What every such checkout brings.
pub const CREDITS: i64 = 10;
/// Before the same is sent again, in milliseconds.
const PAUSE: std::ops::Range<u64> = 5..40;
/// How long a client waits for an answer. Long, since nobody is that slow: a request that hangs is
/// a defect, and shows as one by how long everything takes.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Between two commands of the operator, in milliseconds.
const OPERATOR: std::ops::Range<u64> = 300..900;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Note,
    Batch,
    Session,
    Message,
    TopUp,
    Refund,
    Spending,
}

/// A write that was acknowledged.
#[derive(Clone)]
pub struct Written {
    pub kind: Kind,
    /// What there must be exactly one of: contents, a title, a text, an event, a reference.
    pub marks: Vec<String>,
    pub path: String,
    pub key: String,
    pub body: Value,
    /// `data` of the answer.
    pub answer: Value,
    /// How often it was sent in vain.
    pub failures: u64,
}

pub struct Desk {
    pub owner: Caller,
    database: Mutex<String>,
    written: Mutex<Vec<Written>>,
    /// Answers that nobody may ever get.
    wrong: Mutex<Vec<String>>,
    closing: AtomicBool,
    number: AtomicU64,
    checkouts: AtomicU64,
    checkout: AtomicU64,
}

impl Desk {
    /// Prepares what clients need.
    pub async fn open(owner: Caller, database: String, cycles: u64) -> Desk {
        owner.space("Team").await;
        owner.get("/billing/credits").await.data(200);
        let checkouts = cycles * CHECKOUTS;
        let sql = connect(&database).await;
        let insert = "INSERT INTO stripe_checkouts (session_id, org_id, reference, credits, \
                      created_by_user_id, created_at) \
                      SELECT 'cs_' || n, m.org_id, 'ref_' || n, $2, m.user_id, now() \
                      FROM members m, generate_series(1, $1::bigint) n";
        let count = i64::try_from(checkouts).expect("few");
        sql.execute(insert, &[&count, &CREDITS]).await.expect("checkouts");
        Desk {
            owner,
            database: Mutex::new(database),
            written: Mutex::default(),
            wrong: Mutex::default(),
            closing: AtomicBool::new(false),
            number: AtomicU64::new(0),
            checkouts: AtomicU64::new(checkouts),
            checkout: AtomicU64::new(1),
        }
    }

    pub fn begin(self: &Arc<Self>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
        let mut clients: Vec<_> =
            (0..CLIENTS).map(|_| tokio::spawn(Arc::clone(self).client(dice.another()))).collect();
        clients.push(tokio::spawn(Arc::clone(self).operator(dice.another())));
        clients
    }

    /// Lets everybody end what he has begun; what was acknowledged in all.
    pub async fn close(&self, clients: Vec<JoinHandle<()>>) -> Vec<Written> {
        self.closing.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("a client");
        }
        let wrong = self.wrong();
        assert!(wrong.is_empty(), "{wrong:#?}");
        self.written.lock().expect("no writer panics").clone()
    }

    pub fn wrong(&self) -> Vec<String> {
        self.wrong.lock().expect("no writer panics").clone()
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst) || !self.wrong().is_empty()
    }

    /// A word that nobody else uses.
    fn mark(&self) -> String {
        format!("mark{}", self.number.fetch_add(1, Ordering::SeqCst))
    }

    async fn client(self: Arc<Self>, mut dice: Dice) {
        let mut sessions: Vec<String> = Vec::new();
        let mut payments: BTreeSet<u64> = BTreeSet::new();
        while !self.is_closing() {
            match dice.below(10) {
                0..3 => {
                    let mark = self.mark();
                    let content = format!("The {mark} is deployed on Tuesdays.");
                    let body = json!({ "content": content, "visibility": "ORG" });
                    self.post(&mut dice, Kind::Note, "/memory", body, vec![content]).await;
                }
                3 => {
                    let contents: Vec<_> =
                        (0..3).map(|_| format!("The {} is one of several.", self.mark())).collect();
                    let note = |content| json!({ "content": content, "visibility": "PRIVATE" });
                    let notes: Vec<_> = contents.iter().map(note).collect();
                    let body = json!({ "memories": notes });
                    self.post(&mut dice, Kind::Batch, "/memory/batch", body, contents).await;
                }
                4 => {
                    let title = self.mark();
                    let body = json!({ "name": title });
                    let path = "/spaces/team/sessions";
                    let made = self.post(&mut dice, Kind::Session, path, body, vec![title]).await;
                    sessions.extend(made.and_then(|d| id(&d["session"])));
                }
                5..8 => {
                    let Some(session) = sessions.last() else { continue };
                    let path = format!("/spaces/team/sessions/{session}/messages");
                    let text = format!("I have seen {}.", self.mark());
                    let body = json!({ "body": text });
                    self.post(&mut dice, Kind::Message, &path, body, vec![text]).await;
                }
                8 => {
                    let n = self.checkout.fetch_add(1, Ordering::SeqCst);
                    if n <= self.checkouts.load(Ordering::SeqCst) && self.pay(&mut dice, n).await {
                        payments.insert(n);
                    }
                }
                _ => {
                    let Some(n) = payments.pop_first() else { continue };
                    self.refund(&mut dice, n).await;
                }
            }
        }
    }

    /// Stripe tells of a payment, at times twice.
    async fn pay(&self, dice: &mut Dice, n: u64) -> bool {
        let session = json!({
            "id": format!("cs_{n}"), "object": "checkout.session", "mode": "payment",
            "payment_status": "paid", "payment_intent": format!("pi_{n}"),
        });
        let told = |id: String| event(&id, "checkout.session.completed", 0, session.clone());
        let first = self.tell(dice, Kind::TopUp, told(format!("evt_pay_{n}"))).await;
        if dice.below(3) == 0 {
            self.tell(dice, Kind::TopUp, told(format!("evt_pay_{n}"))).await;
            self.tell(dice, Kind::TopUp, told(format!("evt_again_{n}"))).await;
        }
        first
    }

    async fn refund(&self, dice: &mut Dice, n: u64) {
        let charge = json!({
            "id": format!("ch_{n}"), "object": "charge", "payment_intent": format!("pi_{n}"),
            "amount": 1_000, "amount_refunded": 500, "metadata": {},
        });
        let told = event(&format!("evt_refund_{n}"), "charge.refunded", 0, charge);
        self.tell(dice, Kind::Refund, told).await;
    }

    /// POSTs with a key until it is answered; `data`, or `None` when the test has failed.
    async fn post(
        &self,
        dice: &mut Dice,
        kind: Kind,
        path: &str,
        body: Value,
        marks: Vec<String>,
    ) -> Option<Value> {
        let key = format!("key-{}", self.mark());
        let request = || {
            let request = self.owner.request(Method::POST, path).json(&body);
            request.header("Idempotency-Key", &key)
        };
        let (answer, failures) = self.until_answered(dice, request).await?;
        let data = answer["data"].clone();
        let path = path.to_owned();
        let written = Written { kind, marks, path, key, body, answer: data.clone(), failures };
        self.written.lock().expect("no writer panics").push(written);
        Some(data)
    }

    async fn tell(&self, dice: &mut Dice, kind: Kind, event: Value) -> bool {
        let body = event.to_string();
        let path = "/webhooks/stripe";
        let request = || {
            let now = chrono::Utc::now().timestamp();
            let request = self.owner.http.post(format!("{}{path}", self.owner.url));
            request.header("Stripe-Signature", signature(SECRET, now, &body)).body(body.clone())
        };
        let Some((answer, failures)) = self.until_answered(dice, request).await else {
            return false;
        };
        let mark = event["id"].as_str().expect("an id").to_owned();
        let (path, answer) = (path.to_owned(), answer["data"].clone());
        let (marks, key) = (vec![mark], String::new());
        let written = Written { kind, marks, path, key, body: event, answer, failures };
        self.written.lock().expect("no writer panics").push(written);
        true
    }

    async fn until_answered(
        &self,
        dice: &mut Dice,
        request: impl Fn() -> reqwest::RequestBuilder,
    ) -> Option<(Value, u64)> {
        let mut failures = 0;
        loop {
            if let Some(answer) = self.attempt(request()).await {
                return Some((answer, failures));
            }
            if !self.wrong().is_empty() {
                return None;
            }
            failures += 1;
            dice.sleep(PAUSE).await;
        }
    }

    /// The answer, when it is one: the server may be dead, die meanwhile, or be without database.
    async fn attempt(&self, request: reqwest::RequestBuilder) -> Option<Value> {
        let answer = match request.timeout(TIMEOUT).send().await {
            Ok(answer) => answer,
            Err(error) if error.is_timeout() => {
                self.complain(format!("no answer within {TIMEOUT:?}"));
                return None;
            }
            Err(_) => return None,
        };
        let (status, waits) = (answer.status(), answer.headers().contains_key("retry-after"));
        let text = answer.text().await.ok()?;
        match status {
            StatusCode::OK | StatusCode::CREATED => match serde_json::from_str(&text) {
                Ok(answer) => Some(answer),
                Err(error) => {
                    self.complain(format!("{status}: {error}: {text}"));
                    None
                }
            },
            // the database is away, or the first attempt is not over
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::CONFLICT if waits => None,
            _ => {
                self.complain(format!("{status}: {text}"));
                None
            }
        }
    }

    fn complain(&self, of: String) {
        self.wrong.lock().expect("no writer panics").push(of);
    }

    /// Spends credits by the command for operators, again and again until it says so.
    async fn operator(self: Arc<Self>, mut dice: Dice) {
        while !self.is_closing() {
            dice.sleep(OPERATOR).await;
            let (reference, mut failures) = (self.mark(), 0);
            loop {
                let database = self.database.lock().expect("no writer panics").clone();
                let spending = reference.clone();
                let ended = tokio::task::spawn_blocking(move || {
                    let mut admin = command(&server_program());
                    admin.args(["admin", "credits", "spend", "--org=my-team", "--amount=1"]);
                    admin.args(["--output=json", "--reference", &spending]);
                    Ended::of(admin.env("DATABASE_URL", database))
                });
                let ended = ended.await.expect("a command");
                match ended.status.code() {
                    Some(0) => break,
                    Some(1) if !ended.stderr.contains("panicked") => failures += 1,
                    _ => return self.complain(format!("{ended:?}")),
                }
                dice.sleep(OPERATOR).await;
            }
            let marks = vec![format!("spend:{reference}")];
            let (path, key, body) = (String::new(), String::new(), Value::Null);
            let kind = Kind::Spending;
            let answer = Value::Null;
            let written = Written { kind, marks, path, key, body, answer, failures };
            self.written.lock().expect("no writer panics").push(written);
        }
    }
}

/// The id of something.
pub fn id(of: &Value) -> Option<String> {
    of["id"].as_str().map(str::to_owned)
}
