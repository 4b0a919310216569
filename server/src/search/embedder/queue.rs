//! The bounded queue in front of the models: queries first, notes with what is left, and the owners
//! of notes in turns.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::owner::{Owner, URGENCIES, Urgency};

/// The share of the queue, as a divisor, that notes leave to queries: an import that fills the
/// queue must not turn searches away.
const RESERVED_FOR_QUERIES: usize = 4;

/// How many queries may overtake a waiting note. At saturation, a step of note work for so many
/// queries costs them little, and notes still get done.
const MOST_QUERIES_IN_A_ROW: usize = 64;

/// How many steps of more urgent notes may overtake one that waits.
const MOST_STEPS_IN_A_ROW: usize = 16;

/// How long after a single note batches leave a thread alone: a single note then need not even wait
/// for the step that a batch is at. Where nobody writes single notes, a batch has all threads.
const THREAD_KEPT_FOR: Duration = Duration::from_secs(10);

/// Work that someone waits for.
pub(super) trait Request {
    /// Whether whoever asked has gone: the work need not be done.
    fn is_abandoned(&self) -> bool;
}

/// A request that takes turns with those of other owners.
pub(super) trait Owned: Request {
    /// The one who takes the turn, and how soon the work is wanted.
    fn owner(&self) -> &Owner;
}

/// What the queue hands out.
pub(super) enum Task<Q, N> {
    Query(Q),
    Note(N),
}

/// One thread that takes from the queue, as the queue knows it.
#[derive(Default)]
pub(super) struct Worker {
    /// It works on a note that is not urgent.
    patient: bool,
}

/// A queue of queries `Q` and notes `N`; never blocks those who fill it.
pub(super) struct Queue<Q, N> {
    capacity: usize,
    threads: usize,
    state: Mutex<State<Q, N>>,
    changed: Condvar,
}

struct State<Q, N> {
    queries: VecDeque<Q>,
    /// By urgency.
    notes: [Lane<N>; URGENCIES],
    queries_in_a_row: usize,
    /// When a single note came last.
    single_at: Option<Instant>,
    /// How many threads work on notes that are not urgent.
    patient: usize,
    closed: bool,
}

/// Notes of one urgency: their organizations take turns, and the authors within each.
struct Lane<N> {
    groups: Turns<Turns<Notes<N>>>,
    /// How many steps of more urgent notes have overtaken these.
    overtaken: usize,
}

/// Some that take turns, each by its key. Whoever has nothing waiting is not among them.
struct Turns<T>(VecDeque<(String, T)>);

/// The notes of one owner.
struct Notes<N> {
    /// Those that threads work on and others can join.
    started: VecDeque<N>,
    waiting: VecDeque<N>,
}

