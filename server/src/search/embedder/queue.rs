//! The bounded queue in front of the models: queries first, notes with what is left.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// The share of the queue, as a divisor, that notes leave to queries: an import that fills the
/// queue must not turn searches away.
const RESERVED_FOR_QUERIES: usize = 4;

/// How many queries may overtake a waiting note. At saturation, a step of note work for so many
/// queries costs them little, and notes still get done.
const MOST_QUERIES_IN_A_ROW: usize = 64;

/// Work that someone waits for.
pub(super) trait Request {
    /// Whether whoever asked has gone: the work need not be done.
    fn is_abandoned(&self) -> bool;
}

/// What the queue hands out.
pub(super) enum Task<Q, N> {
    Query(Q),
    Note(N),
}

/// A queue of queries `Q` and notes `N`; never blocks those who fill it.
pub(super) struct Queue<Q, N> {
    capacity: usize,
    state: Mutex<State<Q, N>>,
    changed: Condvar,
}

struct State<Q, N> {
    queries: VecDeque<Q>,
    /// Notes that threads work on and others can join; no more than there are threads.
    started: VecDeque<N>,
    notes: VecDeque<N>,
    queries_in_a_row: usize,
    closed: bool,
}

impl<Q: Request, N: Request> Queue<Q, N> {
    /// A queue of at most `capacity` waiting requests (at least one).
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                queries: VecDeque::new(),
                started: VecDeque::new(),
                notes: VecDeque::new(),
                queries_in_a_row: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a query, or gives it back when the queue is full or closed.
    pub(super) fn push_query(&self, query: Q) -> Result<(), Q> {
        let mut state = self.lock();
        if state.closed || !state.has_room(self.capacity) {
            return Err(query);
        }
        state.queries.push_back(query);
        self.changed.notify_one();
        Ok(())
    }

    /// Adds a note, or gives it back when its share of the queue is full, or the queue closed.
    pub(super) fn push_note(&self, note: N) -> Result<(), N> {
        let share = (self.capacity - self.capacity / RESERVED_FOR_QUERIES).max(1);
        let mut state = self.lock();
        if state.closed || !state.has_room(share) {
            return Err(note);
        }
        state.notes.push_back(note);
        self.changed.notify_one();
        Ok(())
    }

    /// Puts back a note of which more is to be done, before all others and whatever the queue's
    /// capacity.
    pub(super) fn resume_note(&self, note: N) {
        let mut state = self.lock();
        if !state.closed {
            state.started.push_back(note);
            self.changed.notify_one();
        }
    }

    /// Waits for the next request that someone still waits for; `None` when the queue is closed.
    pub(super) fn next(&self) -> Option<Task<Q, N>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.take() {
                Some(task) => return Some(task),
                None => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Ends every wait, and drops all waiting requests.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.queries.clear();
        state.started.clear();
        state.notes.clear();
        self.changed.notify_all();
    }

    // No code panics while it holds the lock, so a poisoned state is still a sound one.
    fn lock(&self) -> MutexGuard<'_, State<Q, N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Request, N: Request> State<Q, N> {
    /// Whether fewer than `capacity` requests wait; looks for abandoned ones only when it matters.
    fn has_room(&mut self, capacity: usize) -> bool {
        if self.queries.len() + self.notes.len() >= capacity {
            self.queries.retain(|query| !query.is_abandoned());
            self.notes.retain(|note| !note.is_abandoned());
        }
        self.queries.len() + self.notes.len() < capacity
    }

    fn take(&mut self) -> Option<Task<Q, N>> {
        if self.queries_in_a_row < MOST_QUERIES_IN_A_ROW
            && let Some(query) = first_wanted(&mut self.queries)
        {
            let overtaken = usize::from(!(self.started.is_empty() && self.notes.is_empty()));
            self.queries_in_a_row = overtaken * (self.queries_in_a_row + 1);
            return Some(Task::Query(query));
        }
        self.queries_in_a_row = 0;
        match first_wanted(&mut self.started).or_else(|| first_wanted(&mut self.notes)) {
            Some(note) => Some(Task::Note(note)),
            None => first_wanted(&mut self.queries).map(Task::Query),
        }
    }
}

