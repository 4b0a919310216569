//! What Dropshot's handlers are called with.
//!
//! Only Dropshot's own server can create a `RequestContext`, one for each request that it accepts: it
//! has no constructor and cannot be cloned. But we accept connections ourselves (see
//! [`super::connections`]). So Dropshot's server runs beside ours, and the smallest of requests get
//! contexts out of it ahead of need. Each is filled in with the request that it is then used for.
//!
//! Dropshot has to be given a port. It listens on it for as long as our one connection to it takes
//! to be made; then the port is closed ([`stop_listening`]), so that no other program of this machine
//! can use up file descriptors or memory through it.

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
use tokio::net::{TcpSocket, TcpStream};
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

/// Before another of Dropshot's servers is started, should the connection to one ever break.
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
}

impl<C: ServerContext + Clone> Contexts<C> {
    /// Contexts around `private`. Bodies of more than `max_body` bytes are not read.
    pub(super) async fn around(private: C, max_body: usize) -> Result<Self, String> {
        let stock = Arc::new(Stock::empty());
        let source = Source::start(private.clone(), max_body, Arc::downgrade(&stock)).await?;
        let refill = tokio::spawn(refill(source, private, max_body, Arc::downgrade(&stock)));
        let contexts = Contexts { stock, refill };
        // what is missing now would be missing later: a loopback interface
        match tokio::time::timeout(PATIENCE, contexts.stock.take()).await {
            Ok(_first) => Ok(contexts),
            Err(_) => Err("this machine has no loopback interface that works".to_owned()),
        }
    }
}

/// One of Dropshot's servers, and the one connection to it.
struct Source<C: ServerContext> {
    connection: TcpStream,
    /// Requests that are sent at once for contexts.
    batch: String,
    _server: HttpServer<C>,
}

impl<C: ServerContext> Source<C> {
    async fn start(private: C, max_body: usize, stock: Weak<Stock<C>>) -> Result<Self, String> {
        let path = format!("/{}", uuid::Uuid::new_v4());
        let mut api = ApiDescription::new();
        hand_over(&mut api, &path, stock).map_err(|e| e.to_string())?;
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
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        let connected = connect(address, request.as_bytes()).await;
        let connection = connected.map_err(|e| format!("{address} cannot be reached: {e}"))?;
        stop_listening(address);
        Ok(Source { connection, batch: request.repeat(BATCH), _server: server })
    }
}

/// Connects, and waits until that was accepted: what is still waiting for that is lost when the port
/// is closed.
async fn connect(address: SocketAddr, request: &[u8]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(UNSENT)?;
    let mut connection = socket.connect(address).await?;
    connection.write_all(request).await?;
    // the first context is on the shelf when its answer begins
    tokio::time::timeout(PATIENCE, connection.readable()).await??;
    Ok(connection)
}

/// Closes the port that Dropshot listens on; what is connected stays so. Dropshot does not hand its
/// listener out, so it is looked for among the open files: a socket at this address that has no peer.
#[cfg(target_os = "linux")]
fn stop_listening(address: SocketAddr) {
    use nix::sys::socket::{Shutdown, SockaddrStorage, getpeername, getsockname, shutdown};
    let is_at = |fd| {
        let name = getsockname::<SockaddrStorage>(fd).ok();
        let name = name.as_ref().and_then(SockaddrStorage::as_sockaddr_in);
        name.is_some_and(|name| SocketAddr::from((name.ip(), name.port())) == address)
    };
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers = files.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok());
    for fd in numbers.collect::<Vec<i32>>() {
        if is_at(fd) && getpeername::<SockaddrStorage>(fd).is_err() {
            // nothing else can be done where this fails: the port stays open
            let _ = shutdown(fd, Shutdown::Both);
        }
    }
}

/// Other systems have no way to close it alone.
#[cfg(not(target_os = "linux"))]
fn stop_listening(_address: SocketAddr) {}

impl<C: ServerContext> Contexts<C> {
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
async fn refill<C: ServerContext + Clone>(
    mut source: Source<C>,
    private: C,
    max_body: usize,
    stock: Weak<Stock<C>>,
) {
    loop {
        let _broken = ask(&mut source.connection, source.batch.as_bytes()).await;
        drop(source);
        source = loop {
            tokio::time::sleep(RECONNECT).await;
            match Source::start(private.clone(), max_body, Weak::clone(&stock)).await {
                Ok(source) => break source,
                Err(_not_yet) => {}
            }
        };
    }
}

/// Sends one batch after the other, for as long as they are taken: while the stock is full, none
/// is.
///
/// Nothing waits for an answer. The answers are small, and both ends hold back what is small until
/// what was sent before is acknowledged: whoever waits, waits 40 milliseconds.
async fn ask(connection: &mut TcpStream, batch: &[u8]) -> std::io::Result<()> {
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
