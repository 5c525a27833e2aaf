//! A pool of threads that share out the parts of a job.
//!
//! Each thread begins with a run of parts of its own, the same in every job that has as many: what it
//! wrote in one step of a network it finds in its cache in the next, and caches that two cores do not
//! share are slow to read. A thread that is through with its own takes over those of the others. So a
//! job must not let its result depend on who takes which part: every part writes its own piece of
//! the output, and no sum is cut by the number of threads.

mod blocks;
mod lent;
mod maps;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

pub(crate) use blocks::{Block, Grid};
use lent::Lent;
pub(crate) use maps::{Maps, Patch, Runs, TileCut, Tiled};

/// A pool of workers living as long as this value. The caller is one of its `count` threads.
///
/// It may be used from several threads at once and from inside a job: whoever finds it busy does
/// the work alone.
pub struct Threads {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Held by the caller whose job the workers are at: of each thread, the next of its own parts.
    turn: Mutex<Box<[Next]>>,
}

/// On a line of cache of its own.
#[repr(align(64))]
#[derive(Default)]
struct Next(AtomicUsize);

impl Threads {
    /// A pool of `count` threads, the caller among them; one thread spawns nothing.
    ///
    /// # Panics
    /// If `count` is 0, or the system has no more threads to give.
    pub fn new(count: usize) -> Threads {
        assert!(count > 0, "a pool needs a thread");
        let shared = Arc::new(Shared::default());
        let spawn = |thread| {
            let shared = Arc::clone(&shared);
            let name = format!("striate-{thread}");
            let worker = thread::Builder::new().name(name).spawn(move || shared.work(thread));
            worker.expect("the system starts a thread")
        };
        let workers = (1..count).map(spawn).collect();
        let turn = Mutex::new((0..count).map(|_| Next::default()).collect());
        Threads { shared, workers, turn }
    }

    /// How many threads this machine runs at once.
    pub fn available() -> usize {
        thread::available_parallelism().map_or(1, |count| count.get())
    }

    /// Threads of the pool, the caller included.
    pub fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `job(0)` to `job(parts - 1)`, each once, on all threads; returns when all are done.
    ///
    /// # Panics
    /// With the panic of a part, after all parts have been run. The pool stays usable.
    pub fn run(&self, parts: usize, job: impl Fn(usize) + Sync) {
        self.share(parts, |_, part| job(part));
    }

    /// Splits `out` into consecutive chunks of `len` (the last may be shorter) and runs
    /// `job(i, chunk)` for each, on all threads.
    ///
    /// # Panics
    /// If `len` is 0; with the panic of a job.
    pub fn chunks<T: Send>(&self, out: &mut [T], len: usize, job: impl Fn(usize, &mut [T]) + Sync) {
        self.chunks_with(out, len, &mut [], |i, chunk, _: &mut [()]| job(i, chunk));
    }

    /// [`chunks`](Threads::chunks) with scratch: each thread has its own `scratch.len() / count`.
    ///
    /// # Panics
    /// If `len` is 0; with the panic of a job.
    pub fn chunks_with<T: Send, S: Send>(
        &self,
        out: &mut [T],
        len: usize,
        scratch: &mut [S],
        job: impl Fn(usize, &mut [T], &mut [S]) + Sync,
    ) {
        let (parts, end) = (out.len().div_ceil(len), out.len());
        let share = scratch.len() / self.count();
        let (out, scratch) = (Lent::new(out), Lent::new(scratch));
        self.share(parts, |thread, part| {
            let start = part * len;
            // SAFETY: parts are run once each and their ranges are disjoint; a thread runs one
            // part at a time, and no two threads of a job have the same number.
            let (out, scratch) = unsafe {
                (out.slice(start, len.min(end - start)), scratch.slice(thread * share, share))
            };
            job(part, out, scratch);
        });
    }

