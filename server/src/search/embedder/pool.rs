//! Threads that each own their models and take work from one queue.

use std::{
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::{
    EmbedError,
    note::NoteWork,
    owner::Owner,
    queue::{Queue, Request, Task, Worker},
};
use crate::search::panic_guard::{ModelError, PanicGuard};
use switchy_types::vectors::{Dense, NoteEmbedding, QueryEmbedding, Sparse};

/// What a thread of the pool owns and computes with.
pub(super) trait Engine: Send + 'static {
    /// The vectors of a query.
    fn query(&mut self, text: &str) -> Result<QueryEmbedding, EmbedError>;

    /// Where to cut a note: at least one range of bytes.
    fn passages(&mut self, text: &str) -> Result<Vec<Range<usize>>, EmbedError>;

    /// The vector of one passage.
    fn dense(&mut self, passage: &str) -> Result<Dense, EmbedError>;

    /// Whether there is a model for [`Engine::sparse`].
    fn expands(&self) -> bool;

    /// The terms of one passage.
    fn sparse(&mut self, passage: &str) -> Result<Sparse, EmbedError>;
}

/// The threads and the queue in front of them. Dropping it turns all waiting requests away, and
/// returns when each thread has finished the passage it works on.
pub(super) struct Pool {
    queue: Arc<Queue<QueryWork, NoteWork>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts `threads` threads (at least one), the first with `first`; each of the others calls
    /// `again` for an engine of its own, as does one whose engine panicked.
    ///
    /// # Errors
    /// [`EmbedError::Unavailable`] when the system starts no more threads.
    pub(super) fn start<E: Engine>(
        first: E,
        again: impl Fn() -> Result<E, EmbedError> + Send + Sync + 'static,
        threads: usize,
        capacity: usize,
    ) -> Result<Self, EmbedError> {
        let again = Arc::new(again);
        let mut first = Some(first);
        let threads = threads.max(1);
        let queue = Arc::new(Queue::new(capacity, threads));
        let mut pool = Self { queue, threads: Vec::new() };
        for number in 0..threads {
            let again = Arc::clone(&again);
            let engine = PanicGuard::new(first.take(), move || again());
            let queue = Arc::clone(&pool.queue);
            let thread = thread::Builder::new()
                .name(format!("embedder-{number}"))
                .spawn(move || run(engine, &queue))
                .map_err(|error| {
                    EmbedError::Unavailable(format!("no thread could be started: {error}"))
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Embeds a query.
    pub(super) async fn query(&self, text: &str) -> Result<QueryEmbedding, EmbedError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .push_query(QueryWork { text: text.to_owned(), reply })
            .map_err(|_| EmbedError::Overloaded)?;
        answer.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// Embeds a note, when it is its owner's turn.
    pub(super) async fn note(
        &self,
        text: &str,
        owner: &Owner,
    ) -> Result<NoteEmbedding, EmbedError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .push_note(NoteWork::new(text.to_owned(), owner.clone(), reply))
            .map_err(|_| EmbedError::Overloaded)?;
        answer.await.unwrap_or_else(|_| Err(shut_down()))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            // A thread that ended by a panic has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn shut_down() -> EmbedError {
    EmbedError::Unavailable("the embedder has been shut down".into())
}

impl ModelError for EmbedError {
    fn unavailable(reason: String) -> Self {
        EmbedError::Unavailable(reason)
    }

    fn failed(reason: String) -> Self {
        EmbedError::Failed(reason)
    }
}

/// A query and where its answer goes.
struct QueryWork {
    text: String,
    reply: oneshot::Sender<Result<QueryEmbedding, EmbedError>>,
}

impl Request for QueryWork {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// What one thread does until the queue is closed.
fn run<E: Engine>(
    mut engine: PanicGuard<E, impl Fn() -> Result<E, EmbedError>>,
    queue: &Queue<QueryWork, NoteWork>,
) {
    let mut worker = Worker::default();
    loop {
        engine.prepare();
        match queue.next(&mut worker) {
            None => break,
            Some(Task::Query(QueryWork { text, reply })) => {
                let _ = reply.send(engine.call(|engine| engine.query(&text)));
            }
            // Step by step, so that a query waits for one of them and not for the note, and other
            // threads can do the next one.
            Some(Task::Note(note)) => {
                if let Err(error) = engine.call(|engine| note.cut(engine)) {
                    note.fail(error);
                    continue;
                }
                let (step, more) = note.next_step();
                if more {
                    queue.resume_note(note.clone());
                }
                match step.map(|step| engine.call(|engine| note.compute(&step, engine))) {
                    Some(Ok(done)) => note.add(done),
                    Some(Err(error)) => note.fail(error),
                    None => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        sync::{
            LazyLock, Mutex,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        task::{Context, Poll, Waker},
    };

    use super::{
        super::{DIMENSIONS, owner::Urgency},
        *,
    };

    /// What the fake engines saw, and the gate that stops one in the middle of its work.
    #[derive(Default)]
    struct Lab {
        seen: Mutex<Vec<String>>,
        built: AtomicUsize,
        broken: AtomicUsize,
    }

    impl Lab {
        fn seen(&self) -> Vec<String> {
            self.seen.lock().expect("no panic under the lock").clone()
        }
    }

    /// Cuts at `|`, panics on `panic`, and on `gate` reports and waits to be released.
    struct Fake {
        lab: Arc<Lab>,
        gate: Arc<Gate>,
    }

    /// `entered` is signalled by an engine at the gate, which then waits for `release`.
    struct Gate {
        entered: Mutex<mpsc::Sender<()>>,
        release: Mutex<mpsc::Receiver<()>>,
    }

    fn gate() -> (Arc<Gate>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, at_gate) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let gate = Gate { entered: Mutex::new(entered), release: Mutex::new(released) };
        (Arc::new(gate), at_gate, release)
    }

    impl Fake {
        fn see(&self, text: &str) {
            self.lab.seen.lock().expect("no panic under the lock").push(text.to_owned());
            match text {
                "panic" => panic!("as asked"),
                "gate" => {
                    let entered =
                        self.gate.entered.lock().expect("no panic under the lock").clone();
                    entered.send(()).expect("a test that waits");
                    let release = self.gate.release.lock().expect("no panic under the lock");
                    // A dropped sender releases, too.
                    let _ = release.recv();
                }
                _ => {}
            }
        }
    }

    fn dense() -> Dense {
        Dense::normalised(vec![1.0; DIMENSIONS]).expect("a direction")
    }

    impl Engine for Fake {
        fn query(&mut self, text: &str) -> Result<QueryEmbedding, EmbedError> {
            self.see(text);
            Ok(QueryEmbedding { dense: dense(), sparse: None })
        }

        fn passages(&mut self, text: &str) -> Result<Vec<Range<usize>>, EmbedError> {
            let mut start = 0;
            Ok(text
                .split_inclusive('|')
                .map(|part| {
                    let range = start..start + part.trim_end_matches('|').len();
                    start += part.len();
                    range
                })
                .collect())
        }

        fn dense(&mut self, passage: &str) -> Result<Dense, EmbedError> {
            self.see(passage);
            Ok(dense())
        }

        fn expands(&self) -> bool {
            true
        }

        fn sparse(&mut self, passage: &str) -> Result<Sparse, EmbedError> {
            // One term a passage, heavier for longer passages.
            let id = u32::from(passage.as_bytes()[0]);
            Ok(Sparse::new(vec![(id, passage.len() as f32)]))
        }
    }

    struct Test {
        pool: Pool,
        lab: Arc<Lab>,
        at_gate: mpsc::Receiver<()>,
        release: mpsc::Sender<()>,
    }

    fn ada() -> &'static Owner {
        static ADA: LazyLock<Owner> = LazyLock::new(|| Owner::new("acme", "ada", Urgency::Single));
        &ADA
    }

    /// A pool of one thread.
    fn pool(capacity: usize) -> Test {
        pool_of(1, capacity)
    }

    fn pool_of(threads: usize, capacity: usize) -> Test {
        let lab = Arc::new(Lab::default());
        let (gate, at_gate, release) = gate();
        let build = {
            let lab = Arc::clone(&lab);
            move || {
                lab.built.fetch_add(1, Ordering::SeqCst);
                if lab.broken.load(Ordering::SeqCst) > 0 {
                    return Err(EmbedError::Unavailable("the file is gone".into()));
                }
                Ok(Fake { lab: Arc::clone(&lab), gate: Arc::clone(&gate) })
            }
        };
        let first = build().expect("an engine");
        let pool = Pool::start(first, build, threads, capacity).expect("threads");
        Test { pool, lab, at_gate, release }
    }

    /// Polls once: a request's place in the queue is taken when it is first polled.
    fn enqueue<F: Future>(request: &mut std::pin::Pin<&mut F>) -> Poll<F::Output> {
        request.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn a_note_is_embedded_passage_by_passage_and_its_terms_merged_by_maximum() {
        let Test { pool, .. } = pool(8);
        let note = pool.note("aa|b|aaaa", ada()).await.expect("an embedding");
        let ranges: Vec<_> = note.passages.iter().map(|p| (p.start, p.end)).collect();
        assert_eq!(ranges, [(0, 2), (3, 4), (5, 9)]);
        let sparse = note.sparse.expect("terms");
        assert_eq!(sparse.terms(), [(u32::from(b'a'), 4.0), (u32::from(b'b'), 1.0)]);
    }

    #[tokio::test]
    async fn idle_threads_join_in_the_work_on_one_note() {
        let Test { pool, lab, at_gate, release } = pool_of(2, 8);
        let mut note = pin!(pool.note("gate|gate|b", ada()));
        assert!(enqueue(&mut note).is_pending());
        for _ in 0..2 {
            let patience = std::time::Duration::from_secs(60);
            at_gate.recv_timeout(patience).expect("two threads, each with a passage of its own");
        }
        assert_eq!(lab.seen(), ["gate", "gate"]);
        for _ in 0..2 {
            release.send(()).expect("two waiting engines");
        }
        let note = note.await.expect("an embedding");
        let ranges: Vec<_> = note.passages.iter().map(|p| (p.start, p.end)).collect();
        assert_eq!(ranges, [(0, 4), (5, 9), (10, 11)], "in the note's order");
        assert_eq!(note.sparse.expect("terms").terms().len(), 2);
    }

    #[tokio::test]
    async fn queries_overtake_notes_even_between_the_passages_of_one() {
        let Test { pool, lab, at_gate, release } = pool(8);
        let mut long = pin!(pool.note("gate|rest", ada()));
        assert!(enqueue(&mut long).is_pending());
        at_gate.recv().expect("the note's first passage");
        let mut other = pin!(pool.note("other", ada()));
        assert!(enqueue(&mut other).is_pending());
        let mut query = pin!(pool.query("query"));
        assert!(enqueue(&mut query).is_pending());
        release.send(()).expect("a waiting engine");
        let (long, other, query) = tokio::join!(long, other, query);
        assert!(long.is_ok() && other.is_ok() && query.is_ok());
        assert_eq!(lab.seen(), ["gate", "query", "rest", "other"]);
    }

    #[tokio::test]
    async fn a_full_queue_is_reported_at_once() {
        let Test { pool, at_gate, release, .. } = pool(1);
        let mut busy = pin!(pool.query("gate"));
        assert!(enqueue(&mut busy).is_pending());
        at_gate.recv().expect("a busy thread");
        let mut waiting = pin!(pool.query("waiting"));
        assert!(enqueue(&mut waiting).is_pending());
        assert_eq!(
            enqueue(&mut pin!(pool.query("too much"))),
            Poll::Ready(Err(EmbedError::Overloaded))
        );
        assert_eq!(
            enqueue(&mut pin!(pool.note("too much", ada()))),
            Poll::Ready(Err(EmbedError::Overloaded))
        );
        release.send(()).expect("a waiting engine");
        assert!(busy.await.is_ok() && waiting.await.is_ok());
    }

    #[tokio::test]
    async fn work_nobody_waits_for_is_skipped() {
        let Test { pool, lab, at_gate, release } = pool(8);
        let mut busy = pin!(pool.query("gate"));
        assert!(enqueue(&mut busy).is_pending());
        at_gate.recv().expect("a busy thread");
        for text in ["left", "gone"] {
            assert!(enqueue(&mut pin!(pool.query(text))).is_pending());
            assert!(enqueue(&mut pin!(pool.note(text, ada()))).is_pending());
        }
        release.send(()).expect("a waiting engine");
        busy.await.expect("an embedding");
        pool.note("last", ada()).await.expect("an embedding");
        assert_eq!(lab.seen(), ["gate", "last"]);
    }

    #[tokio::test]
    async fn a_note_whose_requester_leaves_in_the_middle_is_not_finished() {
        let Test { pool, lab, at_gate, release } = pool(8);
        {
            let mut long = pin!(pool.note("gate|rest", ada()));
            assert!(enqueue(&mut long).is_pending());
            at_gate.recv().expect("the note's first passage");
        }
        release.send(()).expect("a waiting engine");
        pool.note("last", ada()).await.expect("an embedding");
        assert_eq!(lab.seen(), ["gate", "last"]);
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_the_thread_goes_on_with_a_new_engine() {
        let Test { pool, lab, .. } = pool(8);
        let failed = Err(EmbedError::Failed("the model panicked: as asked".into()));
        assert_eq!(pool.query("panic").await, failed);
        pool.query("fine").await.expect("an embedding");
        assert_eq!(lab.built.load(Ordering::SeqCst), 2);
        let note = pool.note("a|panic|b", ada()).await.expect_err("a panic");
        assert_eq!(note, EmbedError::Failed("the model panicked: as asked".into()));
        pool.note("a|b", ada()).await.expect("an embedding");
        assert_eq!(lab.built.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn an_engine_that_cannot_be_loaded_again_is_unavailable_until_it_can() {
        let Test { pool, lab, .. } = pool(8);
        lab.broken.store(1, Ordering::SeqCst);
        pool.query("panic").await.expect_err("a panic");
        let unavailable = EmbedError::Unavailable("the file is gone".into());
        assert_eq!(pool.query("fine").await, Err(unavailable));
        lab.broken.store(0, Ordering::SeqCst);
        pool.query("fine").await.expect("an embedding");
    }

    #[tokio::test]
    async fn every_thread_gets_an_engine_and_all_work_is_answered() {
        let lab = Arc::new(Lab::default());
        let (gate, ..) = gate();
        let build = {
            let lab = Arc::clone(&lab);
            move || Ok(Fake { lab: Arc::clone(&lab), gate: Arc::clone(&gate) })
        };
        let pool = Arc::new(Pool::start(build().expect("an engine"), build, 3, 400).expect("ok"));
        let mut requests = tokio::task::JoinSet::new();
        for number in 0..100 {
            let pool = Arc::clone(&pool);
            requests.spawn(async move {
                let text = number.to_string();
                let owner = Owner::new(text.as_str(), "ada", Urgency::Single);
                pool.query(&text).await.is_ok() && pool.note(&text, &owner).await.is_ok()
            });
        }
        assert!(requests.join_all().await.into_iter().all(|ok| ok));
        assert_eq!(lab.seen().len(), 200);
    }

    #[tokio::test]
    async fn dropping_the_pool_turns_the_waiting_away_and_joins_the_threads() {
        let Test { pool, lab, at_gate, release } = pool(8);
        let ask = |text: &str| {
            let (reply, answer) = oneshot::channel();
            let queued = pool.queue.push_query(QueryWork { text: text.to_owned(), reply });
            assert!(queued.is_ok(), "room for {text}");
            answer
        };
        let busy = ask("gate");
        at_gate.recv().expect("a busy thread");
        let waiting = ask("waiting");
        let dropping = thread::spawn(move || drop(pool));
        assert!(waiting.await.is_err(), "turned away, not answered");
        release.send(()).expect("a waiting engine");
        dropping.join().expect("all threads joined");
        assert!(busy.await.expect("an answer").is_ok());
        assert_eq!(lab.seen(), ["gate"]);
    }

    #[tokio::test]
    async fn a_note_waits_for_one_step_of_a_batch_and_not_for_its_notes() {
        let Test { pool, lab, at_gate, release } = pool(64);
        let eve = Owner::new("acme", "eve", Urgency::Batch);
        let mut first = pin!(pool.note("gate|rest", &eve));
        assert!(enqueue(&mut first).is_pending());
        at_gate.recv().expect("the batch's first passage");
        let mut second = pin!(pool.note("more|and more", &eve));
        assert!(enqueue(&mut second).is_pending());
        let mut single = pin!(pool.note("short", ada()));
        assert!(enqueue(&mut single).is_pending());
        release.send(()).expect("a waiting engine");
        let done = tokio::join!(first, second, single);
        assert!(done.0.is_ok() && done.1.is_ok() && done.2.is_ok());
        assert_eq!(lab.seen(), ["gate", "short", "rest", "more", "and more"]);
    }
}
