//! What every request passes before it reaches the router that knows its route.
//!
//! Dropshot answers an unknown route, a wrong method and a panic by itself, in a shape of its own.
//! Behind the gateway there is nothing left for it to answer: whatever happens below, the caller
//! gets the envelope of the dialect that its path is in, a deadline holds, and the log gets one line.

use super::Dialect;
use super::compression::{accepts_gzip, compressed};
use super::contexts::Contexts;
use super::envelope::{NO_SNIFF, render};
use super::metered::{Meter, held};
use super::request_state::{self, Answered, RequestState};
use super::shares::Shares;
use crate::error::Error;
use dropshot::{ApiDescription, Body, HttpError, ServerContext};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use slog::Logger;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

/// Longest `X-Request-Id` of a client's own that is kept, in characters.
pub const MAX_REQUEST_ID: usize = 64;

/// How much of a path is repeated in a message or a log line, in characters: no route is as long.
const MAX_PATH_SHOWN: usize = 500;

/// The header that carries a request's id, both ways.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the gateway needs to know.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Longest time that a handler may take.
    pub deadline: Duration,
    /// Largest body that is read, in bytes.
    pub max_body: usize,
    /// How long a body may take for its first bytes.
    pub first_bytes: Duration,
    /// Most bytes of requests' bodies that are held at once.
    pub all_bodies: usize,
    /// Most bytes of answers that are held at once.
    pub all_answers: usize,
    /// Where the one line a request goes.
    pub log: Logger,
}

/// The API's handlers could not be mounted; a defect, or no loopback interface.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MountError(String);

/// A handler that a router found, ready to run.
struct Found<C: ServerContext> {
    operation: String,
    run: Run<C>,
}

type Run<C> = Box<
    dyn for<'a> FnOnce(&'a Contexts<C>, SocketAddr, String, Request<Body>) -> BoxFuture<'a, Outcome>
        + Send,
>;
type Outcome = Result<Response<Body>, Answered>;
type Find<C> = Box<dyn Fn(&Method, &str) -> Result<Found<C>, HttpError> + Send + Sync>;

/// A router, behind a type that can be named: Dropshot does not export its own.
fn finder<C: ServerContext>(description: ApiDescription<C>) -> Find<C> {
    let router = description.into_router();
    Box::new(move |method, path| {
        let lookup = router.lookup_route(method, path.into(), None)?;
        Ok(Found {
            operation: lookup.endpoint.operation_id.clone(),
            run: Box::new(move |contexts, remote, id, request| {
                async move {
                    let context = contexts.next(&request, remote, id, lookup.endpoint).await;
                    let Some(context) = context else {
                        return Err(answered(&Error::unavailable("the server is overloaded")));
                    };
                    match lookup.handler.handle_request(context, request).await {
                        Ok(response) => Ok(response),
                        // what the handler failed with was left on the side (see `Failure`); an
                        // extractor of Dropshot's own leaves nothing
                        Err(_cannot_be_named) => {
                            Err(request_state::take_failure().unwrap_or_else(|| {
                                answered(&Error::Malformed("the request could not be read".into()))
                            }))
                        }
                    }
                }
                .boxed()
            }),
        })
    })
}

/// Answers every request, whatever it is.
pub struct Gateway<C: ServerContext> {
    routers: Vec<Find<C>>,
    contexts: Contexts<C>,
    bodies: Shares,
    answers: Shares,
    /// Requests that are being answered.
    running: TaskTracker,
    config: GatewayConfig,
}

impl<C: ServerContext> Gateway<C> {
    /// Mounts `inner`, whose handlers share `private`.
    ///
    /// The descriptions are asked in turn: Dropshot refuses a literal beside a variable at one place
    /// (`/memory/search` beside `/memory/{memoryId}`), so such literals live in a description of
    /// their own, which comes first.
    pub async fn mount(
        inner: impl IntoIterator<Item = ApiDescription<C>>,
        private: C,
        config: GatewayConfig,
    ) -> Result<Self, MountError>
    where
        C: Clone,
    {
        Ok(Gateway {
            routers: inner.into_iter().map(finder).collect(),
            contexts: Contexts::around(private, config.max_body).await.map_err(MountError)?,
            bodies: Shares::of(config.all_bodies),
            answers: Shares::of(config.all_answers),
            running: TaskTracker::new(),
            config,
        })
    }

