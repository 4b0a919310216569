//! One open stream: reads what happened whenever there may be something, and writes it down.

use super::Subscription;
use crate::auth::Caller;
use crate::error::Result;
use crate::http::sse::{Block, Closed, Writer};
use crate::store::Store;
use crate::store::events::{self, Access, Event, Lost, Place};
use slog::Logger;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Most events that are read at once, and so held in memory for a stream.
const BATCH: i64 = 20;

/// How long a client may take to read one event before its stream is given up.
const STALL: Duration = Duration::from_secs(60);

/// How soon a read that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// For how long reads may fail before the stream ends.
const OUTAGE: Duration = Duration::from_secs(60);

/// How long a client may take to read that its stream ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// Who follows which session, and how far.
pub struct Follower {
    /// PostgreSQL.
    pub store: Store,
    /// Who follows.
    pub caller: Caller,
    /// Of the key that the stream was opened with.
    pub digest: [u8; 32],
    /// Which session.
    pub place: Place,
    /// The number of the last event that the client has seen.
    pub seen: i64,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The caller may not read on.
    Lost(Lost),
    /// The server stops.
    Stopping,
    /// The database has been away for too long.
    Outage,
    /// The client has gone.
    Gone,
    /// The client does not read.
    Stalled,
    /// A defect.
    Broken,
}

/// How events are written down.
pub trait Render: Send + Sync + 'static {
    /// An event; `None`: the client need not know.
    fn event(&self, event: &Event) -> Result<Option<Block>>;
    /// Events before the one after this number are not kept any more.
    fn reset(&self, seq: i64) -> Result<Block>;
    /// The stream ends.
    fn ending(&self, ending: Ending) -> Result<Block>;
}

/// What a look at the database found.
enum Found {
    Events(Vec<Event>),
    /// Events that the client has not seen are not kept any more; the newest has this number.
    Missed(i64),
    Lost(Lost),
}

impl Follower {
    /// One transaction of the caller: what he may not see now is not even read.
    async fn look(&self) -> Result<Found> {
        let mut tx = self.store.begin(&self.caller).await?;
        let newest = match events::access(&mut tx, &self.digest, &self.place).await {
            Ok(Access::Upto(newest)) => newest,
            Ok(Access::Lost(lost)) => {
                tx.commit().await?;
                return Ok(Found::Lost(lost));
            }
            Err(error) => {
                tx.rollback().await?;
                return Err(error);
            }
        };
        let found = match newest {
            // a number that was never given: another session's, or from before a restored backup
            newest if newest < self.seen => Ok(Found::Missed(newest)),
            newest if newest == self.seen => Ok(Found::Events(Vec::new())),
            newest => events::after(&mut tx, &self.place, self.seen, BATCH).await.map(|events| {
                // numbers have no gaps: where there is one, events have expired
                let next = events.first().map(|event| event.seq);
                if next == Some(self.seen + 1) {
                    Found::Events(events)
                } else {
                    Found::Missed(newest)
                }
            }),
        };
        match found {
            Ok(found) => {
                tx.commit().await?;
                Ok(found)
            }
            Err(error) => {
                tx.rollback().await?;
                Err(error)
            }
        }
    }
}

/// Writes what happens until the stream ends.
pub async fn follow(
    follower: Follower,
    subscription: Subscription,
    writer: Writer,
    render: impl Render,
    log: Logger,
) {
    let begun = Instant::now();
    let (session, key) = (follower.place.session.clone(), follower.caller.key_id.clone());
    let mut stream = Stream { follower, subscription, writer, render, log };
    let ending = stream.run().await;
    if !matches!(ending, Ending::Gone | Ending::Stalled)
        && let Ok(block) = stream.render.ending(ending)
    {
        // who does not take it finds the connection closed
        let _ = timeout(FAREWELL, stream.writer.write(block)).await;
    }
    slog::debug!(stream.log, "event stream ended"; "ending" => format!("{ending:?}"),
        "session_id" => session.as_str(), "key_id" => key.as_str(),
        "s" => begun.elapsed().as_secs());
}

struct Stream<R> {
    follower: Follower,
    subscription: Subscription,
    writer: Writer,
    render: R,
    log: Logger,
}

impl<R: Render> Stream<R> {
    async fn run(&mut self) -> Ending {
        let Err(ending) = self.write_events().await;
        ending
    }

    async fn write_events(&mut self) -> Result<std::convert::Infallible, Ending> {
        let heartbeat = self.subscription.config().heartbeat;
        let mut beat = Instant::now() + heartbeat;
        let mut failing: Option<Instant> = None;
        loop {
            let look = async {
                let _turn = self.subscription.turn().await;
                self.follower.look().await
            };
            let found = tokio::select! {
                found = look => found,
                () = self.subscription.stopped() => return Err(Ending::Stopping),
                () = self.writer.closed() => return Err(Ending::Gone),
            };
            let mut look_again = None;
            match found {
                Ok(Found::Lost(lost)) => return Err(Ending::Lost(lost)),
                Ok(Found::Missed(newest)) => {
                    let block = self.render.reset(newest);
                    self.write(block.map(Some)).await?;
                    self.follower.seen = newest;
                    beat = Instant::now() + heartbeat;
                    continue;
                }
                Ok(Found::Events(events)) => {
                    failing = None;
                    if !events.is_empty() {
                        for event in events {
                            self.write(self.render.event(&event)).await?;
                            self.follower.seen = event.seq;
                        }
                        beat = Instant::now() + heartbeat;
                        continue; // there may be more
                    }
                }
                Err(error) => {
                    slog::debug!(self.log, "events could not be read"; "error" => error.chain());
                    if failing.get_or_insert_with(Instant::now).elapsed() > OUTAGE {
                        return Err(Ending::Outage);
                    }
                    look_again = Some(Instant::now() + RETRY);
                }
            }
            if Instant::now() >= beat {
                self.write(Ok(Some(Block::heartbeat()))).await?;
                beat = Instant::now() + heartbeat;
            }
            tokio::select! {
                () = self.subscription.woken(), if look_again.is_none() => {}
                () = sleep_until(look_again.map_or(beat, |at| at.min(beat))) => {}
                () = self.subscription.stopped() => return Err(Ending::Stopping),
                () = self.writer.closed() => return Err(Ending::Gone),
            }
        }
    }

    async fn write(&self, block: Result<Option<Block>>) -> Result<(), Ending> {
        let block = match block {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(()),
            Err(error) => {
                slog::error!(self.log, "an event could not be written"; "error" => error.chain());
                return Err(Ending::Broken);
            }
        };
        tokio::select! {
            biased;
            written = timeout(STALL, self.writer.write(block)) => match written {
                Ok(Ok(())) => Ok(()),
                Ok(Err(Closed)) => Err(Ending::Gone),
                Err(_elapsed) => Err(Ending::Stalled),
            },
            () = self.subscription.stopped() => Err(Ending::Stopping),
        }
    }
}
