//! Server-sent events as they come off the wire (HTML standard, section 9.2).

use std::time::Duration;

/// The most that one event may be long, in bytes: nothing of this API comes near it.
const MAX_EVENT: usize = 4 << 20;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dispatched {
    /// Its type.
    pub event: String,
    /// What it says.
    pub data: String,
    /// What to resume after.
    pub id: Option<String>,
}

/// An event is longer than anybody can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Takes a stream apart, however it is cut into pieces.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The line before ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The first line is over; only it may begin with a byte order mark.
    begun: bool,
    event: String,
    data: String,
    /// Of the block that is being read; it counts when the block ends.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
}

impl Parser {
    /// A parser that knows what was seen before.
    pub fn after(last_id: Option<String>) -> Self {
        Self { id: last_id.clone(), last_id, ..Self::default() }
    }

    /// What to resume after, by now.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants clients to wait before they connect again, if it has said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The events that these bytes complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Dispatched>, TooLong> {
        let mut found = Vec::new();
        for &byte in bytes {
            let second_half = self.after_cr && byte == b'\n';
            self.after_cr = byte == b'\r';
            if second_half {
                continue;
            }
            if byte == b'\r' || byte == b'\n' {
                found.extend(self.end_line());
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(TooLong);
            }
        }
        Ok(found)
    }

    fn end_line(&mut self) -> Option<Dispatched> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = &*text;
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_block();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event = value.to_owned(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis).or(self.retry);
            }
            // comments, and fields of a later standard
            _ => {}
        }
        None
    }

    fn end_block(&mut self) -> Option<Dispatched> {
        self.last_id = self.id.clone().filter(|id| !id.is_empty());
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?; // without data there is no event
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Dispatched { event, data, id: self.last_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<Dispatched> {
        Parser::default().feed(text.as_bytes()).expect("short")
    }

    fn event(event: &str, data: &str, id: Option<&str>) -> Dispatched {
        Dispatched { event: event.into(), data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(
            parsed("data: YHOO\ndata: +2\ndata: 10\n\n"),
            [event("message", "YHOO\n+2\n10", None)]
        );
        assert_eq!(
            parsed(": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n"),
            [
                event("message", "first", Some("1")),
                event("message", "second", None),
                event("message", " third", None),
            ]
        );
        assert_eq!(
            parsed("data\n\ndata\ndata\n\ndata:"),
            [event("message", "", None), event("message", "\n", None)]
        );
        assert_eq!(parsed("data:test\n\ndata: test\n\n").len(), 2);
    }

    #[test]
    fn every_kind_of_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let text = format!("\u{feff}event: a{end}data: b{end}id: 3{end}{end}data: c{end}{end}");
            assert_eq!(
                parsed(&text),
                [event("a", "b", Some("3")), event("message", "c", Some("3"))],
                "{end:?}"
            );
        }
    }

    #[test]
    fn an_id_without_an_event_counts_and_nothing_unfinished_does() {
        let mut parser = Parser::after(Some("5".into()));
        assert_eq!(parser.last_id(), Some("5"));
        assert_eq!(parser.feed(b"retry: 2000\nid: 7\n: connected\n\n"), Ok(Vec::new()));
        assert_eq!(parser.last_id(), Some("7"));
        assert_eq!(parser.retry(), Some(Duration::from_secs(2)));
        assert_eq!(parser.feed(b"id: 8\nretry: soon\nevent: a\ndata: b\n"), Ok(Vec::new()));
        assert_eq!(parser.last_id(), Some("7"), "the block is not over");
        assert_eq!(parser.feed(b"\n").expect("short"), [event("a", "b", Some("8"))]);
        assert_eq!(parser.feed(b"id: x\0y\ndata: c\n\n").expect("short")[0].id, Some("8".into()));
        assert_eq!(parser.retry(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn there_is_an_end_to_an_event() {
        let mut parser = Parser::default();
        let mib = vec![b'x'; 1 << 20];
        for _ in 0..4 {
            parser.feed(&mib).expect("not yet");
        }
        assert_eq!(parser.feed(b"x"), Err(TooLong));
    }

    proptest! {
        #[test]
        fn how_a_stream_is_cut_makes_no_difference(
            text in "(data|event|id|retry|:|x)(: ?[a-z0-9é]{0,3})?[\n\r]{0,2}{0,30}",
            lines in proptest::collection::vec("(data|event|id|retry|x|)(: ?[a-z0-9é]{0,3})?", 0..12),
            ends in proptest::collection::vec(prop_oneof!["\n", "\r", "\r\n"], 12),
            cuts in proptest::collection::vec(0usize..200, 0..6),
        ) {
            let mut whole = text;
            for (line, end) in lines.iter().zip(&ends) {
                whole.push_str(line);
                whole.push_str(end);
            }
            let bytes = whole.as_bytes();
            let expected = Parser::default().feed(bytes).expect("short");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                found.extend(parser.feed(&bytes[pair[0]..pair[1]]).expect("short"));
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn anything_at_all_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Parser::default().feed(&bytes);
        }
    }
}