    /// Answers a request. A client that hangs up must not leave half of an operation undone: what
    /// has begun goes on without it.
    pub async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        remote: SocketAddr,
    ) -> Response<Body> {
        let gateway = Arc::clone(&self);
        let answer = async move { gateway.answer(request, remote).await };
        self.running.spawn(answer).await.unwrap_or_else(|lost| {
            let error = Error::internal(lost);
            slog::error!(self.config.log, "request"; "error" => error.chain());
            render(&error)
        })
    }

    /// Waits until nothing runs any more; to be called when nothing more comes.
    pub async fn ended(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// One request, from its first byte to its complete answer.
    async fn answer(&self, request: Request<Incoming>, remote: SocketAddr) -> Response<Body> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let (body, meter) = Meter::of(&self.bodies, remote.ip(), self.config.first_bytes, body);
        let mut request = Request::from_parts(head, body);
        let method = request.method().clone();
        if method == Method::HEAD {
            *request.method_mut() = Method::GET; // HEAD answers as GET, without the body
        }
        let id = well_formed_request_id(request.headers())
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let gzip = method != Method::HEAD && accepts_gzip(request.headers());
        let path = request.uri().path().to_owned();
        let deadline = self.config.deadline;
        let state = RequestState::new(id.clone(), Dialect::of(&path)).until(started + deadline);
        request_state::enter(state, async move {
            let found = find(&self.routers, request.method(), &path, &method);
            let operation = found.as_ref().ok().map(|f| f.operation.clone());
            let awaits_leave = request.headers().contains_key(header::EXPECT);
            let outcome = match found.and_then(|found| Ok((found, unambiguous(request)?))) {
                Err(refusal) => Err(answered(&refusal)),
                Ok((found, request)) => {
                    let context = (&self.contexts, remote, id.clone());
                    run(found.run, context, request, deadline).await
                }
            };
            let outcome = match meter.failure() {
                Some(failure) => Err(answered(&failure)),
                None => outcome,
            };
            // who waits to be told to send the body is answered instead
            if !awaits_leave {
                meter.drain(self.config.max_body);
            }
            let (response, cause) = match outcome {
                Ok(response) => (response, request_state::cause()),
                Err(Answered { response, cause }) => (response, Some(cause)),
            };
            let response = compressed(response, gzip).await;
            let (mut response, cause) = match method {
                Method::HEAD => (without_body(response), cause),
                _ => match self.held(response, remote) {
                    Ok(response) => (response, cause),
                    Err(error) => (render(&error), Some(error.chain())),
                },
            };
            response.headers_mut().extend(request_state::take_headers());
            // answers depend on who asks: no cache may keep them
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
            response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NO_SNIFF);
            if let Ok(id) = HeaderValue::try_from(id) {
                response.headers_mut().insert(REQUEST_ID, id);
            }
            let line = Line { method: &method, path: &path, operation, cause, started };
            log_line(&self.config.log, &line, &response);
            if request_state::caller().is_some() {
                response.extensions_mut().insert(Known);
            }
            response
        })
        .await
    }
}

/// Marks an answer to somebody whose key was valid; for those who watch the connection.
#[derive(Clone, Copy, Debug)]
pub struct Known;

impl<C: ServerContext> Gateway<C> {
    /// The answer with its share of memory, or that there is none.
    fn held(&self, response: Response<Body>, remote: SocketAddr) -> Result<Response<Body>, Error> {
        let (head, body) = response.into_parts();
        let body = held(&self.answers, remote.ip(), body)?;
        Ok(Response::from_parts(head, body))
    }
}

/// Headers that say who asks whom: with two of one, two programs may read two different things.
const ONCE: [&str; 3] = ["host", "authorization", "x-api-key"];