    /// [`chunks`](Threads::chunks) of two outputs side by side: `job(i, a_chunk, b_chunk)`, the
    /// chunks being `a_len` and `b_len` long.
    ///
    /// # Panics
    /// If a length is 0 or the two do not split into equally many chunks; with the panic of a job.
    pub fn chunks_of_two<A: Send, B: Send>(
        &self,
        (a, a_len): (&mut [A], usize),
        (b, b_len): (&mut [B], usize),
        job: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let (parts, a_end, b_end) = (a.len().div_ceil(a_len), a.len(), b.len());
        assert_eq!(parts, b_end.div_ceil(b_len), "both outputs have as many chunks");
        let (a, b) = (Lent::new(a), Lent::new(b));
        self.run(parts, |part| {
            let (a_start, b_start) = (part * a_len, part * b_len);
            // SAFETY: parts are run once each, and the ranges of two parts are disjoint.
            let (a, b) = unsafe {
                (
                    a.slice(a_start, a_len.min(a_end - a_start)),
                    b.slice(b_start, b_len.min(b_end - b_start)),
                )
            };
            job(part, a, b);
        });
    }

    /// Runs `job(thread, part)` for every part; no two parts run at the same time with the same
    /// `thread`, which is below `count`.
    fn share(&self, parts: usize, job: impl Fn(usize, usize) + Sync) {
        let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
        let run = |thread, part| {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(thread, part))) {
                let mut first = lock(&panic);
                match *first {
                    None => *first = Some(payload),
                    // Dropping it might panic once more, and a task must not unwind.
                    Some(_) => std::mem::forget(payload),
                }
            }
        };
        let count = self.count();
        // A busy pool (another caller, or a job within a job) does not help.
        match if parts > 1 && count > 1 { self.turn.try_lock().ok() } else { None } {
            None => (0..parts).for_each(|part| run(0, part)),
            Some(mut next) => {
                let first = |thread: usize| parts * thread / count;
                for (thread, next) in next.iter_mut().enumerate() {
                    *next.0.get_mut() = first(thread);
                }
                self.shared.lend(&|thread| {
                    for owner in (thread..count).chain(0..thread) {
                        loop {
                            let part = next[owner].0.fetch_add(1, Ordering::Relaxed);
                            if part >= first(owner + 1) {
                                break;
                            }
                            run(thread, part);
                        }
                    }
                });
            }
        }
        if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
            resume_unwind(payload);
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let task = lock(&self.shared.task);
        self.shared.closing.store(true, Ordering::Release);
        self.shared.called.ring();
        drop(task);
        for worker in self.workers.drain(..) {
            worker.join().expect("workers catch the panics of their jobs");
        }
    }
}

/// What a worker calls with its number: it takes parts of the job until none is left.
type Task = &'static (dyn Fn(usize) + Sync);

/// What callers and workers see of each other. The atomics change only under the lock of `task`,
/// so that waiting may look at them either by spinning or by sleeping.
#[derive(Default)]
struct Shared {
    task: Mutex<Option<Task>>,
    /// Counts the tasks.
    generation: AtomicUsize,
    /// Workers that hold the task.
    active: AtomicUsize,
    closing: AtomicBool,
    called: Bell,
    finished: Bell,
}

/// Wakes those who sleep. Nobody is asleep while jobs follow each other, and then it costs nothing,
/// where a [`Condvar`] alone asks the system each time.
#[derive(Default)]
struct Bell {
    condvar: Condvar,
    /// Those asleep. Changes only under the lock of `task`.
    sleepers: AtomicUsize,
}

impl Bell {
    /// To be called under the lock of `task`.
    fn ring(&self) {
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            self.condvar.notify_all();
        }
    }

    /// Sleeps until it rings, or for no reason.
    fn sleep<'a>(&self, slot: MutexGuard<'a, Option<Task>>) -> MutexGuard<'a, Option<Task>> {
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        let slot = self.condvar.wait(slot).unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        slot
    }
}

impl Shared {
    /// Runs `task` here and on the workers that come in time.
    fn lend(&self, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. The reference is taken back below, and this function
        // does not return before every worker that got it is done with it; `task` does not unwind,
        // it catches the panics of its job.
        let lent = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Task>(task) };
        let mut slot = lock(&self.task);
        *slot = Some(lent);
        self.generation.fetch_add(1, Ordering::Release);
        self.called.ring();
        drop(slot);

