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
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// Contexts that are kept ready.
const STOCK: usize = 64;

/// Requests that are sent at once for them.
const BATCH: usize = 16;

/// Before the connection to Dropshot's server is made again, should it ever break.
const RECONNECT: Duration = Duration::from_millis(50);

/// How long the first context may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Contexts of handlers that share one `C`.
pub(super) struct Contexts<C: ServerContext> {
    stock: Mutex<mpsc::Receiver<RequestContext<C>>>,
    refill: JoinHandle<()>,
    _server: HttpServer<C>,
}

impl<C: ServerContext> Contexts<C> {
    /// Contexts around `private`. Bodies of more than `max_body` bytes are not read.
    pub(super) async fn around(private: C, max_body: usize) -> Result<Self, String> {
        let (sender, stock) = mpsc::channel(STOCK);
        let path = format!("/{}", uuid::Uuid::new_v4());
        let mut api = ApiDescription::new();
        hand_over(&mut api, &path, sender).map_err(|e| e.to_string())?;
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
        let contexts = Contexts { stock: Mutex::new(stock), refill, _server: server };
        let mut stock = contexts.stock.lock().await;
        // what is missing now would be missing later: a loopback interface
        let first = tokio::time::timeout(PATIENCE, stock.recv()).await;
        drop(stock);
        match first {
            Ok(Some(_)) => Ok(contexts),
            Ok(None) | Err(_) => Err(format!("{address} cannot be reached")),
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
        let next = async { self.stock.lock().await.recv().await };
        let mut context = tokio::time::timeout(PATIENCE, next).await.ok().flatten()?;
        context.endpoint = endpoint;
        context.request_id = id;
        context.request = RequestInfo::new(request, remote);
        Some(context)
    }
}

impl<C: ServerContext> Drop for Contexts<C> {
    fn drop(&mut self) {
        self.refill.abort();
    }
}

/// An endpoint that gives away what it is called with, and waits for that while the stock is full.
fn hand_over<C: ServerContext>(
    api: &mut ApiDescription<C>,
    path: &str,
    stock: mpsc::Sender<RequestContext<C>>,
) -> Result<(), ApiDescriptionRegisterError> {
    let handler = move |context: RequestContext<C>| {
        let stock = stock.clone();
        async move {
            // nobody takes it any more when the server stops
            let _ = stock.send(context).await;
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

/// Sends one batch after the other, for as long as they are answered.
async fn ask(address: SocketAddr, batch: &[u8]) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 4096];
    loop {
        connection.write_all(batch).await?;
        // none of the answers has a body: each ends with the first empty line
        let (mut answers, mut line_is_empty) = (0, false);
        while answers < BATCH {
            let read = connection.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            for byte in &buffer[..read] {
                match byte {
                    b'\n' if line_is_empty => answers += 1,
                    b'\n' => line_is_empty = true,
                    b'\r' => {}
                    _ => line_is_empty = false,
                }
            }
        }
    }
}
