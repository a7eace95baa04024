//! The threads that compute, and how the outputs of a kernel are divided among them.
//!
//! [`Workers::run`] hands out task numbers one by one; whoever is free takes the next. Which thread takes which task never
//! changes a bit, because a task computes whole outputs (section 1 of the normative text). A worker that has nothing to do
//! spins for some microseconds, since the next kernel usually follows at once, and then sleeps.

#![allow(unsafe_code, reason = "tasks borrow from the caller's stack, and write disjoint parts of one slice")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Turns of the waiting loop before a worker sleeps: some tens of microseconds.
const SPINS: u32 = 2_000;

/// A fixed set of threads, the caller's among them.
#[derive(Debug)]
pub struct Workers {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
    /// Held by the one caller whose tasks the workers carry out.
    caller: Mutex<()>,
}

/// The tasks under way: a function of the task's number, with its type forgotten.
#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), usize),
    data: *const (),
    tasks: usize,
}

// SAFETY: `data` points to a `Sync` closure, and `run` keeps it alive until no worker uses it.
unsafe impl Send for Job {}

struct Shared {
    /// Number of the job that may be joined, 0 when none is open.
    open: AtomicUsize,
    /// Workers that are inside a job.
    inside: AtomicUsize,
    /// Next task to hand out.
    next: AtomicUsize,
    /// Workers that may take part, the caller not counted.
    allowed: AtomicUsize,
    panicked: AtomicBool,
    stopping: AtomicBool,
    sleepers: AtomicUsize,
    job: Mutex<Option<Job>>,
    bell: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Workers {
    /// `threads` threads in all, at least 1: the caller of [`Workers::run`] is one of them.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let others = threads.max(1) - 1;
        let shared = Arc::new(Shared {
            open: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            allowed: AtomicUsize::new(others),
            panicked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            job: Mutex::new(None),
            bell: Condvar::new(),
        });
        let mut workers = Self { shared, handles: Vec::with_capacity(others), caller: Mutex::new(()) };
        for i in 0..others {
            let shared = workers.shared.clone();
            let thread = std::thread::Builder::new().name(format!("skep-worker-{i}"));
            workers.handles.push(thread.spawn(move || shared.work(i))?);
        }
        Ok(workers)
    }

    /// Threads that take part, the caller's among them.
    pub fn threads(&self) -> usize {
        self.shared.allowed.load(Ordering::Relaxed) + 1
    }

    /// Lets at most `threads` threads take part from the next call on; at least 1, at most as many as were made.
    pub fn limit(&self, threads: usize) {
        self.shared.allowed.store(threads.clamp(1, self.handles.len() + 1) - 1, Ordering::Relaxed);
    }

