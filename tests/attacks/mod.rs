//! Attacks by somebody who has the source: one file a class.

mod acting;
mod bodies;
mod connections;
mod database;
mod embedding;
mod invitations;
mod lists;
mod logs;
mod outbound;
mod refusals;
mod search;
mod settings;

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long anything may take; reached only when something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that speaks HTTP by hand.
struct Peer(TcpStream);

impl Peer {
    async fn connect(server: SocketAddr) -> Peer {
        Peer(TcpStream::connect(server).await.expect("a connection"))
    }

    /// From another address of this machine than others have.
    async fn connect_from(own: [u8; 4], server: SocketAddr) -> Peer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((own, 0).into()).expect("an address of this machine");
        Peer(socket.connect(server).await.expect("a connection"))
    }

    /// Sends as much as is taken: whoever is refused early may be cut off.
    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes).await;
    }

    /// The head of a request, with the lines given.
    async fn ask(&mut self, request: &str, lines: &[String]) {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        self.send(format!("{request} HTTP/1.1\r\nHost: switchy.test\r\n{lines}\r\n").as_bytes())
            .await;
    }

    /// The status of the next answer; 0 when the connection ends without one.
    async fn status(&mut self) -> u16 {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                match self.0.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return 0,
                }
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
            });
            let mut body = vec![0; length.and_then(Result::ok).unwrap_or(0)];
            let _ = self.0.read_exact(&mut body).await;
            status.unwrap_or(0)
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer")
    }

    /// Waits until the server has closed the connection.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // a reset is a close too
        let _ =
            tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("closed");
    }
}

/// The header with somebody's key.
fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}")
}
