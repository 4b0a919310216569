//! Sends what is due, for as long as the server runs.

use super::invitation::compose;
use super::mailer::{Mailer, SendError};
use crate::auth::{InvitationToken, KeySecret, masked};
use crate::error::Result;
use crate::public_url::PublicUrl;
use crate::store::Store;
use crate::store::invitation_mails::{self, Due};
use chrono::TimeDelta;
use slog::Logger;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How often to look without being told: for letters that are to be tried again, and for those that
/// another server left.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long a letter is one server's own, longer than sending may take: afterwards, that server is
/// believed dead.
const LEASE: TimeDelta = TimeDelta::minutes(5);
/// Wait after the first failure; each further one doubles it.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(30);
/// Longest wait between two attempts.
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);
/// After so many attempts, which take about a day, a letter is given up.
pub const MAX_ATTEMPTS: i16 = 30;

/// Sends letters, and can be told that there is one.
#[derive(Clone, Default)]
pub struct MailSender(Arc<Notify>);

/// How long to wait after this attempt, from 1; `None` after the last.
fn pause(attempt: i16) -> Option<TimeDelta> {
    if attempt >= MAX_ATTEMPTS {
        return None;
    }
    let doublings = u32::try_from(attempt - 1).unwrap_or_default().min(16);
    Some((FIRST_PAUSE * 2_i32.pow(doublings)).min(LONGEST_PAUSE))
}

impl MailSender {
    /// There is a letter.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Sends what is due, now and later.
    pub async fn run(
        self,
        store: Store,
        mailer: Mailer,
        secret: Arc<KeySecret>,
        public_url: PublicUrl,
        log: Logger,
    ) {
        let round = Round { store, mailer, secret, public_url, log };
        loop {
            if let Err(error) = round.run().await {
                slog::warn!(round.log, "letters cannot be sent"; "error" => error.chain());
            }
            let _ = tokio::time::timeout(INTERVAL, self.0.notified()).await;
        }
    }
}

struct Round {
    store: Store,
    mailer: Mailer,
    secret: Arc<KeySecret>,
    public_url: PublicUrl,
    log: Logger,
}

impl Round {
    async fn run(&self) -> Result<()> {
        while let Some(due) = invitation_mails::claim(&self.store, LEASE).await? {
            let log = self.log.new(slog::o!(
                "invitation_id" => due.invitation_id.to_string(), "attempt" => due.attempt));
            match self.deliver(&due).await {
                Ok(()) => {
                    invitation_mails::sent(&self.store, &due).await?;
                    slog::info!(log, "an invitation was mailed");
                }
                Err(refused) => {
                    let again = pause(due.attempt).filter(|_| !refused.for_good);
                    // a mail server may well repeat the letter
                    let error = masked(&refused.message).into_owned();
                    invitation_mails::failed(&self.store, &due, &error, again).await?;
                    let again = again.map(|again| again.num_seconds());
                    slog::warn!(log, "an invitation could not be mailed";
                        "error" => error, "again_in_s" => again);
                }
            }
        }
        Ok(())
    }

    async fn deliver(&self, due: &Due) -> Result<(), SendError> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| SendError {
            message: error.to_string(),
            for_good: true,
        };
        let nonce = due.nonce().map_err(|e| unusable(e.into()))?;
        let token = InvitationToken::of(&self.secret, &nonce);
        let message =
            compose(&self.mailer, &self.public_url.at(""), due, &token).map_err(unusable)?;
        self.mailer.send(message).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_an_hour_and_end_after_about_a_day() {
        assert_eq!(pause(1), Some(TimeDelta::seconds(30)));
        assert_eq!(pause(2), Some(TimeDelta::seconds(60)));
        assert_eq!(pause(8), Some(TimeDelta::hours(1)));
        assert_eq!(pause(MAX_ATTEMPTS), None);
        let whole: TimeDelta = (1..MAX_ATTEMPTS).filter_map(pause).sum();
        assert!((20..30).contains(&whole.num_hours()), "{whole}");
    }
}
