//! One wildcard endpoint a method, which dispatches to the real routers.
//!
//! Dropshot answers an unknown route, a wrong method and a panic by itself, in a shape of its own.
//! Behind the gateway there is nothing left for it to answer: whatever happens below, the caller
//! gets the envelope of the dialect that its path is in, a deadline holds, and the log gets one line.

use super::Dialect;
use super::envelope::render;
use super::scope::{self, Answered, Scope};
use crate::auth::masked;
use crate::error::Error;
use dropshot::{
    ApiDescription, ApiDescriptionRegisterError, ApiEndpoint, ApiEndpointVersions, Body, HttpError,
    Path, RawRequest, RequestContext, ServerContext,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use slog::Logger;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest `X-Request-Id` of a client's own that is kept, in characters.
pub const MAX_REQUEST_ID: usize = 64;

/// How much of a path is repeated in a message or a log line, in characters: no route is as long.
const MAX_PATH_SHOWN: usize = 500;

/// Methods that clients are known to send. Any other one Dropshot answers by itself.
const METHODS: [&str; 12] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "QUERY",
    "PROPFIND", "LINK",
];

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Rest {
    #[expect(dead_code, reason = "the inner router takes the path apart again")]
    rest: Vec<String>,
}

/// What the gateway needs to know.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Longest time that a handler may take.
    pub deadline: Duration,
    /// Where the one line a request goes.
    pub log: Logger,
}

/// A handler that a router found, ready to run.
struct Found<C: ServerContext> {
    operation: String,
    run: Run<C>,
}

type Run<C> =
    Box<dyn FnOnce(RequestContext<C>, Request<Body>) -> BoxFuture<'static, Outcome> + Send>;
type Outcome = Result<Response<Body>, Answered>;
type Find<C> = Box<dyn Fn(&Method, &str) -> Result<Found<C>, HttpError> + Send + Sync>;

/// A router, behind a type that can be named: Dropshot does not export its own.
fn finder<C: ServerContext>(description: ApiDescription<C>) -> Find<C> {
    let router = description.into_router();
    Box::new(move |method, path| {
        let lookup = router.lookup_route(method, path.into(), None)?;
        Ok(Found {
            operation: lookup.endpoint.operation_id.clone(),
            run: Box::new(move |mut rqctx, request| {
                async move {
                    rqctx.endpoint = lookup.endpoint;
                    match lookup.handler.handle_request(rqctx, request).await {
                        Ok(response) => Ok(response),
                        // what the handler failed with was left on the side (see `Failure`); an
                        // extractor of Dropshot's own leaves nothing
                        Err(_cannot_be_named) => Err(scope::take_failure().unwrap_or_else(|| {
                            answered(&Error::Malformed("the request could not be read".into()))
                        })),
                    }
                }
                .boxed()
            }),
        })
    })
}

/// Mounts `inner` below the gateway.
///
/// The descriptions are asked in turn: Dropshot refuses a literal beside a variable at one place
/// (`/memory/search` beside `/memory/{memoryId}`), so such literals live in a description of their
/// own, which comes first.
pub fn gateway<C: ServerContext>(
    inner: impl IntoIterator<Item = ApiDescription<C>>,
    config: &GatewayConfig,
) -> Result<ApiDescription<C>, ApiDescriptionRegisterError> {
    let routers: Arc<Vec<Find<C>>> = Arc::new(inner.into_iter().map(finder).collect());
    let mut outer = ApiDescription::new();
    for name in METHODS {
        let Ok(method) = Method::from_bytes(name.as_bytes()) else { continue };
        let routers = Arc::clone(&routers);
        let config = config.clone();
        let endpoint = ApiEndpoint::new(
            format!("gateway_{}", name.to_lowercase()),
            move |rqctx: RequestContext<C>, _path: Path<Rest>, raw: RawRequest| {
                let routers = Arc::clone(&routers);
                let config = config.clone();
                async move { Ok::<_, HttpError>(answer(&routers, &config, rqctx, raw).await) }
            },
            method,
            "application/json",
            "/{rest:.*}",
            ApiEndpointVersions::All,
        )
        .visible(false);
        outer.register(endpoint)?;
    }
    Ok(outer)
}

