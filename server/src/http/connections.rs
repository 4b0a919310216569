//! Connections: how many there may be, whose, and how long one may do nothing.
//!
//! Idle and slow connections are closed, and connections beyond the limit get a 503 with
//! `Retry-After`. So what strangers can make the server hold is bounded, and it needs no restart when
//! they are gone.

use super::envelope::render;
use super::gateway::Known;
use super::paced::Paced;
use super::seats::Seats;
use crate::error::Error;
use bytes::Bytes;
use dropshot::Body;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use slog::Logger;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

/// Most connections that are served at once: more than there may be open streams.
pub const MAX_CONNECTIONS: usize = 12_000;

/// How long a new connection may take for its TLS handshake and the head of its first request.
pub const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// How long a connection may stay open between requests: longer than the proxies and clients that
/// are in use keep one, so that it is them who close it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The same for connections that never showed a valid key, when few more can be served.
pub const STRANGER_KEEP_ALIVE: Duration = Duration::from_secs(3);

/// How long a body may take for its first bytes.
pub const FIRST_BYTES: Duration = Duration::from_secs(10);

/// How long a peer may keep the server waiting in all before it reads its answer.
pub const READ_PATIENCE: Duration = Duration::from_secs(20);

/// Most bytes of requests' bodies that are held in memory at once. An address may have half of it, a
/// key one eighth.
pub const ALL_BODIES: usize = 256 * 1024 * 1024;

/// Most bytes of answers that are held in memory until they are read; shared out likewise.
pub const ALL_ANSWERS: usize = 256 * 1024 * 1024;

/// Most bytes of a request's target and headers.
pub const MAX_HEAD: usize = 64 * 1024;

/// Most requests that run at once on one connection of HTTP/2.
const MAX_HTTP2_STREAMS: u32 = 128;

/// Most connections beyond the limit that are told so; others are closed without a word.
const REFUSALS: usize = 256;

/// How long such a connection may take.
const REFUSAL: Duration = Duration::from_secs(2);

/// How long a connection that is asked to end may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long nothing is accepted after the system refused to: it is out of file descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// For how long the system keeps what it sent to a peer that does not confirm it.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// See [`MAX_CONNECTIONS`].
    pub most: usize,
    /// See [`FIRST_REQUEST`].
    pub first_request: Duration,
    /// See [`KEEP_ALIVE`].
    pub keep_alive: Duration,
    /// See [`STRANGER_KEEP_ALIVE`].
    pub stranger_keep_alive: Duration,
    /// See [`FIRST_BYTES`].
    pub first_bytes: Duration,
    /// See [`READ_PATIENCE`].
    pub read_patience: Duration,
    /// See [`ALL_BODIES`].
    pub all_bodies: usize,
    /// See [`ALL_ANSWERS`].
    pub all_answers: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            most: MAX_CONNECTIONS,
            first_request: FIRST_REQUEST,
            keep_alive: KEEP_ALIVE,
            stranger_keep_alive: STRANGER_KEEP_ALIVE,
            first_bytes: FIRST_BYTES,
            read_patience: READ_PATIENCE,
            all_bodies: ALL_BODIES,
            all_answers: ALL_ANSWERS,
        }
    }
}

/// Answers one request of the peer at an address.
pub type Respond =
    Arc<dyn Fn(Request<Incoming>, SocketAddr) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Accepts connections and serves them.
pub struct Connections {
    /// Where they come in.
    pub listener: TcpListener,
    /// With TLS, if so.
    pub tls: Option<TlsAcceptor>,
    /// What they may cost.
    pub limits: ConnectionLimits,
    /// What they ask.
    pub respond: Respond,
    /// Where the log goes.
    pub log: Logger,
}

