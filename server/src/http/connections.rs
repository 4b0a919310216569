//! Connections: how many there may be, and how long one may do nothing.
//!
//! Who connects and says nothing, or says it very slowly, is disconnected; who comes when there are
//! too many connections is told so and to come back later. So what strangers can make the server
//! hold is bounded, and it needs no restart when they are gone.

use super::envelope::render;
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

/// Most bytes of requests' bodies that are held in memory at once.
pub const ALL_BODIES: usize = 256 * 1024 * 1024;

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
    /// See [`ALL_BODIES`].
    pub all_bodies: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            most: MAX_CONNECTIONS,
            first_request: FIRST_REQUEST,
            keep_alive: KEEP_ALIVE,
            all_bodies: ALL_BODIES,
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
        let seats = Arc::new(Semaphore::new(self.limits.most.clamp(1, Semaphore::MAX_PERMITS)));
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
            let (seat, respond, first_request) = match Arc::clone(&seats).try_acquire_owned() {
                Ok(seat) => {
                    is_full = false;
                    (seat, Arc::clone(&self.respond), self.limits.first_request)
                }
                Err(_) => {
                    // one line, however many come
                    if !std::mem::replace(&mut is_full, true) {
                        slog::warn!(self.log, "too many connections: new ones are refused";
                            "limit" => self.limits.most);
                    }
                    let Ok(seat) = Arc::clone(&refusals).try_acquire_owned() else { continue };
                    (seat, Arc::clone(&refuse), REFUSAL)
                }
            };
            prepare(&stream);
            let timing = Timing::new(first_request, self.limits.keep_alive);
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
    keep_alive: Duration,
}

struct State {
    /// Requests whose answers are not complete.
    running: usize,
    /// While nothing runs.
    until: Instant,
}

impl Timing {
    fn new(first_request: Duration, keep_alive: Duration) -> Arc<Self> {
        let state = State { running: 0, until: Instant::now() + first_request };
        Arc::new(Timing { state: Mutex::new(state), keep_alive })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins, and runs until the guard is dropped.
    fn request(self: &Arc<Self>) -> Running {
        self.state().running += 1;
        Running(Arc::clone(self))
    }

    fn is_idle(&self) -> bool {
        self.state().running == 0
    }

    /// Waits until nothing has run for too long.
    async fn expired(&self) {
        loop {
            let until = {
                let state = self.state();
                let now = Instant::now();
                match state.running {
                    0 if state.until <= now => return,
                    0 => state.until,
                    // it ends later than this
                    _ => now + self.keep_alive,
                }
            };
            sleep_until(until).await;
        }
    }
}

/// A request whose answer is not complete.
struct Running(Arc<Timing>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        state.until = Instant::now() + self.0.keep_alive;
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
                let held = |body| Held { body, _running: running };
                Ok::<_, Infallible>(answer.await.map(held))
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
