//! Clients write, and retry until they are answered, while the server and its PostgreSQL are killed
//! at random, again and again. At the end, what was acknowledged is there, nothing is there twice,
//! and nothing is there by half.
//!
//! `CRASH_CYCLES` says how often something is killed in all, `CRASH_SEED` where and when; the seed
//! of a run is printed. How the operating system schedules is not repeated.

#[path = "../fixture/mod.rs"]
mod fixture;

mod audit;
mod clients;
mod dice;
mod installation;

use clients::Desk;
use dice::Dice;
use installation::{Installation, Storage, Victim};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often something is killed, unless `CRASH_CYCLES` says otherwise: enough to see that the test
/// itself works.
const CYCLES: u64 = 6;
/// Between two blows, in milliseconds.
const LOAD: std::ops::Range<u64> = 50..1_000;
/// How long a server that is just starting is left alone before it is killed, in milliseconds.
const START: std::ops::Range<u64> = 0..600;
/// One start in so many is cut short.
const CUT_SHORT: u64 = 5;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: a number is expected")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_torn_with_the_embedded_database() {
    survive("embedded", Storage::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_torn_with_a_database_of_ones_own() {
    survive("separate", Storage::separate()).await;
}

async fn survive(name: &str, storage: Storage) {
    let cycles = setting("CRASH_CYCLES").unwrap_or(CYCLES).div_ceil(2);
    let seed = setting("CRASH_SEED").unwrap_or_else(dice::any_seed);
    println!("{name}: {cycles} cycles, CRASH_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut installation = Installation::new(storage);
    let owner = installation.set_up().await;
    let desk = Arc::new(Desk::open(owner, installation.database(), cycles).await);
    let clients = desk.begin(&mut dice);

    let mut recoveries = Vec::new();
    for cycle in 0..cycles {
        dice.sleep(LOAD).await;
        let victim = dice.one_of(&[Victim::Server, Victim::Postgres, Victim::Both]);
        let killed = Instant::now();
        installation.kill(victim);
        // with a model or without: what was written without vectors gets them later
        installation.recover(dice.below(2) == 0);
        if dice.below(CUT_SHORT) == 0 {
            dice.sleep(START).await;
            installation.kill(Victim::Both);
            installation.recover(dice.below(2) == 0);
        }
        installation.until_ready(&desk.owner).await;
        recoveries.push(killed.elapsed());
        let wrong = desk.wrong();
        assert!(wrong.is_empty(), "cycle {cycle}, {victim:?}: {wrong:#?}");
    }
    installation.kill(Victim::Server);
    installation.recover(true);
    installation.until_ready(&desk.owner).await;
    let acknowledged = desk.close(clients).await;
    let checks = audit::all(&desk, &acknowledged, &installation.database()).await;
    println!("{}", report(name, &mut recoveries, &acknowledged, checks));
}

fn report(
    name: &str,
    recoveries: &mut [Duration],
    acknowledged: &[clients::Written],
    checks: usize,
) -> String {
    recoveries.sort();
    let at = |part: usize| recoveries[(recoveries.len() - 1) * part / 100].as_millis();
    format!(
        "{name}: {} crashes, {} acknowledged writes, {} attempts that failed before, {checks} \
         checks; back after p50 {} ms, p95 {} ms, at most {} ms",
        recoveries.len(),
        acknowledged.len(),
        acknowledged.iter().map(|written| written.failures).sum::<u64>(),
        at(50),
        at(95),
        at(100),
    )
}