impl Connections {
    /// Serves until told to stop; then until every connection has ended its running requests.
    /// Dropped, it closes all connections at once.
    pub async fn serve(self, mut stop: oneshot::Receiver<()>) {
        let seats = Seats::of(self.limits.most);
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        let refuse: Respond = Arc::new(|_, _| Box::pin(async { full() }));
        let stopping = watch::Sender::new(false);
        let mut open = JoinSet::new();
        let mut is_full = false;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_ended) = open.join_next() => continue,
                // also when nobody is left who could tell
                _ = &mut stop => break,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.not_accepted(&error).await;
                    continue;
                }
            };
            let (seat, respond, first_request) = match seats.take(remote.ip()) {
                Some(seat) => {
                    is_full = false;
                    (Ok(seat), Arc::clone(&self.respond), self.limits.first_request)
                }
                None => {
                    // one line, however many come
                    if !std::mem::replace(&mut is_full, true) {
                        slog::warn!(self.log, "too many connections: new ones are refused";
                            "limit" => self.limits.most);
                    }
                    let Ok(place) = Arc::clone(&refusals).try_acquire_owned() else { continue };
                    (Err(place), Arc::clone(&refuse), REFUSAL)
                }
            };
            prepare(&stream);
            let stream = Paced::new(stream, self.limits.read_patience);
            let timing = Timing::new(first_request, self.limits, seats.few());
            let connection = Connection { remote, respond, timing, stopping: stopping.subscribe() };
            let tls = self.tls.clone();
            open.spawn(async move {
                match tls {
                    None => connection.serve(stream).await,
                    Some(tls) => {
                        // a handshake that fails or takes too long is the peer's own affair
                        if let Ok(Ok(stream)) = timeout(first_request, tls.accept(stream)).await {
                            connection.serve(stream).await;
                        }
                    }
                }
                drop(seat);
            });
        }
        drop(self.listener);
        stopping.send_replace(true);
        while open.join_next().await.is_some() {}
    }

    async fn not_accepted(&self, error: &std::io::Error) {
        // these concern the one connection
        let gone = [
            ErrorKind::ConnectionRefused,
            ErrorKind::ConnectionAborted,
            ErrorKind::ConnectionReset,
        ];
        if !gone.contains(&error.kind()) {
            slog::warn!(self.log, "no connection can be accepted"; "error" => %error);
            sleep(EXHAUSTED).await;
        }
    }
}

fn prepare(stream: &TcpStream) {
    // Answers are written at once. Neither this nor what follows is worth a failure.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    {
        use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
        let most = u32::try_from(UNCONFIRMED.as_millis()).unwrap_or(u32::MAX);
        let _ = setsockopt(stream, TcpUserTimeout, &most);
    }
}

/// What a connection beyond the limit is answered.
fn full() -> Response<Body> {
    let mut response =
        render(&Error::unavailable("the server is overloaded: there are too many connections"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// When a connection must end.
struct Timing {
    state: Mutex<State>,
    limits: ConnectionLimits,
    /// Whether few connections more can be served.
    few_left: watch::Receiver<bool>,
}

struct State {
    /// Requests whose answers are not complete.
    running: usize,
    /// Since when nothing runs.
    since: Instant,
    /// How long that may last.
    patience: Duration,
    /// Nobody has shown a valid key on it.
    is_stranger: bool,
}

impl Timing {
    fn new(
        first_request: Duration,
        limits: ConnectionLimits,
        few_left: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let state =
            State { running: 0, since: Instant::now(), patience: first_request, is_stranger: true };
        Arc::new(Timing { state: Mutex::new(state), limits, few_left })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins, and runs until the guard is dropped.
    fn request(self: &Arc<Self>) -> Running {
        self.state().running += 1;
        Running(Arc::clone(self))
    }

    /// Somebody has shown a valid key.
    fn is_known(&self) {
        self.state().is_stranger = false;
    }

    fn is_idle(&self) -> bool {
        self.state().running == 0
    }

    /// Waits until nothing has run for too long.
    async fn expired(&self) {
        let mut few_left = self.few_left.clone();
        loop {
            let until = {
                let state = self.state();
                let patience = match *few_left.borrow_and_update() && state.is_stranger {
                    true => state.patience.min(self.limits.stranger_keep_alive),
                    false => state.patience,
                };
                let now = Instant::now();
                match state.running {
                    0 if state.since + patience <= now => return,
                    0 => state.since + patience,
                    // it ends later than this
                    _ => now + patience,
                }
            };
            tokio::select! {
                () = sleep_until(until) => {}
                // when nobody tells any more, nothing changes
                Ok(()) = few_left.changed() => {}
            }
        }
    }
}

/// A request whose answer is not complete.
struct Running(Arc<Timing>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        state.since = Instant::now();
        state.patience = self.0.limits.keep_alive;
    }
}

struct Connection {
    remote: SocketAddr,
    respond: Respond,
    timing: Arc<Timing>,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Connection { remote, respond, timing, mut stopping } = self;
        let requests = Arc::clone(&timing);
        let service = service_fn(move |request| {
            let running = requests.request();
            let answer = respond(request, remote);
            async move {
                let answer = answer.await;
                if answer.extensions().get::<Known>().is_some() {
                    running.0.is_known();
                }
                Ok::<_, Infallible>(answer.map(|body| Held { body, _running: running }))
            }
        });
        let mut builder = Builder::new(TokioExecutor::new());
        // how long a head may take is watched here, from before its first byte
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // how a connection breaks off concerns nobody
        tokio::select! {
            _ = connection.as_mut() => return,
            () = timing.expired() => {}
            // the server is going, when there is nobody to tell any more
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        let idle = async {
            while !timing.is_idle() {
                sleep(GOODBYE).await;
            }
            sleep(GOODBYE).await;
        };
        tokio::select! {
            _ = connection => {}
            () = idle => {}
        }
    }
}

/// The body of an answer, whose request runs until it is dropped.
struct Held {
    body: Body,
    _running: Running,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
