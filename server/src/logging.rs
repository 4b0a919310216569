//! The log: text for people, JSON lines for programs, always on standard error.
//!
//! Whatever is logged passes `Line::of`, which makes it safe to read: others choose paths, names
//! and words that end up here. And whoever logs waits for nobody: lines are written by a thread of
//! their own, and where nobody takes them from it, they are dropped and counted.

mod clean;

pub use clean::{MAX_VALUE, clean};

use crate::config::{LogConfig, LogFormat, LogLevel};
use slog::{
    BorrowedKV, Drain, KV, Key, Level, LevelFilter, Logger, OwnedKVList, Record, RecordLocation,
    RecordStatic, Serializer,
};
use std::fmt::Arguments;
use std::io::{LineWriter, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait to be written; beyond that they are dropped and counted.
const QUEUE: usize = 4096;

/// How long the end of a program waits for somebody to take the last lines.
const LAST_LINES: Duration = Duration::from_secs(3);

/// How often it looks whether there is room for the order to finish.
const LOOK: Duration = Duration::from_millis(10);

/// One value of a line, cleaned.
enum Value {
    None,
    Bool(bool),
    Whole(i64),
    Natural(u64),
    Real(f64),
    Text(String),
}

/// A line that can be shown to anybody: nothing in it drives a terminal, breaks a line, or is
/// secret, and it has a bounded length.
struct Line {
    level: Level,
    location: RecordLocation,
    message: String,
    values: Values,
}

struct Values(Vec<(Key, Value)>);

macro_rules! emit {
    ($($method:ident($type:ty) => $value:expr;)*) => {
        $(fn $method(&mut self, key: Key, value: $type) -> slog::Result {
            self.0.push((key, $value(value.into())));
            Ok(())
        })*
    };
}

impl Serializer for Values {
    emit! {
        emit_bool(bool) => Value::Bool;
        emit_u8(u8) => Value::Natural;
        emit_u16(u16) => Value::Natural;
        emit_u32(u32) => Value::Natural;
        emit_u64(u64) => Value::Natural;
        emit_i8(i8) => Value::Whole;
        emit_i16(i16) => Value::Whole;
        emit_i32(i32) => Value::Whole;
        emit_i64(i64) => Value::Whole;
        emit_f32(f32) => Value::Real;
        emit_f64(f64) => Value::Real;
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.emit_u64(key, u64::try_from(value).unwrap_or(u64::MAX))
    }

    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.emit_i64(key, i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.0.push((key, Value::None));
        Ok(())
    }

    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.0.push((key, Value::Text(clean(value))));
        Ok(())
    }

    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        self.0.push((key, Value::Text(clean(&value.to_string()))));
        Ok(())
    }
}

impl KV for Values {
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        for (key, value) in &self.0 {
            let key = key.clone();
            match value {
                Value::None => to.emit_none(key),
                Value::Bool(value) => to.emit_bool(key, *value),
                Value::Whole(value) => to.emit_i64(key, *value),
                Value::Natural(value) => to.emit_u64(key, *value),
                Value::Real(value) => to.emit_f64(key, *value),
                Value::Text(value) => to.emit_str(key, value),
            }?;
        }
        Ok(())
    }
}

impl Line {
    /// The one place that everything passes that is logged.
    fn of(record: &Record<'_>, of_logger: &OwnedKVList) -> Self {
        let mut values = Values(Vec::new());
        // taking values down cannot fail
        let _ = record.kv().serialize(record, &mut values);
        let _ = of_logger.serialize(record, &mut values);
        Line {
            level: record.level(),
            location: *record.location(),
            message: clean(&record.msg().to_string()),
            values,
        }
    }

    /// How many lines nobody could read.
    fn of_dropped(count: u64) -> Self {
        Line {
            level: Level::Warning,
            location: RecordLocation { file: "", line: 0, column: 0, function: "", module: "" },
            message: "lines of the log were dropped, since nobody took them in time".into(),
            values: Values(vec![("lines".into(), Value::Natural(count))]),
        }
    }

    fn log_to<D: Drain>(&self, drain: &D) -> Result<D::Ok, D::Err> {
        let about = RecordStatic { location: &self.location, tag: "", level: self.level };
        drain.log(
            &Record::new(&about, &format_args!("{}", self.message), BorrowedKV(&self.values)),
            &slog::o!().into(),
        )
    }
}

/// Hands every line on after it was made safe to read.
#[derive(Debug)]
pub struct Cleaned<D>(pub D);

impl<D: Drain> Drain for Cleaned<D> {
    type Ok = D::Ok;
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<D::Ok, D::Err> {
        Line::of(record, values).log_to(&self.0)
    }
}

enum Order {
    Write(Line),
    /// Nothing more comes: say when everything is written.
    Finish(SyncSender<()>),
}

/// Takes lines, and waits for nobody.
struct Queue {
    orders: SyncSender<Order>,
    dropped: Arc<AtomicU64>,
}

