//! Server-sent events on the wire: blocks of lines in a body that is still being written.
//!
//! The format is that of the HTML standard, section 9.2; anything that speaks `EventSource` reads
//! it.

use crate::error::{Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use dropshot::{
    ApiEndpointBodyContentType, ExtractorMetadata, Header, HttpError, Query, RequestContext,
    ServerContext, SharedExtractor,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a body of events is announced as.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// One block of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Block(Bytes);

impl Block {
    /// What a stream begins with: how long to wait before connecting again, and which number the
    /// client has seen so far. Nothing of it reaches a listener.
    pub fn opening(retry: Duration, id: i64) -> Self {
        Block(format!("retry: {}\nid: {id}\n: connected\n\n", retry.as_millis()).into())
    }

    /// An event; `id` is what the client resumes after.
    pub fn event(id: Option<i64>, name: &str, data: &impl Serialize) -> Result<Self> {
        // compact JSON contains no line break: it is one line, whatever the data says
        let data = serde_json::to_string(data).map_err(Error::internal)?;
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        Ok(Block(format!("{id}event: {name}\ndata: {data}\n\n").into()))
    }

    /// Nothing, to keep the connection alive and find out whether it is.
    pub fn heartbeat() -> Self {
        Block(Bytes::from_static(b": heartbeat\n\n"))
    }
}

/// Writes the blocks of one stream. It holds one block at most: who reads slowly is written to
/// slowly.
pub struct Writer(mpsc::Sender<Block>);

/// The body of the answer; it ends when its [`Writer`] is dropped.
pub struct Blocks(mpsc::Receiver<Block>);

/// A stream, as its two ends.
pub fn stream() -> (Writer, Blocks) {
    let (writer, blocks) = mpsc::channel(1);
    (Writer(writer), Blocks(blocks))
}

/// Nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl Writer {
    /// Writes a block when the client has taken the one before.
    pub async fn write(&self, block: Block) -> Result<(), Closed> {
        self.0.send(block).await.map_err(|_| Closed)
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl HttpBody for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|block| block.map(|Block(bytes)| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Documents the header; the value is read from the request itself.
#[derive(Deserialize, JsonSchema)]
struct LastEventHeader {
    /// Resumes after the event with this `id`, without a gap. Clients of the standard send it by
    /// themselves when they connect again.
    #[serde(rename = "Last-Event-ID")]
    #[schemars(length(max = 19), regex(pattern = r"^[0-9]+$"), example = "example_id")]
    #[expect(dead_code, reason = "read from the request, documented from here")]
    last_event_id: Option<String>,
}

/// The same as a query parameter.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct LastEventQuery {
    /// The same as `Last-Event-ID`, for browsers, whose first request cannot carry that header.
    /// The header wins.
    #[schemars(length(max = 19), regex(pattern = r"^[0-9]+$"), example = "example_id")]
    #[expect(dead_code, reason = "as above")]
    last_event_id: Option<String>,
}

fn example_id() -> &'static str {
    "17"
}

/// The number of the last event that the client has seen, if it says so.
pub struct LastEventId(Result<Option<i64>>);

impl LastEventId {
    /// The number, or why it is none.
    pub fn into_inner(self) -> Result<Option<i64>> {
        self.0
    }
}

fn number(text: &str, path: [&'static str; 2]) -> Result<Option<i64>> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(Some).ok_or_else(|| {
        Error::invalid(path, "invalid", "must be the `id` of an event: a whole number")
    })
}

#[async_trait]
impl SharedExtractor for LastEventId {
    async fn from_request<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<Self, HttpError> {
        let in_header = ["headers", "Last-Event-ID"];
        let mut values = rqctx.request.headers().get_all("last-event-id").iter();
        let header = match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => number(value.to_str().unwrap_or("?"), in_header),
            _ => Err(Error::invalid(in_header, "duplicate", "must be sent once")),
        };
        Ok(LastEventId(match header {
            Ok(None) => {
                let query = rqctx.request.uri().query().unwrap_or_default();
                let mut pairs = form_urlencoded::parse(query.as_bytes());
                let given = pairs.find(|(name, _)| name == "lastEventId");
                given.map_or(Ok(None), |(_, value)| number(&value, ["query", "lastEventId"]))
            }
            header => header,
        }))
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        let header = <Header<LastEventHeader> as SharedExtractor>::metadata(content_type.clone());
        let mut metadata = <Query<LastEventQuery> as SharedExtractor>::metadata(content_type);
        metadata.parameters.extend(header.parameters);
        metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(block: &Block) -> &str {
        std::str::from_utf8(&block.0).expect("UTF-8")
    }

    #[test]
    fn blocks_are_what_the_standard_says() {
        let opening = Block::opening(Duration::from_secs(2), 7);
        assert_eq!(text(&opening), "retry: 2000\nid: 7\n: connected\n\n");
        assert_eq!(text(&Block::heartbeat()), ": heartbeat\n\n");
        let event = Block::event(Some(8), "a.b", &json!({ "x": 1 })).expect("JSON");
        assert_eq!(text(&event), "id: 8\nevent: a.b\ndata: {\"x\":1}\n\n");
        let last = Block::event(None, "end", &json!({})).expect("JSON");
        assert_eq!(text(&last), "event: end\ndata: {}\n\n");
    }

    proptest! {
        #[test]
        fn whatever_somebody_writes_stays_in_its_line(said in any::<String>()) {
            let block = Block::event(Some(1), "x", &json!({ "said": said })).expect("JSON");
            let lines: Vec<&str> = text(&block).split(['\n', '\r']).collect();
            prop_assert_eq!(lines.len(), 5);
            let data = lines[2].strip_prefix("data: ").expect("data");
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            prop_assert_eq!(data["said"].as_str(), Some(said.as_str()));
        }
    }
}