/// The request, unless it has one of [`ONCE`] twice.
fn unambiguous(request: Request<Body>) -> Result<Request<Body>, Error> {
    for name in ONCE {
        if request.headers().get_all(name).iter().nth(1).is_some() {
            return Err(Error::Malformed(format!("the header `{name}` must be sent once").into()));
        }
    }
    Ok(request)
}

/// The first router that knows the path decides.
fn find<C: ServerContext>(
    routers: &[Find<C>],
    method: &Method,
    path: &str,
    asked: &Method,
) -> Result<Found<C>, Error> {
    for router in routers {
        match router(method, path) {
            Ok(found) => return Ok(found),
            Err(refusal) if refusal.status_code.as_u16() == 405 => {
                let headers = refusal.headers.unwrap_or_default();
                let methods = headers.get_all(header::ALLOW).into_iter();
                let mut allow: Vec<_> =
                    methods.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect();
                if allow.iter().any(|m| m == "GET") {
                    allow.push("HEAD".into());
                }
                allow.sort();
                allow.dedup();
                let method = asked.to_string();
                return Err(Error::MethodNotAllowed { method, allow: allow.join(", ") });
            }
            Err(refusal) if refusal.status_code.as_u16() == 400 => {
                return Err(Error::Malformed("the path is not validly encoded".into()));
            }
            Err(_) => {}
        }
    }
    let path: String = path.chars().take(MAX_PATH_SHOWN).collect();
    Err(Error::NotFound(format!("no such route: {asked} {path}").into()))
}

/// Runs a handler under the deadline, and survives its panic.
async fn run<C: ServerContext>(
    run: Run<C>,
    (contexts, remote, id): (&Contexts<C>, SocketAddr, String),
    request: Request<Body>,
    deadline: Duration,
) -> Outcome {
    let handler = AssertUnwindSafe(run(contexts, remote, id, request)).catch_unwind();
    match tokio::time::timeout(deadline, handler).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let said = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            Err(answered(&Error::internal(format!("panic: {said}"))))
        }
        Err(_elapsed) => {
            Err(answered(&Error::unavailable("the request took longer than its deadline")))
        }
    }
}

fn answered(error: &Error) -> Answered {
    Answered { response: render(error), cause: error.chain() }
}

/// A client's own request id, if it is 1 to 64 of `[A-Za-z0-9._-]`, and no key by mistake.
fn well_formed_request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let well_formed = (1..=MAX_REQUEST_ID).contains(&id.len())
        && id.bytes().all(allowed)
        && !id.contains(crate::auth::key::PREFIX);
    well_formed.then(|| id.to_owned())
}

/// The same answer as to GET, length included.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    use hyper::body::Body as _;
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
    response
}

struct Line<'a> {
    method: &'a Method,
    path: &'a str,
    operation: Option<String>,
    cause: Option<String>,
    started: Instant,
}

fn log_line(log: &Logger, line: &Line<'_>, response: &Response<Body>) {
    let status = response.status().as_u16();
    let mut log = log.new(slog::o!(
        "method" => line.method.to_string(),
        // what others chose is cleaned where lines are made
        "path" => line.path.chars().take(MAX_PATH_SHOWN).collect::<String>(),
        "status" => status,
        "ms" => format!("{:.1}", line.started.elapsed().as_secs_f64() * 1e3),
        "request_id" => request_state::request_id(),
        "round_trips" => crate::round_trips::so_far(),
    ));
    if let Some(operation) = &line.operation {
        log = log.new(slog::o!("operation" => operation.clone()));
    }
    if let Some(key_id) = request_state::caller() {
        log = log.new(slog::o!("key_id" => key_id));
    }
    if let Some(actor) = request_state::actor() {
        log = log.new(slog::o!("actor" => actor));
    }
    if let Some(call) = request_state::call() {
        log = log.new(slog::o!("call" => call));
    }
    if let Some(cause) = &line.cause {
        log = log.new(slog::o!("error" => cause.clone()));
    }
    match status {
        500 => slog::error!(log, "request"),
        502..=504 => slog::warn!(log, "request"),
        _ => slog::info!(log, "request"),
    }
}
