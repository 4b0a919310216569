//! Who follows what on this server.

use super::{EventsConfig, MAX_READS};
use crate::error::{Error, Result};
use crate::store::ids::KeyId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};

/// The open streams of this server.
pub struct Hub {
    config: EventsConfig,
    open: Mutex<Open>,
    reads: Semaphore,
    stopped: watch::Sender<bool>,
}

#[derive(Default)]
struct Open {
    /// By what they follow (`session:ID`, `user:ID`, …), then by their number.
    followers: HashMap<String, HashMap<u64, Arc<Notify>>>,
    by_key: HashMap<KeyId, usize>,
    count: usize,
    next: u64,
}

impl Hub {
    /// Nobody follows anything yet.
    pub fn new(config: EventsConfig) -> Arc<Self> {
        Arc::new(Hub {
            config,
            open: Mutex::default(),
            reads: Semaphore::new(MAX_READS),
            stopped: watch::Sender::new(false),
        })
    }

    /// How streams are served.
    pub fn config(&self) -> &EventsConfig {
        &self.config
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more stream, woken by everything that `topics` names.
    ///
    /// 409 when the key has too many, 503 when the server has, or is stopping.
    pub fn subscribe(self: &Arc<Self>, key: &KeyId, topics: Vec<String>) -> Result<Subscription> {
        if *self.stopped.borrow() {
            return Err(Error::unavailable("the server is stopping"));
        }
        let mut open = self.open();
        if open.count >= self.config.streams {
            return Err(Error::unavailable("the server has too many open event streams"));
        }
        let of_key = open.by_key.get(key).copied().unwrap_or_default();
        if of_key >= self.config.streams_per_key {
            return Err(Error::conflict(format!(
                "this key has {of_key} open event streams already: close one first"
            )));
        }
        open.by_key.insert(key.clone(), of_key + 1);
        open.count += 1;
        let number = open.next;
        open.next += 1;
        let wake = Arc::new(Notify::new());
        for topic in &topics {
            let followers = open.followers.entry(topic.clone()).or_default();
            followers.insert(number, Arc::clone(&wake));
        }
        drop(open);
        let stopped = self.stopped.subscribe();
        Ok(Subscription { hub: Arc::clone(self), key: key.clone(), topics, number, wake, stopped })
    }

    /// Something happened to what `topic` names.
    pub fn wake(&self, topic: &str) {
        for wake in self.open().followers.get(topic).into_iter().flat_map(HashMap::values) {
            wake.notify_one();
        }
    }

    /// Anything may have happened.
    pub fn wake_all(&self) {
        for wake in self.open().followers.values().flat_map(HashMap::values) {
            wake.notify_one();
        }
    }

    /// Ends all streams, now and from now on.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.open().count
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One open stream's place, given back when it is dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    key: KeyId,
    topics: Vec<String>,
    number: u64,
    wake: Arc<Notify>,
    stopped: watch::Receiver<bool>,
}

impl Subscription {
    /// Waits until there may be something to read. What happened since the last call counts.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits for the stream's turn to read, and has it for as long as the result lives.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // it is never closed
        self.hub.reads.acquire().await.ok()
    }

    /// Waits until the server stops.
    pub async fn stopped(&self) {
        // the sender lives as long as the hub, which this holds
        let _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    /// How streams are served.
    pub fn config(&self) -> &EventsConfig {
        self.hub.config()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut open = self.hub.open();
        for topic in &self.topics {
            let empty = open.followers.get_mut(topic).is_some_and(|followers| {
                followers.remove(&self.number);
                followers.is_empty()
            });
            if empty {
                open.followers.remove(topic);
            }
        }
        open.count = open.count.saturating_sub(1);
        match open.by_key.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.by_key.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn topics(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn hub(streams_per_key: usize, streams: usize) -> Arc<Hub> {
        Hub::new(EventsConfig { streams_per_key, streams, ..EventsConfig::default() })
    }

    #[tokio::test]
    async fn whoever_follows_a_topic_is_woken_once_and_nobody_else() {
        let hub = hub(10, 10);
        let key = KeyId::generate();
        let one = hub.subscribe(&key, topics(&["session:1", "user:1"])).expect("a place");
        let two = hub.subscribe(&key, topics(&["session:2", "user:1"])).expect("a place");
        hub.wake("session:1");
        hub.wake("session:1");
        assert!(one.woken().now_or_never().is_some());
        assert!(one.woken().now_or_never().is_none());
        assert!(two.woken().now_or_never().is_none());
        hub.wake("user:1");
        hub.wake("nobody");
        assert!(one.woken().now_or_never().is_some() && two.woken().now_or_never().is_some());
        hub.wake_all();
        assert!(one.woken().now_or_never().is_some() && two.woken().now_or_never().is_some());
    }

    #[tokio::test]
    async fn places_are_limited_and_given_back() {
        let hub = hub(2, 3);
        let (ada, eve) = (KeyId::generate(), KeyId::generate());
        let first = hub.subscribe(&ada, topics(&["a"])).expect("a place");
        let _second = hub.subscribe(&ada, topics(&["a"])).expect("a place");
        assert!(matches!(hub.subscribe(&ada, Vec::new()), Err(Error::Conflict { .. })));
        let _third = hub.subscribe(&eve, topics(&["b"])).expect("a place");
        assert!(matches!(hub.subscribe(&eve, Vec::new()), Err(Error::Unavailable { .. })));
        drop(first);
        assert_eq!(hub.len(), 2);
        drop(hub.subscribe(&ada, topics(&["a"])).expect("a place"));
        drop((_second, _third));
        assert!(hub.is_empty());
        let open = hub.open();
        assert!(open.followers.is_empty() && open.by_key.is_empty());
    }

    #[tokio::test]
    async fn stopping_ends_what_is_open_and_lets_nobody_in() {
        let hub = hub(2, 2);
        let open = hub.subscribe(&KeyId::generate(), Vec::new()).expect("a place");
        assert!(open.stopped().now_or_never().is_none());
        hub.stop();
        open.stopped().await;
        let late = hub.subscribe(&KeyId::generate(), Vec::new());
        assert!(matches!(late, Err(Error::Unavailable { .. })));
    }
}