        task(0);

        *lock(&self.task) = None;
        drop(self.wait(&self.finished, || self.active.load(Ordering::Acquire) == 0));
    }

    /// The life of worker `thread`.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let slot = self.wait(&self.called, || {
                self.generation.load(Ordering::Acquire) != seen
                    || self.closing.load(Ordering::Acquire)
            });
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            seen = self.generation.load(Ordering::Acquire);
            // None if the job was over before this worker came.
            let Some(task) = *slot else { continue };
            self.active.fetch_add(1, Ordering::Relaxed);
            drop(slot);

            task(thread);

            let _slot = lock(&self.task);
            if self.active.fetch_sub(1, Ordering::Release) == 1 {
                self.finished.ring();
            }
        }
    }

    /// Waits until `ready`: spinning for some 20 µs, for in a network job follows upon job; then
    /// yielding; then asleep.
    fn wait(&self, bell: &Bell, ready: impl Fn() -> bool) -> MutexGuard<'_, Option<Task>> {
        const SPINS: usize = 1000;
        const YIELDS: usize = 20;
        for turn in 0..SPINS + YIELDS {
            match ready() {
                true => break,
                false if turn < SPINS => std::hint::spin_loop(),
                false => thread::yield_now(),
            }
        }
        let mut slot = lock(&self.task);
        while !ready() {
            slot = bell.sleep(slot);
        }
        slot
    }
}

/// Locks; nothing here leaves a broken value behind when it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::new(count);
            for parts in [0, 1, 2, 5, 100] {
                let runs: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                threads.run(parts, |part| {
                    runs[part].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn chunks_cover_the_output() {
        let threads = Threads::new(3);
        let mut out = vec![0; 10];
        threads.chunks(&mut out, 4, |i, chunk| chunk.fill(i + 1));
        assert_eq!(out, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3]);

        let mut pairs = vec![0; 6];
        threads.chunks_of_two((&mut out, 4), (&mut pairs, 2), |i, a, b| {
            a.fill(i);
            b.fill(a.len());
        });
        assert_eq!(pairs, [4, 4, 4, 4, 2, 2]);
        threads.chunks(&mut [0; 0], 4, |_, _| panic!("no chunk in an empty slice"));
    }

    #[test]
    fn threads_have_scratch_of_their_own() {
        let threads = Threads::new(3);
        let mut out = vec![0; 300];
        threads.chunks_with(&mut out, 1, &mut [0_usize; 3], |i, out, scratch| {
            scratch[0] = i;
            thread::yield_now();
            out[0] = scratch[0];
        });
        assert!(out.into_iter().eq(0..300));
    }

    #[test]
    fn a_panic_arrives_when_all_is_done() {
        let threads = Threads::new(2);
        let done = AtomicUsize::new(0);
        let job = |part| match part {
            3 => panic!("part three"),
            _ => _ = done.fetch_add(1, Ordering::Relaxed),
        };
        let payload = catch_unwind(AssertUnwindSafe(|| threads.run(10, job))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&"part three"));
        assert_eq!(done.load(Ordering::Relaxed), 9);
        threads.run(10, |_| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.load(Ordering::Relaxed), 19);
    }

    #[test]
    fn a_job_within_a_job_runs_on_its_caller() {
        let threads = Threads::new(2);
        let done = AtomicUsize::new(0);
        threads.run(4, |_| {
            let caller = thread::current().id();
            threads.run(5, |_| {
                assert_eq!(thread::current().id(), caller);
                done.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(done.load(Ordering::Relaxed), 20);
    }

    #[test]
    fn many_callers_share_a_pool() {
        let threads = Threads::new(3);
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        threads.run(6, |_| _ = done.fetch_add(1, Ordering::Relaxed));
                    }
                });
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), 4 * 200 * 6);
    }
}