impl<Q: Request, N: Owned> Queue<Q, N> {
    /// A queue of at most `capacity` waiting requests (at least one) for so many threads.
    pub(super) fn new(capacity: usize, threads: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            threads,
            state: Mutex::new(State {
                queries: VecDeque::new(),
                notes: Default::default(),
                queries_in_a_row: 0,
                single_at: None,
                patient: 0,
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

    /// Adds a note, or gives it back when the notes' share of the queue is full, or that of its
    /// owner, or the queue closed.
    pub(super) fn push_note(&self, note: N) -> Result<(), N> {
        let share = (self.capacity - self.capacity / RESERVED_FOR_QUERIES).max(1);
        let mut state = self.lock();
        if state.closed || !state.has_room(share) || !state.has_room_for(note.owner(), share) {
            return Err(note);
        }
        if note.owner().urgency == Urgency::Single {
            state.single_at = Some(Instant::now());
        }
        state.notes_of(note.owner()).waiting.push_back(note);
        self.changed.notify_one();
        Ok(())
    }

    /// Puts back a note of which more is to be done, before the others of its owner and whatever the
    /// queue's capacity.
    pub(super) fn resume_note(&self, note: N) {
        let mut state = self.lock();
        if !state.closed {
            state.notes_of(note.owner()).started.push_back(note);
            self.changed.notify_one();
        }
    }

    /// Waits for the next request that someone still waits for; `None` when the queue is closed.
    /// The worker has done the one before.
    pub(super) fn next(&self, worker: &mut Worker) -> Option<Task<Q, N>> {
        let mut state = self.lock();
        if std::mem::take(&mut worker.patient) {
            state.patient = state.patient.saturating_sub(1);
        }
        loop {
            if state.closed {
                return None;
            }
            match state.take(self.threads, worker) {
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
        state.notes = Default::default();
        self.changed.notify_all();
    }

    // No code panics while it holds the lock, so a poisoned state is still a sound one.
    fn lock(&self) -> MutexGuard<'_, State<Q, N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q: Request, N: Owned> State<Q, N> {
    /// Whether fewer than `capacity` requests wait; looks for abandoned ones only when it matters.
    fn has_room(&mut self, capacity: usize) -> bool {
        if self.waiting() >= capacity {
            self.forget_abandoned();
        }
        self.waiting() < capacity
    }

    /// Whether the owner has room for one more note: an author has half of what notes have, and an
    /// organization three quarters, so that nobody fills it alone.
    fn has_room_for(&mut self, owner: &Owner, share: usize) -> bool {
        let fits = |state: &Self| {
            let of = |author: Option<&str>| {
                state.notes.iter().map(|lane| lane.waiting(&owner.group, author)).sum::<usize>()
            };
            of(Some(&owner.member)) < share.div_ceil(2) && of(None) < (3 * share).div_ceil(4)
        };
        if !fits(self) {
            self.forget_abandoned();
        }
        fits(self)
    }

    fn waiting(&self) -> usize {
        let notes = self.notes.iter().flat_map(Lane::owners).map(|notes| notes.waiting.len());
        self.queries.len() + notes.sum::<usize>()
    }

    fn forget_abandoned(&mut self) {
        self.queries.retain(|query| !query.is_abandoned());
        for lane in &mut self.notes {
            lane.groups.0.retain_mut(|(_, members)| {
                members.0.retain_mut(|(_, notes)| {
                    notes.waiting.retain(|note| !note.is_abandoned());
                    !notes.is_empty()
                });
                !members.0.is_empty()
            });
        }
    }

    fn notes_of(&mut self, owner: &Owner) -> &mut Notes<N> {
        self.notes[owner.urgency as usize].groups.entry(&owner.group).entry(&owner.member)
    }

    fn take(&mut self, threads: usize, worker: &mut Worker) -> Option<Task<Q, N>> {
        if self.queries_in_a_row < MOST_QUERIES_IN_A_ROW
            && let Some(query) = first_wanted(&mut self.queries)
        {
            let overtaken = usize::from(!self.notes.iter().all(Lane::is_empty));
            self.queries_in_a_row = overtaken * (self.queries_in_a_row + 1);
            return Some(Task::Query(query));
        }
        self.queries_in_a_row = 0;
        match self.take_note(threads) {
            Some(note) => {
                worker.patient = note.owner().urgency != Urgency::Single;
                self.patient += usize::from(worker.patient);
                Some(Task::Note(note))
            }
            None => first_wanted(&mut self.queries).map(Task::Query),
        }
    }

    fn take_note(&mut self, threads: usize) -> Option<N> {
        let kept = self.single_at.is_some_and(|at| at.elapsed() < THREAD_KEPT_FOR);
        let open = if self.patient < threads.saturating_sub(usize::from(kept)).max(1) {
            URGENCIES
        } else {
            1 // urgent ones alone
        };
        let due = (1..open).find(|at| self.notes[*at].overtaken >= MOST_STEPS_IN_A_ROW);
        for at in due.into_iter().chain(0..open) {
            if let Some(note) = self.notes[at].next() {
                self.notes[at].overtaken = 0;
                for lane in &mut self.notes[at + 1..] {
                    lane.overtaken = if lane.is_empty() { 0 } else { lane.overtaken + 1 };
                }
                return Some(note);
            }
        }
        None
    }
}

impl<N: Request> Lane<N> {
    fn is_empty(&self) -> bool {
        self.groups.0.is_empty()
    }

    fn owners(&self) -> impl Iterator<Item = &Notes<N>> {
        self.groups.0.iter().flat_map(|(_, members)| members.0.iter().map(|(_, notes)| notes))
    }

    /// How many notes of the group, or of one of its members, wait.
    fn waiting(&self, group: &str, member: Option<&str>) -> usize {
        let group = self.groups.0.iter().filter(|(key, _)| key == group);
        let members = group.flat_map(|(_, members)| members.0.iter());
        members
            .filter(|(key, _)| member.is_none_or(|member| key == member))
            .map(|(_, notes)| notes.waiting.len())
            .sum()
    }

    /// A note of whoever's turn it is.
    fn next(&mut self) -> Option<N> {
        self.groups.next(|members| {
            let note = members.next(|notes| {
                let note =
                    first_wanted(&mut notes.started).or_else(|| first_wanted(&mut notes.waiting));
                (note, notes.is_empty())
            });
            (note, members.0.is_empty())
        })
    }
}

impl<T: Default> Turns<T> {
    /// The one with the key, who comes after all others when new.
    fn entry(&mut self, key: &str) -> &mut T {
        let at = self.0.iter().position(|(own, _)| own == key).unwrap_or_else(|| {
            self.0.push_back((key.to_owned(), T::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    /// The first thing that `take` finds, asking one after the other. `take` tells as well whether
    /// that one has nothing left: then it goes, and otherwise goes behind the others.
    fn next<R>(&mut self, mut take: impl FnMut(&mut T) -> (Option<R>, bool)) -> Option<R> {
        while let Some((key, mut first)) = self.0.pop_front() {
            let (taken, is_empty) = take(&mut first);
            if !is_empty {
                self.0.push_back((key, first));
            }
            if taken.is_some() {
                return taken;
            }
        }
        None
    }
}

impl<N> Notes<N> {
    fn is_empty(&self) -> bool {
        self.started.is_empty() && self.waiting.is_empty()
    }
}

impl<N> Default for Lane<N> {
    fn default() -> Self {
        Lane { groups: Turns::default(), overtaken: 0 }
    }
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Turns(VecDeque::new())
    }
}

impl<N> Default for Notes<N> {
    fn default() -> Self {
        Notes { started: VecDeque::new(), waiting: VecDeque::new() }
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
        owner: Owner,
    }

    impl Request for Job {
        fn is_abandoned(&self) -> bool {
            self.abandoned
        }
    }

    impl Owned for Job {
        fn owner(&self) -> &Owner {
            &self.owner
        }
    }

    fn of(group: &str, member: &str, urgency: Urgency, name: usize) -> Job {
        Job { name, abandoned: false, owner: Owner::new(group, member, urgency) }
    }

    fn job(name: usize) -> Job {
        of("acme", "ada", Urgency::Single, name)
    }

    fn gone(name: usize) -> Job {
        Job { abandoned: true, ..job(name) }
    }

    fn queue(capacity: usize) -> Queue<Job, Job> {
        Queue::new(capacity, 1)
    }

    /// Takes steps of notes, each note having as many as told, until all of them are done.
    fn steps(queue: &Queue<Job, Job>, each: usize) -> Vec<usize> {
        let mut left = std::collections::HashMap::new();
        let mut order = Vec::new();
        while !queue.lock().notes.iter().all(Lane::is_empty) {
            let Some(Task::Note(note)) = queue.next(&mut Worker::default()) else {
                panic!("no note")
            };
            queue.lock().patient = 0;
            order.push(note.name);
            let left = left.entry(note.name).or_insert(each);
            *left -= 1;
            if *left > 0 {
                queue.resume_note(note);
            }
        }
        order
    }

    fn next(queue: &Queue<Job, Job>) -> (char, usize) {
        match queue.next(&mut Worker::default()).expect("an open queue") {
            Task::Query(query) => ('q', query.name),
            Task::Note(note) => ('n', note.name),
        }
    }

    #[test]
    fn queries_overtake_notes_and_each_kind_keeps_its_order() {
        let queue = queue(8);
        queue.push_note(job(1)).expect("room");
        queue.push_note(job(2)).expect("room");
        queue.push_query(job(3)).expect("room");
        queue.push_query(job(4)).expect("room");
        assert_eq!([(); 4].map(|()| next(&queue)), [('q', 3), ('q', 4), ('n', 1), ('n', 2)]);
    }

    #[test]
    fn a_note_is_overtaken_only_so_often() {
        let queue = queue(4 * MOST_QUERIES_IN_A_ROW);
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
        let queue = queue(1);
        queue.push_note(job(2)).expect("room");
        queue.resume_note(job(1));
        assert_eq!([(); 2].map(|()| next(&queue)), [('n', 1), ('n', 2)]);
    }

    #[test]
    fn a_half_finished_note_takes_no_room() {
        let queue = queue(1);
        queue.resume_note(job(1));
        queue.push_query(job(2)).expect("room");
        assert_eq!([(); 2].map(|()| next(&queue)), [('q', 2), ('n', 1)]);
    }

    #[test]
    fn a_full_queue_gives_requests_back_at_once_and_notes_leave_room_for_queries() {
        let queue = queue(4);
        for (note, group) in [(1, "acme"), (2, "globex"), (3, "initech")] {
            queue.push_note(of(group, "ada", Urgency::Single, note)).expect("room");
        }
        assert_eq!(queue.push_note(job(4)), Err(job(4)));
        queue.push_query(job(5)).expect("room");
        assert_eq!(queue.push_query(job(6)), Err(job(6)));
        assert_eq!(next(&queue), ('q', 5));
        queue.push_query(job(6)).expect("room again");
    }

    #[test]
    fn the_smallest_queue_takes_one_request_of_either_kind() {
        let queue = queue(0);
        queue.push_note(job(1)).expect("room");
        assert_eq!(queue.push_query(job(2)), Err(job(2)));
        next(&queue);
        queue.push_query(job(2)).expect("room");
    }

    #[test]
    fn abandoned_requests_take_no_room_and_are_never_handed_out() {
        let queue = queue(2);
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
        let queue = queue(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.next(&mut Worker::default()).is_none());
            queue.close();
            assert!(waiting.join().expect("no panic"));
        });
        assert_eq!(queue.push_query(job(1)), Err(job(1)));
        assert_eq!(queue.push_note(job(1)), Err(job(1)));
        queue.resume_note(job(1));
        assert!(queue.next(&mut Worker::default()).is_none());
    }

    #[test]
    fn authors_take_turns_step_by_step_whoever_came_first() {
        let queue = queue(64);
        for note in 1..=3 {
            queue.push_note(job(note)).expect("room");
        }
        queue.push_note(of("acme", "eve", Urgency::Single, 9)).expect("room");
        let order = steps(&queue, 3);
        assert_eq!(order, [1, 9, 1, 9, 1, 9, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn organizations_take_turns_however_many_authors_each_has() {
        let queue = queue(64);
        for (name, member) in ["a", "b", "c", "d"].into_iter().enumerate() {
            queue.push_note(of("acme", member, Urgency::Single, name)).expect("room");
        }
        queue.push_note(of("globex", "a", Urgency::Single, 9)).expect("room");
        assert_eq!(steps(&queue, 2), [0, 9, 1, 9, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_single_note_comes_before_batches_and_those_before_the_background() {
        let queue = queue(64);
        for (name, urgency) in [Urgency::Background, Urgency::Batch].into_iter().enumerate() {
            queue.push_note(of("acme", "eve", urgency, name)).expect("room");
        }
        queue.push_note(of("acme", "eve", Urgency::Single, 9)).expect("room");
        assert_eq!(steps(&queue, 3), [9, 9, 9, 1, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn what_is_less_urgent_is_overtaken_only_so_often() {
        let queue = queue(64);
        queue.push_note(of("acme", "eve", Urgency::Background, 1)).expect("room");
        queue.push_note(job(0)).expect("room");
        let order = steps(&queue, 2 * MOST_STEPS_IN_A_ROW + 2);
        assert_eq!(order.iter().position(|name| *name == 1), Some(MOST_STEPS_IN_A_ROW));
        assert_eq!(order[2 * MOST_STEPS_IN_A_ROW + 1], 1);
    }

    #[test]
    fn one_author_and_one_organization_leave_room_to_others() {
        let queue = queue(16); // of which notes have 12
        let push = |group: &str, member: &str, most: usize| {
            (0..most)
                .take_while(|note| {
                    queue.push_note(of(group, member, Urgency::Batch, *note)).is_ok()
                })
                .count()
        };
        assert_eq!(push("acme", "eve", 12), 6);
        assert_eq!(push("acme", "mallory", 12), 3);
        assert_eq!(push("globex", "ada", 3), 3);
    }

    #[test]
    fn after_a_single_note_batches_leave_a_thread_alone() {
        let queue = Queue::<Job, Job>::new(16, 2);
        let mut threads = [Worker::default(), Worker::default()];
        let batch = |name| of("acme", "eve", Urgency::Batch, name);
        let take = |worker: &mut Worker| match queue.lock().take(2, worker) {
            Some(Task::Note(note)) => Some(note.name),
            _ => None,
        };
        // nobody writes single notes: both threads work on batches
        for name in 1..=3 {
            queue.push_note(batch(name)).expect("room");
        }
        assert_eq!(threads.each_mut().map(take), [Some(1), Some(2)]);
        // somebody does: one of them is kept for more such notes
        queue.push_note(job(9)).expect("room");
        let [first, second] = &mut threads;
        assert!(matches!(queue.next(first), Some(Task::Note(Job { name: 9, .. }))));
        let mut third = Worker::default();
        assert_eq!(take(&mut third), None);
        assert!(matches!(queue.next(second), Some(Task::Note(Job { name: 3, .. }))));
        queue.push_note(job(10)).expect("room");
        assert_eq!(take(&mut third), Some(10));
    }
}