fn first_wanted<R: Request>(requests: &mut VecDeque<R>) -> Option<R> {
    std::iter::from_fn(|| requests.pop_front()).find(|request| !request.is_abandoned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Job {
        name: usize,
        abandoned: bool,
    }

    impl Request for Job {
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
    }

    fn job(name: usize) -> Job {
        Job { name, abandoned: false }
    }

    fn gone(name: usize) -> Job {
        Job { name, abandoned: true }
    }

    fn next(queue: &Queue<Job, Job>) -> (char, usize) {
        match queue.next().expect("an open queue") {
            Task::Query(query) => ('q', query.name),
            Task::Note(note) => ('n', note.name),
        }
    }

    #[test]
    fn queries_overtake_notes_and_each_kind_keeps_its_order() {
        let queue = Queue::new(8);
        queue.push_note(job(1)).expect("room");
        queue.push_note(job(2)).expect("room");
        queue.push_query(job(3)).expect("room");
        queue.push_query(job(4)).expect("room");
        assert_eq!([(); 4].map(|()| next(&queue)), [('q', 3), ('q', 4), ('n', 1), ('n', 2)]);
    }

    #[test]
    fn a_note_is_overtaken_only_so_often() {
        let queue = Queue::new(4 * MOST_QUERIES_IN_A_ROW);
        queue.push_note(job(0)).expect("room");
        for query in 1..=2 * MOST_QUERIES_IN_A_ROW {
            queue.push_query(job(query)).expect("room");
        }
        for query in 1..=MOST_QUERIES_IN_A_ROW {
            assert_eq!(next(&queue), ('q', query));
        }
        assert_eq!(next(&queue), ('n', 0));
        assert_eq!(next(&queue), ('q', MOST_QUERIES_IN_A_ROW + 1));
    }

    #[test]
    fn a_half_finished_note_comes_before_the_others() {
        let queue = Queue::new(1);
        queue.push_note(job(2)).expect("room");
        queue.resume_note(job(1));
        assert_eq!([(); 2].map(|()| next(&queue)), [('n', 1), ('n', 2)]);
    }

    #[test]
    fn a_half_finished_note_takes_no_room() {
        let queue = Queue::new(1);
        queue.resume_note(job(1));
        queue.push_query(job(2)).expect("room");
        assert_eq!([(); 2].map(|()| next(&queue)), [('q', 2), ('n', 1)]);
    }

    #[test]
    fn a_full_queue_gives_requests_back_at_once_and_notes_leave_room_for_queries() {
        let queue = Queue::new(4);
        for note in 1..=3 {
            queue.push_note(job(note)).expect("room");
        }
        assert_eq!(queue.push_note(job(4)), Err(job(4)));
        queue.push_query(job(5)).expect("room");
        assert_eq!(queue.push_query(job(6)), Err(job(6)));
        assert_eq!(next(&queue), ('q', 5));
        queue.push_query(job(6)).expect("room again");
    }

    #[test]
    fn the_smallest_queue_takes_one_request_of_either_kind() {
        let queue = Queue::new(0);
        queue.push_note(job(1)).expect("room");
        assert_eq!(queue.push_query(job(2)), Err(job(2)));
        next(&queue);
        queue.push_query(job(2)).expect("room");
    }

    #[test]
    fn abandoned_requests_take_no_room_and_are_never_handed_out() {
        let queue = Queue::new(2);
        queue.push_query(gone(1)).expect("room");
        queue.push_query(gone(2)).expect("room");
        queue.push_query(job(3)).expect("the room of those who left");
        queue.push_note(gone(4)).expect("room");
        assert_eq!(next(&queue), ('q', 3));
        queue.push_query(gone(5)).expect("room");
        queue.push_note(job(6)).expect("the room of the one who left");
        assert_eq!(next(&queue), ('n', 6));
    }

    #[test]
    fn closing_ends_the_waiting_and_refuses_what_comes() {
        let queue: Queue<Job, Job> = Queue::new(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next().is_none());
            queue.close();
            assert!(waiting.join().expect("no panic"));
        });
        assert_eq!(queue.push_query(job(1)), Err(job(1)));
        assert_eq!(queue.push_note(job(1)), Err(job(1)));
        queue.resume_note(job(1));
        assert!(queue.next().is_none());
    }
}