    /// Calls `f` once with each number below `tasks`, on any of the threads, and returns when all calls are over.
    ///
    /// When the workers are busy for another caller, all tasks run on the calling thread. A task that panics makes this
    /// call panic.
    pub fn run<F: Fn(usize) + Sync>(&self, tasks: usize, f: F) {
        let guard = match self.caller.try_lock() {
            Ok(guard) if tasks > 1 && self.threads() > 1 => guard,
            _ => return (0..tasks).for_each(f),
        };
        /// # Safety
        /// `data` points to an `F`.
        unsafe fn call<F: Fn(usize)>(data: *const (), task: usize) {
            // SAFETY: the caller's promise.
            unsafe { (*data.cast::<F>())(task) }
        }
        let job = Job { call: call::<F>, data: (&raw const f).cast(), tasks };
        // Leaving, also by a panic of `f` on this thread, waits until no worker holds the pointer to `f`.
        let session = Session { shared: &self.shared, _guard: guard };
        self.shared.begin(job);
        // SAFETY: `f` lives on this stack until `session` is dropped, and `call` is of its type.
        unsafe { self.shared.take_tasks(job) };
        drop(session);
        if self.shared.panicked.swap(false, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("a task of a kernel panicked"));
        }
    }

    /// Splits `out` into parts of `width` elements and calls `f(i, part)` for each, `grain` parts a task.
    pub fn for_parts<T: Send>(&self, out: &mut [T], width: usize, grain: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let (width, grain) = (width.max(1), grain.max(1));
        let parts = out.len().div_ceil(width);
        let base = Parts::new(out);
        self.run(parts.div_ceil(grain), |task| {
            for i in task * grain..((task + 1) * grain).min(parts) {
                // SAFETY: parts do not overlap, each is visited by one task, and `out` is borrowed for the whole call.
                f(i, unsafe { base.part(i * width, width) });
            }
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        drop(self.shared.job());
        self.shared.bell.notify_all();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

/// A slice whose disjoint parts go to different threads.
#[derive(Debug)]
pub(crate) struct Parts<T>(*mut T, usize);

impl<T> Clone for Parts<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Parts<T> {}

// SAFETY: only disjoint parts are handed out (the promise of `part`), so this is as sending the parts themselves.
unsafe impl<T: Send> Send for Parts<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Parts<T> {}

impl<T> Parts<T> {
    pub(crate) fn new(out: &mut [T]) -> Self {
        Self(out.as_mut_ptr(), out.len())
    }

    /// The first element.
    pub(crate) fn start(&self) -> *mut T {
        self.0
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.1
    }

    /// Elements `from..from + len`, cut at the end of the slice.
    ///
    /// # Safety
    /// The slice is still borrowed, and no other part that overlaps this one is in use.
    #[allow(clippy::mut_from_ref, reason = "the parts are disjoint")]
    pub(crate) unsafe fn part<'a>(&self, from: usize, len: usize) -> &'a mut [T] {
        let from = from.min(self.1);
        // SAFETY: the range lies within the slice; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(from), len.min(self.1 - from)) }
    }
}

/// An open job; closing it waits for the workers inside.
struct Session<'a> {
    shared: &'a Shared,
    _guard: MutexGuard<'a, ()>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.shared.next.store(usize::MAX / 2, Ordering::SeqCst);
        self.shared.open.store(0, Ordering::SeqCst);
        let mut turns = 0u32;
        while self.shared.inside.load(Ordering::SeqCst) > 0 {
            turns = turns.wrapping_add(1);
            // A worker that was taken off its processor in the middle of a task must get it back.
            if turns.is_multiple_of(256) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

impl Shared {
    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, job: Job) {
        // A number that is never 0 and differs from the last one.
        static COUNTER: AtomicUsize = AtomicUsize::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed) % (usize::MAX / 2) + 1;
        *self.job() = Some(job);
        self.next.store(0, Ordering::SeqCst);
        self.open.store(number, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(self.job());
            self.bell.notify_all();
        }
    }

    /// # Safety
    /// `job.data` is alive and `job.call` is of its type.
    unsafe fn take_tasks(&self, job: Job) {
        loop {
            let task = self.next.fetch_add(1, Ordering::SeqCst);
            if task >= job.tasks {
                return;
            }
            // SAFETY: the caller's promise.
            unsafe { (job.call)(job.data, task) };
        }
    }

    /// The life of worker `i`.
    fn work(&self, i: usize) {
        // A thread whose arithmetic differs takes no part; the caller then does its share.
        if crate::check_float_environment().is_err() {
            return;
        }
        let mut last = 0;
        while let Some(number) = self.wait(last, i) {
            last = number;
            self.inside.fetch_add(1, Ordering::SeqCst);
            // A job that was closed meanwhile must not be touched; one that is open now stays until `inside` is 0 again.
            if self.open.load(Ordering::SeqCst) == number {
                let job = *self.job();
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    if let Some(job) = job {
                        // SAFETY: `Session` keeps the closure alive while a worker is inside.
                        unsafe { self.take_tasks(job) };
                    }
                }));
                if result.is_err() {
                    self.panicked.store(true, Ordering::SeqCst);
                }
            }
            self.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// The number of an open job other than `last`, or `None` when the workers stop.
    fn wait(&self, last: usize, i: usize) -> Option<usize> {
        let ready = || {
            let number = self.open.load(Ordering::SeqCst);
            (number != 0 && number != last && i < self.allowed.load(Ordering::Relaxed)).then_some(number)
        };
        for _ in 0..SPINS {
            if self.stopping.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(number) = ready() {
                return Some(number);
            }
            std::hint::spin_loop();
        }
        let mut job = self.job();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            if self.stopping.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(number) = ready() {
                break Some(number);
            }
            job = self.bell.wait(job).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn every_task_runs_once_for_any_number_of_threads() {
        for threads in [1, 2, 3, 7] {
            let workers = Workers::new(threads).unwrap();
            for round in 0..300 {
                let counts: Vec<AtomicU32> = (0..round % 23).map(|_| AtomicU32::new(0)).collect();
                workers.run(counts.len(), |i| {
                    counts[i].fetch_add(1, Ordering::SeqCst);
                });
                assert!(counts.iter().all(|count| count.load(Ordering::SeqCst) == 1));
            }
        }
    }

    #[test]
    fn parts_cover_the_slice_and_sleeping_workers_wake() {
        let workers = Workers::new(3).unwrap();
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
            let mut out = vec![0usize; 1001];
            workers.for_parts(&mut out, 10, 2, |i, part| part.fill(i + 1));
            assert!(out.iter().enumerate().all(|(at, value)| *value == at / 10 + 1));
        }
    }

    #[test]
    fn several_callers_share_the_workers_and_a_limit_holds() {
        let workers = Workers::new(4).unwrap();
        workers.limit(2);
        assert_eq!(workers.threads(), 2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicU32::new(0);
                        workers.run(10, |i| {
                            sum.fetch_add(i as u32, Ordering::SeqCst);
                        });
                        assert_eq!(sum.into_inner(), 45);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_of_a_task_reaches_the_caller_and_the_workers_go_on() {
        let workers = Workers::new(3).unwrap();
        for _ in 0..20 {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                workers.run(50, |i| assert!(i != 17, "task 17 fails"));
            }));
            assert!(result.is_err());
            let sum = AtomicU32::new(0);
            workers.run(10, |i| {
                sum.fetch_add(i as u32, Ordering::SeqCst);
            });
            assert_eq!(sum.into_inner(), 45);
        }
    }
}
