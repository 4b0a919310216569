//! What Dropshot's handlers are called with.
//!
//! A `RequestContext` is made by Dropshot's own server alone, one for each request that it accepts;
//! there is no other way to one, not even by copying. But we accept connections ourselves (see
//! [`super::connections`]). So Dropshot's server runs on a loopback port, at a path that nobody is
//! told of, where the smallest of requests get contexts out of it ahead of need. Each is filled in
//! with the request that it is then used for.

use dropshot::{
    ApiDescription, ApiDescriptionRegisterError, ApiEndpoint, ApiEndpointVersions, Body,
    CompressionConfig, ConfigDropshot, HandlerTaskMode, HttpError, HttpResponseUpdatedNoContent,
    HttpServer, RequestContext, RequestEndpointMetadata, RequestInfo, ServerBuilder, ServerContext,
};
use http::Request;
use slog::Logger;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Contexts that are kept ready.
const STOCK: usize = 64;

/// How few are left when new ones are made, many at a time: one by one, each would cost several
/// switches between threads, in the midst of a request.
const LOW: usize = 16;

/// Requests that are sent at once for them.
const BATCH: usize = 16;

/// How much of the requests the kernel keeps while nobody takes them, in bytes.
const UNSENT: u32 = 4096;

/// Before the connection to Dropshot's server is made again, should it ever break.
const RECONNECT: Duration = Duration::from_millis(50);

/// How long the first context may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is ready.
struct Stock<C: ServerContext> {
    contexts: Mutex<Vec<RequestContext<C>>>,
    /// There is one.
    filled: Notify,
    /// There are few.
    low: Notify,
}

impl<C: ServerContext> Stock<C> {
    fn empty() -> Self {
        let contexts = Mutex::new(Vec::with_capacity(STOCK));
        Stock { contexts, filled: Notify::new(), low: Notify::new() }
    }

    fn contexts(&self) -> MutexGuard<'_, Vec<RequestContext<C>>> {
        // nothing is left half-done by a push or a pop
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one in. Returns when another is wanted.
    async fn put(&self, context: RequestContext<C>) {
        let full = {
            let mut contexts = self.contexts();
            contexts.push(context);
            contexts.len() >= STOCK
        };
        self.filled.notify_one();
        if full {
            self.low.notified().await;
        }
    }

    /// Takes one out, when there is one. Whoever waits is woken by what is put in: while somebody
    /// waits, the stock is not full.
    async fn take(&self) -> RequestContext<C> {
        loop {
            {
                let mut contexts = self.contexts();
                let context = contexts.pop();
                if contexts.len() <= LOW {
                    self.low.notify_one();
                }
                if let Some(context) = context {
                    return context;
                }
            }
            self.filled.notified().await;
        }
    }
}

/// Contexts of handlers that share one `C`.
pub(super) struct Contexts<C: ServerContext> {
    stock: Arc<Stock<C>>,
    refill: JoinHandle<()>,
    _server: HttpServer<C>,
}

impl<C: ServerContext> Contexts<C> {
    /// Contexts around `private`. Bodies of more than `max_body` bytes are not read.
    pub(super) async fn around(private: C, max_body: usize) -> Result<Self, String> {
        let stock = Arc::new(Stock::empty());
        let path = format!("/{}", uuid::Uuid::new_v4());
        let mut api = ApiDescription::new();
        hand_over(&mut api, &path, Arc::downgrade(&stock)).map_err(|e| e.to_string())?;
        let config = ConfigDropshot {
            bind_address: (Ipv4Addr::LOCALHOST, 0).into(),
            default_request_body_max_bytes: max_body,
            default_handler_task_mode: HandlerTaskMode::CancelOnDisconnect,
            log_headers: Vec::new(),
            compression: CompressionConfig::None,
        };
        // it would log every one of these requests
        let log = Logger::root(slog::Discard, slog::o!());
        let server = ServerBuilder::new(api, private, log).config(config).start();
        let server = server.map_err(|e| e.to_string())?;
        let address = server.local_addr();
        let refill = tokio::spawn(refill(address, path));
        let contexts = Contexts { stock, refill, _server: server };
        // what is missing now would be missing later: a loopback interface
        match tokio::time::timeout(PATIENCE, contexts.stock.take()).await {
            Ok(_first) => Ok(contexts),
            Err(_) => Err(format!("{address} cannot be reached")),
        }
    }

    /// The context of a request; `None` when there is none left and none comes.
    pub(super) async fn next(
        &self,
        request: &Request<Body>,
        remote: SocketAddr,
        id: String,
        endpoint: RequestEndpointMetadata,
    ) -> Option<RequestContext<C>> {
        let next = self.stock.take();
        let mut context = tokio::time::timeout(PATIENCE, next).await.ok()?;
        context.endpoint = endpoint;
        context.request_id = id;
        context.request = RequestInfo::new(request, remote);
        Some(context)
    }
}

impl<C: ServerContext> Drop for Contexts<C> {
    fn drop(&mut self) {
        self.refill.abort();
        // each holds the server that holds what puts them in
        self.stock.contexts().clear();
        self.stock.low.notify_one();
    }
}

/// An endpoint that gives away what it is called with, and answers when more is wanted.
fn hand_over<C: ServerContext>(
    api: &mut ApiDescription<C>,
    path: &str,
    stock: Weak<Stock<C>>,
) -> Result<(), ApiDescriptionRegisterError> {
    let handler = move |context: RequestContext<C>| {
        let stock = Weak::clone(&stock);
        async move {
            // nobody takes it any more when the server stops
            if let Some(stock) = stock.upgrade() {
                stock.put(context).await;
            }
            Ok::<_, HttpError>(HttpResponseUpdatedNoContent())
        }
    };
    let method = http::Method::GET;
    let name = "hand_over".to_owned();
    let all = ApiEndpointVersions::All;
    api.register(
        ApiEndpoint::new(name, handler, method, "application/json", path, all).visible(false),
    )
}

/// Keeps the stock full.
async fn refill(address: SocketAddr, path: String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let batch = request.repeat(BATCH);
    loop {
        let _broken = ask(address, batch.as_bytes()).await;
        tokio::time::sleep(RECONNECT).await;
    }
}

/// Sends one batch after the other, for as long as they are taken: while the stock is full, none
/// is.
///
/// Nothing waits for an answer. The answers are small, and both ends hold back what is small until
/// what was sent before is acknowledged: whoever waits, waits 40 milliseconds.
async fn ask(address: SocketAddr, batch: &[u8]) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(UNSENT)?;
    let mut connection = socket.connect(address).await?;
    let (mut answers, mut requests) = connection.split();
    let asking = async {
        loop {
            requests.write_all(batch).await?;
        }
    };
    let mut ignored = tokio::io::sink();
    tokio::select! {
        broken = asking => broken,
        ended = tokio::io::copy(&mut answers, &mut ignored) => ended.map(drop),
    }
}
