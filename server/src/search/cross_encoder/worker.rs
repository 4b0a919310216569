//! The thread that owns the model, and the short queue in front of it.

use super::CrossEncodeError;
use crate::search::panic_guard::{ModelError, PanicGuard};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;

/// What the thread owns and computes with.
pub(super) trait Judge: Send + 'static {
    /// How well a text fits a question.
    fn score(&mut self, question: &str, text: &str) -> Result<f32, CrossEncodeError>;
}

type Scores = Result<Vec<f32>, CrossEncodeError>;

/// A question, what to compare it with, and where the answer goes.
struct Work {
    question: String,
    texts: Vec<String>,
    reply: oneshot::Sender<Scores>,
}

/// The thread. Dropping it returns when the thread has finished the text that it reads.
pub(super) struct Worker {
    queue: Option<SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread with `first`; when that has panicked, `again` is called for another one.
    /// At most `capacity` questions wait, at least 1.
    ///
    /// # Errors
    /// [`CrossEncodeError::Unavailable`] when the system starts no more threads.
    pub(super) fn start<J: Judge>(
        first: J,
        again: impl Fn() -> Result<J, CrossEncodeError> + Send + 'static,
        capacity: usize,
    ) -> Result<Self, CrossEncodeError> {
        let (queue, waiting) = sync_channel(capacity.max(1));
        let judge = PanicGuard::new(Some(first), again);
        let thread = thread::Builder::new()
            .name("cross-encoder".into())
            .spawn(move || run(judge, &waiting))
            .map_err(|error| {
                CrossEncodeError::Unavailable(format!("no thread could be started: {error}"))
            })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Scores, in the order of `texts`. Whoever drops the future is not waited for: the thread goes
    /// on with the next question.
    pub(super) async fn score(&self, question: &str, texts: Vec<String>) -> Scores {
        let (reply, answer) = oneshot::channel();
        let work = Work { question: question.to_owned(), texts, reply };
        let queue = self.queue.as_ref().ok_or_else(shut_down)?;
        queue.try_send(work).map_err(|_| CrossEncodeError::Overloaded)?;
        answer.await.unwrap_or_else(|_| Err(shut_down()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // the end of the queue ends the thread
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that ended by a panic has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn shut_down() -> CrossEncodeError {
    CrossEncodeError::Unavailable("it has been shut down".into())
}

impl ModelError for CrossEncodeError {
    fn unavailable(reason: String) -> Self {
        CrossEncodeError::Unavailable(reason)
    }

    fn failed(reason: String) -> Self {
        CrossEncodeError::Failed(reason)
    }
}

/// What the thread does until the queue has ended.
fn run<J: Judge>(
    mut judge: PanicGuard<J, impl Fn() -> Result<J, CrossEncodeError>>,
    waiting: &Receiver<Work>,
) {
    loop {
        judge.prepare();
        let Ok(Work { question, texts, reply }) = waiting.recv() else { break };
        // text by text, so that a question whose deadline has passed stops
        let wanted = texts.iter().take_while(|_| !reply.is_closed());
        let scores = wanted.map(|text| judge.call(|judge| judge.score(&question, text))).collect();
        // Whoever asked may have gone.
        let _ = reply.send(scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};
    use std::task::{Context, Poll, Waker};

    /// A text's length; panics on `panic`, and on `gate` reports and waits to be released.
    struct Fake {
        seen: Arc<Mutex<Vec<String>>>,
        entered: mpsc::Sender<()>,
        release: Arc<Mutex<Receiver<()>>>,
    }

    impl Judge for Fake {
        fn score(&mut self, question: &str, text: &str) -> Result<f32, CrossEncodeError> {
            self.seen.lock().expect("no panic under the lock").push(format!("{question}/{text}"));
            match text {
                "panic" => panic!("as asked"),
                "error" => return Err(CrossEncodeError::Failed("as asked".into())),
                "gate" => {
                    self.entered.send(()).expect("a test that waits");
                    // A dropped sender releases, too.
                    let _ = self.release.lock().expect("no panic under the lock").recv();
                }
                _ => {}
            }
            Ok(text.len() as f32)
        }
    }

    struct Test {
        worker: Worker,
        seen: Arc<Mutex<Vec<String>>>,
        built: Arc<AtomicUsize>,
        at_gate: Receiver<()>,
        release: mpsc::Sender<()>,
    }

    fn worker(capacity: usize) -> Test {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let built = Arc::new(AtomicUsize::new(0));
        let (entered, at_gate) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let released = Arc::new(Mutex::new(released));
        let build = {
            let (seen, built) = (Arc::clone(&seen), Arc::clone(&built));
            move || {
                built.fetch_add(1, Ordering::SeqCst);
                let (seen, release) = (Arc::clone(&seen), Arc::clone(&released));
                Ok(Fake { seen, entered: entered.clone(), release })
            }
        };
        let first = build().expect("a judge");
        let worker = Worker::start(first, build, capacity).expect("a thread");
        Test { worker, seen, built, at_gate, release }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    /// Polls once: a question's place in the queue is taken when it is first polled.
    fn enqueue<F: Future>(request: &mut Pin<&mut F>) -> Poll<F::Output> {
        request.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn every_text_gets_its_score_in_the_order_asked() {
        let Test { worker, .. } = worker(1);
        assert_eq!(worker.score("q", texts(&["aaa", "a", "aa"])).await, Ok(vec![3.0, 1.0, 2.0]));
        assert_eq!(worker.score("q", Vec::new()).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn a_full_queue_is_reported_at_once() {
        let Test { worker, at_gate, release, .. } = worker(1);
        let mut busy = pin!(worker.score("busy", texts(&["gate"])));
        assert!(enqueue(&mut busy).is_pending());
        at_gate.recv().expect("a busy thread");
        let mut waiting = pin!(worker.score("waiting", texts(&["a"])));
        assert!(enqueue(&mut waiting).is_pending());
        let mut more = pin!(worker.score("too much", texts(&["a"])));
        assert_eq!(enqueue(&mut more), Poll::Ready(Err(CrossEncodeError::Overloaded)));
        release.send(()).expect("a waiting thread");
        assert!(busy.await.is_ok() && waiting.await.is_ok());
    }

    #[tokio::test]
    async fn work_nobody_waits_for_is_skipped_also_in_its_middle() {
        let Test { worker, seen, at_gate, release, .. } = worker(4);
        {
            let mut overdue = pin!(worker.score("overdue", texts(&["gate", "rest"])));
            assert!(enqueue(&mut overdue).is_pending());
            at_gate.recv().expect("a busy thread");
            assert!(enqueue(&mut pin!(worker.score("gone", texts(&["a"])))).is_pending());
        }
        release.send(()).expect("a waiting thread");
        assert_eq!(worker.score("last", texts(&["a"])).await, Ok(vec![1.0]));
        assert_eq!(*seen.lock().expect("no panic"), ["overdue/gate", "last/a"]);
    }

    #[tokio::test]
    async fn a_panic_and_an_error_are_answers_and_the_next_question_gets_another_model() {
        let Test { worker, built, .. } = worker(1);
        let error = worker.score("q", texts(&["a", "panic", "a"])).await.expect_err("a panic");
        assert!(error.to_string().contains("as asked"), "{error}");
        assert_eq!(worker.score("q", texts(&["aa"])).await, Ok(vec![2.0]));
        assert_eq!(built.load(Ordering::SeqCst), 2);
        let error = worker.score("q", texts(&["error"])).await.expect_err("an error");
        assert_eq!(error, CrossEncodeError::Failed("as asked".into()));
        assert_eq!(worker.score("q", texts(&["aa"])).await, Ok(vec![2.0]));
        assert_eq!(built.load(Ordering::SeqCst), 2);
    }
}