/// One request, from its first byte below Dropshot to its complete answer.
async fn answer<C: ServerContext>(
    routers: &[Find<C>],
    config: &GatewayConfig,
    mut rqctx: RequestContext<C>,
    raw: RawRequest,
) -> Response<Body> {
    let started = Instant::now();
    let mut request = raw.into_inner();
    let method = request.method().clone();
    if method == Method::HEAD {
        *request.method_mut() = Method::GET; // HEAD answers as GET, without the body
    }
    // Dropshot puts its own id into the header of every answer, after everything that is ours; so
    // the log must have both, or the header would lead nowhere.
    let header_id = well_formed_request_id(request.headers())
        .map(|own| std::mem::replace(&mut rqctx.request_id, own));
    let path = request.uri().path().to_owned();
    let scope =
        Scope::new(rqctx.request_id.clone(), Dialect::of(&path)).until(started + config.deadline);
    scope::enter(scope, async move {
        let found = find(routers, request.method(), &path, &method);
        let operation = found.as_ref().ok().map(|f| f.operation.clone());
        let outcome = match found {
            Err(refusal) => Err(answered(&refusal)),
            Ok(found) => run(found.run, rqctx, request, config.deadline).await,
        };
        let (mut response, cause) = match outcome {
            Ok(response) => (response, scope::cause()),
            Err(Answered { response, cause }) => (response, Some(cause)),
        };
        response.headers_mut().extend(scope::take_headers());
        // answers depend on who asks: no cache may keep them
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().entry(header::CACHE_CONTROL).or_insert(no_store);
        let line = Line { method: &method, path: &path, operation, header_id, cause, started };
        log_line(&config.log, &line, &response);
        if method == Method::HEAD { without_body(response) } else { response }
    })
    .await
}

/// The first router that knows the route wins; else the last refusal, a 405 over a 404.
fn find<C: ServerContext>(
    routers: &[Find<C>],
    method: &Method,
    path: &str,
    asked: &Method,
) -> Result<Found<C>, Error> {
    let mut allow = Vec::new();
    for router in routers {
        match router(method, path) {
            Ok(found) => return Ok(found),
            Err(refusal) if refusal.status_code.as_u16() == 405 => {
                let headers = refusal.headers.unwrap_or_default();
                let methods = headers.get_all(header::ALLOW).into_iter();
                allow.extend(methods.filter_map(|v| v.to_str().ok().map(str::to_owned)));
            }
            Err(refusal) if refusal.status_code.as_u16() == 400 => {
                return Err(Error::Malformed("the path is not validly encoded".into()));
            }
            Err(_) => {}
        }
    }
    if allow.is_empty() {
        let path: String = path.chars().take(MAX_PATH_SHOWN).collect();
        return Err(Error::NotFound(format!("no such route: {asked} {path}").into()));
    }
    if allow.iter().any(|m| m == "GET") {
        allow.push("HEAD".into());
    }
    allow.sort();
    allow.dedup();
    Err(Error::MethodNotAllowed { method: asked.to_string(), allow: allow.join(", ") })
}

/// Runs a handler under the deadline, and survives its panic.
async fn run<C: ServerContext>(
    run: Run<C>,
    rqctx: RequestContext<C>,
    request: Request<Body>,
    deadline: Duration,
) -> Outcome {
    let handler = AssertUnwindSafe(run(rqctx, request)).catch_unwind();
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
    let id = headers.get("x-request-id")?.to_str().ok()?;
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
    /// What the answer's `X-Request-Id` says, when the client brought an id of its own.
    header_id: Option<String>,
    cause: Option<String>,
    started: Instant,
}

fn log_line(log: &Logger, line: &Line<'_>, response: &Response<Body>) {
    let status = response.status().as_u16();
    let mut log = log.new(slog::o!(
        "method" => line.method.to_string(),
        // somebody may put his key into the URL
        "path" => masked(line.path).chars().take(MAX_PATH_SHOWN).collect::<String>(),
        "status" => status,
        "ms" => format!("{:.1}", line.started.elapsed().as_secs_f64() * 1e3),
        "request_id" => scope::request_id(),
        "round_trips" => crate::trips::so_far(),
    ));
    if let Some(header_id) = &line.header_id {
        log = log.new(slog::o!("header_id" => header_id.clone()));
    }
    if let Some(operation) = &line.operation {
        log = log.new(slog::o!("operation" => operation.clone()));
    }
    if let Some(key_id) = scope::caller() {
        log = log.new(slog::o!("key_id" => key_id));
    }
    if let Some(actor) = scope::actor() {
        log = log.new(slog::o!("actor" => actor));
    }
    if let Some(call) = scope::call() {
        log = log.new(slog::o!("call" => call));
    }
    if let Some(cause) = &line.cause {
        log = log.new(slog::o!("error" => masked(cause).into_owned()));
    }
    match status {
        500 => slog::error!(log, "request"),
        502..=504 => slog::warn!(log, "request"),
        _ => slog::info!(log, "request"),
    }
}
