//! Whatever a handler does, the answer is the envelope of the dialect that its path is in.

use dropshot::{ApiDescription, HttpResponseOk, Path, RequestContext, endpoint};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use slog::{Discard, Logger, o};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use switchy_server::error::Error;
use switchy_server::http::connections::{ConnectionLimits, Connections, Respond};
use switchy_server::http::gateway::{Gateway, GatewayConfig};
use switchy_server::http::{CanonicalFailure, Failure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[derive(Deserialize, JsonSchema)]
struct Trouble {
    kind: String,
}

/// Does what the path says.
async fn trouble(kind: &str) -> Error {
    match kind {
        "panic" => panic!("as asked"),
        "sleep" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Error::internal("slept")
        }
        "failed" => Error::Upstream { message: "it failed".into(), timed_out: false },
        "slow" => Error::Upstream { message: "it was slow".into(), timed_out: true },
        _ => Error::internal("a secret"),
    }
}

#[endpoint { method = GET, path = "/api/trouble/{kind}" }]
async fn of_switchy(
    _ctx: RequestContext<()>,
    path: Path<Trouble>,
) -> Result<HttpResponseOk<String>, Failure> {
    Err(trouble(&path.into_inner().kind).await.into())
}

#[endpoint { method = GET, path = "/api/v1/org/{kind}" }]
async fn of_save_session(
    _ctx: RequestContext<()>,
    path: Path<Trouble>,
) -> Result<HttpResponseOk<String>, CanonicalFailure> {
    Err(trouble(&path.into_inner().kind).await.into())
}

/// A gateway before both, and where it listens.
async fn serve() -> SocketAddr {
    let mut api = ApiDescription::new();
    api.register(of_switchy).expect("an endpoint");
    api.register(of_save_session).expect("an endpoint");
    let log = Logger::root(Discard, o!());
    let config = GatewayConfig {
        deadline: Duration::from_millis(200),
        max_body: 1_024,
        first_bytes: Duration::from_secs(10),
        all_bodies: 1_024 * 1_024,
        all_answers: 1_024 * 1_024,
        log: log.clone(),
    };
    let gateway = Arc::new(Gateway::mount([api], (), config).await.expect("a gateway"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let respond: Respond =
        Arc::new(move |request, remote| Box::pin(Arc::clone(&gateway).respond(request, remote)));
    let limits = ConnectionLimits::default();
    tokio::spawn(async move {
        let (_stop, stopped) = oneshot::channel();
        Connections { listener, tls: None, limits, respond, log }.serve(stopped).await;
    });
    address
}

/// Status and body of an answer, and its head.
async fn ask(server: SocketAddr, method: &str, path: &str) -> (u16, Value, String) {
    let mut connection = TcpStream::connect(server).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let body = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    (status, body, head.to_lowercase())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trouble_has_the_status_and_the_words_of_its_dialect() {
    let server = serve().await;
    for (kind, switchy, save_session, name) in [
        ("panic", 500, 500, "internal_error"),
        ("bug", 500, 500, "internal_error"),
        ("sleep", 503, 503, "service_unavailable"),
        ("failed", 500, 502, "bad_gateway"),
        ("slow", 500, 504, "gateway_timeout"),
    ] {
        let (status, body, _) = ask(server, "GET", &format!("/api/trouble/{kind}")).await;
        assert_eq!(status, switchy, "{kind}: {body}");
        assert_eq!(body["error"]["code"], "INTERNAL_ERROR", "{kind}");

        let (status, body, head) = ask(server, "GET", &format!("/api/v1/org/{kind}")).await;
        assert_eq!(status, save_session, "{kind}: {body}");
        assert_eq!(head.contains("retry-after"), status == 503, "{kind}");
        let detail = body["detail"].clone();
        assert_eq!(body, json!({ "code": status, "detail": detail, "type": name }), "{kind}");
        assert!(!detail.as_str().expect("a sentence").contains("secret"), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_route_takes_is_refused_in_the_dialect_of_its_path() {
    let server = serve().await;
    for (method, path, status, name) in [
        ("GET", "/api/v1/org/a/b/c", 404, "not_found"),
        ("GET", "//api//v1/org/a/b", 404, "not_found"),
        ("GET", "/api/v1/%6Frg/a/b", 404, "not_found"),
        ("POST", "/api/v1/org/x", 405, "method_not_allowed"),
        ("POST", "/api/v1/%6frg/x", 405, "method_not_allowed"),
        ("PROPFIND", "/api/v1/org/x", 405, "method_not_allowed"),
    ] {
        let (answered, body, head) = ask(server, method, path).await;
        assert_eq!(answered, status, "{method} {path}: {body}");
        let detail = body["detail"].clone();
        assert_eq!(body, json!({ "code": status, "detail": detail, "type": name }), "{path}");
        assert_eq!(head.contains("allow: get, head"), status == 405, "{head}");
    }
    for path in ["/api/v1/org", "/api/v1/orgs/x", "/api/v1", "/api/v2/org/x"] {
        let (status, body, _) = ask(server, "GET", path).await;
        assert_eq!((status, &body["error"]["code"]), (404, &json!("NOT_FOUND")), "{path}");
    }
}