impl Drain for Queue {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        // the writer ends before the program does: whoever logs later is not heard
        if let Err(TrySendError::Full(_)) =
            self.orders.try_send(Order::Write(Line::of(record, values)))
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Writes what waits when it is dropped, for as long as somebody takes it.
#[must_use = "what still waits is lost without it"]
pub struct Guard(SyncSender<Order>);

impl Drop for Guard {
    fn drop(&mut self) {
        let begun = Instant::now();
        let (written, waited) = sync_channel(1);
        let mut order = Order::Finish(written);
        while let Err(TrySendError::Full(again)) = self.0.try_send(order) {
            if begun.elapsed() > LAST_LINES {
                return;
            }
            order = again;
            std::thread::sleep(LOOK);
        }
        let _ = waited.recv_timeout(LAST_LINES.saturating_sub(begun.elapsed()));
    }
}

fn write(
    orders: &Receiver<Order>,
    dropped: &AtomicU64,
    drain: &impl Drain<Ok = (), Err = slog::Never>,
) {
    let confess = || match dropped.swap(0, Ordering::Relaxed) {
        0 => {}
        count => drop(Line::of_dropped(count).log_to(drain)),
    };
    while let Ok(order) = orders.recv() {
        match order {
            Order::Write(line) => {
                let _ = line.log_to(drain);
                confess();
            }
            Order::Finish(written) => {
                confess();
                let _ = written.send(());
                return;
            }
        }
    }
}

/// A logger as configured. Keep the guard until the program ends: it writes what still waits.
pub fn logger(config: &LogConfig) -> std::io::Result<(Logger, Guard)> {
    let level = match config.level {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    // who cannot write a line can tell nobody
    let drain: Box<dyn Drain<Ok = (), Err = slog::Never> + Send> = match config.log_format {
        LogFormat::Terminal => {
            let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
            let mut decorator = slog_term::TermDecorator::new().stderr();
            if !colour {
                decorator = decorator.force_plain();
            }
            let format = slog_term::FullFormat::new(decorator.build());
            Box::new(format.use_original_order().build().ignore_res())
        }
        LogFormat::Json => Box::new(
            slog_json::Json::new(LineWriter::new(stderr()))
                .set_newlines(true)
                .add_default_keys()
                .build()
                .ignore_res(),
        ),
    };
    let (queue, guard) = queue(drain)?;
    // outside: what is not logged is not cleaned either
    Ok((Logger::root(LevelFilter::new(queue, level).fuse(), slog::o!()), guard))
}

/// A queue, and the thread that writes what is in it.
fn queue(
    drain: Box<dyn Drain<Ok = (), Err = slog::Never> + Send>,
) -> std::io::Result<(Queue, Guard)> {
    let (orders, receiver) = sync_channel(QUEUE);
    let dropped = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dropped);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || write(&receiver, &counted, &drain))?;
    Ok((Queue { orders: orders.clone(), dropped }, Guard(orders)))
}

/// Lets panics go to the log, as everything does: their own way to standard error neither cleans
/// what they say nor goes on while nobody reads.
pub fn log_panics(log: Logger) {
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        let at = panic.location().map(ToString::to_string);
        slog::error!(log, "a thread panicked";
            "error" => crate::error::without_quotes(said),
            "at" => at,
            "thread" => std::thread::current().name().unwrap_or_default().to_owned());
    }));
}

/// Says something on standard error, and waits for it no longer than for the last lines of the log.
pub fn say_last(text: String) {
    let (said, waited) = channel();
    let saying = std::thread::Builder::new().spawn(move || {
        // where standard error is gone, nobody can be told
        let _ = stderr().write_all(text.as_bytes());
        let _ = said.send(());
    });
    if saying.is_ok() {
        let _ = waited.recv_timeout(LAST_LINES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    /// Remembers messages, once it is let go.
    struct Stuck {
        open: Mutex<Receiver<()>>,
        seen: Sender<(String, String)>,
    }

    struct Shown(String);

    impl Serializer for Shown {
        fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
            self.0.push_str(&format!("{key}={value} "));
            Ok(())
        }
    }

    impl Drain for Stuck {
        type Ok = ();
        type Err = slog::Never;
        fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
            // closed: it is open for good
            let _ = self.open.lock().expect("one thread").recv();
            let mut shown = Shown(String::new());
            let _ = record.kv().serialize(record, &mut shown);
            let _ = values.serialize(record, &mut shown);
            let _ = self.seen.send((record.msg().to_string(), shown.0));
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_waits_for_nobody_and_what_is_dropped_is_counted() {
        let (open, opened) = channel();
        let (seen, lines) = channel();
        let stuck = Stuck { open: Mutex::new(opened), seen };
        let (queue, guard) = queue(Box::new(stuck)).expect("a thread");
        let log = Logger::root(queue.fuse(), slog::o!("of" => "the logger"));
        let all = QUEUE + 500;
        for number in 0..all {
            slog::info!(log, "line\n{}", number; "own" => "sk_live_abcdefghij");
        }
        drop(open);
        drop(guard);
        let lines: Vec<_> = lines.iter().collect();
        assert_eq!(lines[0].0, "line\\n0");
        assert_eq!(lines[0].1, "own=sk_live_abcd… of=the logger ");
        let (last, values) = lines
            .iter()
            .find(|(message, _)| message.contains("dropped"))
            .expect("the lines that are missing are told of");
        let written = lines.len() - 1;
        assert_eq!(*values, format!("lines={} ", all - written), "{last}");
        assert!(written >= QUEUE, "{written}");
    }

    #[test]
    fn the_end_does_not_wait_for_ever_for_a_log_that_nobody_reads() {
        let (_closed, opened) = channel();
        let (seen, _lines) = channel();
        let stuck = Stuck { open: Mutex::new(opened), seen };
        let (queue, guard) = queue(Box::new(stuck)).expect("a thread");
        let log = Logger::root(queue.fuse(), slog::o!());
        for _ in 0..=QUEUE + 1 {
            slog::info!(log, "line");
        }
        let begun = Instant::now();
        drop(guard);
        assert!(begun.elapsed() < LAST_LINES * 3, "{:?}", begun.elapsed());
    }
}
