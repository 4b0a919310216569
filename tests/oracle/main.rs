//! Nobody ever sees what is not his to see, and nobody is refused what is his: looked for at random.
//!
//! Random organizations, users, Spaces, roles and memberships that come and go; random deeds and
//! looks by random callers through the REST API, the Save Session dialect and MCP. After each, the
//! answer is compared with what plain sets say that were written from the contract (`model.rs`).
//! A failure is shrunk to the fewest steps and printed with everything that was asked.
//!
//! * `SWITCHY_ORACLE_CHECKS`: how many things to check, 100,000 unless given;
//! * `SWITCHY_ORACLE_SEED`: where the random numbers begin, as a failure prints it.

#[path = "../fixture/mod.rs"]
mod fixture;

mod deeds;
mod looks;
mod model;
mod run;

use deeds::{Deed, Step};
use fixture::{Options, Server, embedders};
use model::Heresy;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use run::{Run, Tally, USERS};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CHECKS: u64 = 100_000;
/// Runs at the same time: there are two cores, and answers to wait for.
const RUNNERS: u64 = 3;
/// Shrinking ends after this.
const SHRINKING: Duration = Duration::from_secs(120);

/// Who is in which organization, as what; what is done then.
#[derive(Clone, Debug)]
struct Plan {
    roles: Vec<u8>,
    steps: Vec<Step>,
    /// Who looks at everything in the end.
    witnesses: [u16; 2],
}

fn step() -> impl Strategy<Value = Step> {
    let deeds = Deed::WEIGHED.iter().map(|(weight, deed)| (*weight, Just(*deed)));
    let deed = proptest::strategy::Union::new_weighted(deeds.collect());
    (deed, any::<u16>(), any::<u16>(), any::<u16>(), any::<u8>())
        .prop_map(|(deed, who, what, whom, how)| Step { deed, who, what, whom, how })
}

fn plan() -> impl Strategy<Value = Plan> {
    let roles = proptest::collection::vec(any::<u8>(), 2 * USERS);
    let steps = proptest::collection::vec(step(), 1..160);
    (roles, steps, any::<[u16; 2]>()).prop_map(|(roles, steps, witnesses)| Plan {
        roles,
        steps,
        witnesses,
    })
}

/// Carries out a plan; what went wrong, with all that was asked.
async fn carry_out(
    server: &Server,
    tally: &Tally,
    (sql, http): (&tokio_postgres::Client, &reqwest::Client),
    heresy: Option<Heresy>,
    plan: &Plan,
) -> Result<(), String> {
    let mut run = Run::begin(server, tally, (sql, http), heresy, &plan.roles).await;
    let mut outcome = Ok(());
    for step in &plan.steps {
        outcome = run.step(step).await;
        if outcome.is_err() {
            break;
        }
    }
    if outcome.is_ok() {
        for witness in plan.witnesses {
            let key = usize::from(witness) % run.model.keys.len();
            outcome = run.sweep(key).await;
            if outcome.is_err() {
                break;
            }
        }
    }
    if let Err(what) = &outcome
        && heresy.is_none()
    {
        // shrinking takes a while
        say(&format!("oracle: {what}; looking for the fewest steps"));
    }
    outcome.map_err(|what| format!("{what}\n  {}", run.log.join("\n  ")))
}

fn runner(seed: u64, shrinking: Duration) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: 2_000,
        max_shrink_time: u32::try_from(shrinking.as_millis()).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// One plan after the other until `enough`; the first failure, shrunk.
fn search(
    handle: &tokio::runtime::Handle,
    server: &Server,
    tally: &Tally,
    heresy: Option<Heresy>,
    mut runner: TestRunner,
    enough: impl Fn() -> bool,
) -> Result<(), String> {
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let sql = handle.block_on(server.sql());
    while !enough() {
        // a runner ends with its first success: each run has one of its own
        let mut once = TestRunner::new_with_rng(runner.config().clone(), runner.new_rng());
        let outcome = once.run(&plan(), |plan| {
            let outcome = handle.block_on(carry_out(server, tally, (&sql, &http), heresy, &plan));
            outcome.map_err(TestCaseError::fail)
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, plan)) => {
                return Err(format!("{why}\nafter {} steps: {plan:?}", plan.steps.len()));
            }
            Err(other) => return Err(other.to_string()),
        }
    }
    Ok(())
}

fn server(runtime: &tokio::runtime::Runtime) -> Server {
    // vectors without meaning: what must be found is found by all of them
    let embedder = Arc::new(embedders::Obedient::default());
    let options = Options { embedder, pool_size: 16, ..Options::default() };
    runtime.block_on(Server::with(options))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

/// Of the clock: another seed for every run.
fn begun_at() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.subsec_nanos())
}

/// Past what captures the output of tests that succeed.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[test]
fn everybody_sees_and_may_do_what_the_contract_says_and_nothing_else() {
    let goal = number("SWITCHY_ORACLE_CHECKS").unwrap_or(CHECKS);
    let seed = number("SWITCHY_ORACLE_SEED")
        .unwrap_or_else(|| u64::from(std::process::id()) << 32 | u64::from(begun_at()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = server(&runtime);
    let (tally, failed) = (Tally::default(), AtomicBool::new(false));
    let begun = Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..RUNNERS)
            .map(|n| {
                let (server, tally, failed) = (&server, &tally, &failed);
                let handle = runtime.handle().clone();
                scope.spawn(move || {
                    let enough = || tally.checks() >= goal || failed.load(Ordering::SeqCst);
                    let runner = runner(seed.wrapping_add(n), SHRINKING);
                    let outcome = search(&handle, server, tally, None, runner, enough);
                    if outcome.is_err() {
                        failed.store(true, Ordering::SeqCst);
                    }
                    outcome.err()
                })
            })
            .collect();
        threads.into_iter().filter_map(|t| t.join().expect("a runner")).collect()
    });
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    say(&format!(
        "oracle: {} checks ({} of sight, {} of deeds) in {:.0} s: {} runs, {} steps, {} requests, \
         seed {seed}, {} failures",
        tally.checks(),
        count(&tally.sights),
        count(&tally.deeds),
        begun.elapsed().as_secs_f64(),
        count(&tally.runs),
        count(&tally.steps),
        count(&tally.requests),
        failures.len(),
    ));
    assert!(failures.is_empty(), "SWITCHY_ORACLE_SEED={seed}\n{}", failures.join("\n\n"));
}

/// A search that finds nothing says nothing unless it can find something: with one rule of the
/// model changed, server and model differ, and it must find out.
#[test]
fn a_rule_that_the_server_does_not_have_is_found_out() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = server(&runtime);
    let tally = Tally::default();
    for (n, heresy) in (0..).zip(Heresy::ALL) {
        let before = tally.runs.load(Ordering::Relaxed);
        let runs = || tally.runs.load(Ordering::Relaxed) - before;
        let enough = || runs() >= 200;
        let shrinking = Duration::from_secs(if n == 0 { 20 } else { 1 });
        let outcome =
            search(runtime.handle(), &server, &tally, Some(heresy), runner(n, shrinking), enough);
        let found = outcome.expect_err(&format!("{heresy:?} was not found out in 200 runs"));
        let kinds = ["LEAKED", "REFUSED", "ALLOWED", "refusal", "counted"];
        assert!(kinds.iter().any(|kind| found.contains(kind)), "{heresy:?}: {found}");
        say(&format!("oracle: {heresy:?} found out, {} runs with shrinking", runs()));
    }
}
