//! What PostgreSQL tells without being asked: `LISTEN`, on a connection of its own.

use super::connection::{APP_ROLE, CONNECT_TIMEOUT, ConnectError, Store, refused};
use super::tls::{self, TlsMode};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use secrecy::ExposeSecret;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection};

/// The channel that the triggers of the migrations notify.
const CHANNEL: &str = "switchy_events";

/// After so long without a word, the connection is asked whether it is still there: a network that
/// forgot it says nothing either.
const SILENCE: Duration = Duration::from_secs(30);

/// Keeps a connection from being forgotten on the way.
const KEEPALIVE: Duration = Duration::from_secs(15);

type Messages = BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>;

/// Hears which sessions, users, keys and Spaces something happened to: `session:ID`, `user:ID`,
/// `key:ID`, `space:ID`.
pub struct Listener {
    client: Client,
    messages: Messages,
    heard: VecDeque<String>,
}

fn messages<S, T>(mut connection: Connection<S, T>) -> Messages
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    stream::poll_fn(move |cx| connection.poll_message(cx)).boxed()
}

fn gone() -> ConnectError {
    ConnectError::Refused("the connection was closed".into())
}

impl Listener {
    /// Connects and listens: what happens from here on is heard.
    pub async fn connect(store: &Store) -> Result<Listener, ConnectError> {
        let (mut config, mode) = tls::parse(store.url().expose_secret())?;
        config.keepalives_idle(KEEPALIVE);
        let connecting = async {
            let (client, messages) = match mode {
                TlsMode::Off => {
                    let opened = config.connect(tokio_postgres::NoTls).await;
                    let (client, connection) = opened.map_err(refused)?;
                    (client, messages(connection))
                }
                TlsMode::On(connector) => {
                    let opened = config.connect(*connector).await;
                    let (client, connection) = opened.map_err(refused)?;
                    (client, messages(connection))
                }
            };
            Ok(Listener { client, messages, heard: VecDeque::new() })
        };
        let mut listener = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectError::Refused("no answer within 10 seconds".into())))?;
        listener.run(&format!("SET ROLE {APP_ROLE}; LISTEN {CHANNEL}")).await?;
        Ok(listener)
    }

    /// The next thing that something happened to. After an error there is nothing more to hear.
    pub async fn next(&mut self) -> Result<String, ConnectError> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return Ok(heard);
            }
            match tokio::time::timeout(SILENCE, self.messages.next()).await {
                Ok(message) => self.hear(message)?,
                Err(_silence) => self.run("SELECT 1").await?,
            }
        }
    }

    fn hear(
        &mut self,
        message: Option<Result<AsyncMessage, tokio_postgres::Error>>,
    ) -> Result<(), ConnectError> {
        match message {
            Some(Ok(AsyncMessage::Notification(notice))) => {
                self.heard.push_back(notice.payload().to_owned());
                Ok(())
            }
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(refused(error)),
            None => Err(gone()),
        }
    }

    /// Runs statements, and hears what comes meanwhile.
    async fn run(&mut self, sql: &str) -> Result<(), ConnectError> {
        let mut meanwhile = Vec::new();
        let outcome = {
            let statements = self.client.batch_execute(sql);
            let statements = tokio::time::timeout(CONNECT_TIMEOUT, statements);
            tokio::pin!(statements);
            loop {
                tokio::select! {
                    outcome = &mut statements => break outcome,
                    message = self.messages.next() => {
                        let over = !matches!(message, Some(Ok(_)));
                        meanwhile.push(message);
                        if over {
                            break Ok(Ok(())); // what is over says so below
                        }
                    }
                }
            }
        };
        for message in meanwhile {
            self.hear(message)?;
        }
        match outcome {
            Ok(done) => done.map_err(refused),
            Err(_elapsed) => Err(gone()),
        }
    }
}
