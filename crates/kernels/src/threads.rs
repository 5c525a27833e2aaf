//! A pool of threads that share out the parts of a job.
//!
//! Each thread begins with a run of parts of its own, the same in every job that has as many: what it
//! wrote in one step of a network it finds in its cache in the next, and caches that two cores do not
//! share are slow to read. A thread that is through with its own takes over those of the others. So a
//! job must not let its result depend on who takes which part: every part writes its own piece of
//! the output, and no sum is cut by the number of threads.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

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

    /// Cuts the matrices of `grid` into blocks and runs `job(corner, block, scratch)` for each, on
    /// all threads; scratch as in [`chunks_with`](Threads::chunks_with).
    pub(crate) fn blocks<T: Send, S: Send>(
        &self,
        out: &mut [T],
        grid: Grid,
        scratch: &mut [S],
        job: impl Fn(Corner, Block<'_, T>, &mut [S]) + Sync,
    ) {
        let Grid { matrices, rows, columns, height, width } = grid;
        assert_eq!(out.len(), matrices * rows * columns, "the grid covers the output");
        let (down, across) = (rows.div_ceil(height), columns.div_ceil(width));
        let share = scratch.len() / self.count();
        let (out, scratch) = (Lent::new(out), Lent::new(scratch));
        self.share(matrices * down * across, |thread, part| {
            // Blocks of the same columns follow each other: what they read is still in cache.
            let (matrix, part) = (part / (down * across), part % (down * across));
            let (row, column) = (part % down * height, part / down * width);
            let block = Block {
                matrix: out.again(),
                start: (matrix * rows + row) * columns + column,
                rows: height.min(rows - row),
                columns: width.min(columns - column),
                stride: columns,
            };
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            job(Corner { matrix, row, column }, block, scratch);
        });
    }

    /// Cuts maps into patches and runs `job(patches, scratch)` for each patch of all `values`, which
    /// have the same maps but perhaps other blocks around; scratch as in
    /// [`chunks_with`](Threads::chunks_with).
    pub(crate) fn patches<T: Send, S: Send, const N: usize>(
        &self,
        values: [(&mut [T], Maps); N],
        cut: Cut,
        scratch: &mut [S],
        job: impl Fn([Patch<'_, T>; N], &mut [S]) + Sync,
    ) {
        let Maps { pictures, own: [_, own], size: [height, width], .. } = values[0].1;
        for (value, maps) in &values {
            maps.check(value.len(), &values[0].1);
        }
        let sizes = [pictures, own, height, width];
        let parts: [usize; 4] = std::array::from_fn(|i| sizes[i].div_ceil(cut[i]));
        let share = scratch.len() / self.count();
        let scratch = Lent::new(scratch);
        let values = values.map(|(value, maps)| (Lent::new(value), maps));
        self.share(parts.iter().product(), |thread, part| {
            // The columns and rows of the same blocks follow each other.
            let [_, blocks, rows, columns] = parts;
            let index = [part / (rows * columns) % blocks, part / columns % rows, part % columns];
            let index = [part / (blocks * rows * columns), index[0], index[1], index[2]];
            let [pictures, own, rows, columns] =
                std::array::from_fn(|i| index[i] * cut[i]..((index[i] + 1) * cut[i]).min(sizes[i]));
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            let patches = std::array::from_fn(|i| {
                let (value, maps): &(Lent<'_, T>, Maps) = &values[i];
                Patch {
                    value: value.again(),
                    maps: *maps,
                    pictures: pictures.clone(),
                    blocks: own.clone(),
                    rows: rows.clone(),
                    columns: columns.clone(),
                }
            });
            job(patches, scratch);
        });
    }

    /// Cuts maps into tiles, and these into equal runs in the order of pictures, rows and columns. Runs
    /// `job(tiles, scratch)` for each run and some blocks of all `values`, as in
    /// [`patches`](Threads::patches).
    pub(crate) fn tiles<T: Send, S: Send, const N: usize>(
        &self,
        values: [(&mut [T], Maps); N],
        cut: TileCut,
        scratch: &mut [S],
        job: impl Fn([Tiled<'_, T>; N], &mut [S]) + Sync,
    ) {
        let Maps { pictures, own: [_, own], size, .. } = values[0].1;
        for (value, maps) in &values {
            maps.check(value.len(), &values[0].1);
        }
        let grid = [size[0].div_ceil(cut.tile[0]), size[1].div_ceil(cut.tile[1])];
        let all = pictures * grid[0] * grid[1];
        let columns = own.div_ceil(cut.blocks);
        let share = scratch.len() / self.count();
        let scratch = Lent::new(scratch);
        let values = values.map(|(value, maps)| (Lent::new(value), maps));
        self.share(cut.runs * columns, |thread, part| {
            let (run, block) = (part / columns, part % columns * cut.blocks);
            // SAFETY: a thread runs one part at a time; no two threads have the same number.
            let scratch = unsafe { scratch.slice(thread * share, share) };
            let tiled = std::array::from_fn(|i| {
                let (value, maps): &(Lent<'_, T>, Maps) = &values[i];
                Tiled {
                    value: value.again(),
                    maps: *maps,
                    tile: cut.tile,
                    grid,
                    blocks: block..(block + cut.blocks).min(own),
                    tiles: cut.run(all, run),
                }
            });
            job(tiled, scratch);
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

/// A slice on loan to several threads, each taking its own part of it.
struct Lent<'a, T> {
    start: *mut T,
    len: usize,
    lent: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a `&mut [T]` of which each thread takes another part; see `slice`.
unsafe impl<T: Send> Sync for Lent<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Lent<'_, T> {}

impl<'a, T> Lent<'a, T> {
    fn new(slice: &'a mut [T]) -> Lent<'a, T> {
        Lent { start: slice.as_mut_ptr(), len: slice.len(), lent: PhantomData }
    }

    /// The same loan, for whoever carries a part of it about.
    fn again(&self) -> Lent<'_, T> {
        Lent { start: self.start, len: self.len, lent: PhantomData }
    }

    /// `len` values from `at` on.
    ///
    /// # Safety
    /// No two slices that live at the same time may overlap.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the point of a loan")]
    unsafe fn slice(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.len && len <= self.len - at, "within the loan");
        // SAFETY: in bounds by the line above, borrowed for the life of the loan, and not
        // overlapping by the promise of the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), len) }
    }
}

/// Batches of maps of `blocks × height × width`, of which some blocks are written.
#[derive(Clone, Copy)]
pub(crate) struct Maps {
    pub(crate) pictures: usize,
    /// All blocks of a picture.
    pub(crate) blocks: usize,
    /// The first block to be written, and how many.
    pub(crate) own: [usize; 2],
    /// Height and width.
    pub(crate) size: [usize; 2],
}

impl Maps {
    /// That they cover a value of this length, and are written as `others` are.
    fn check(&self, len: usize, others: &Maps) {
        let all = self.pictures * self.blocks * self.size[0] * self.size[1];
        assert_eq!(len, all, "the maps cover the value");
        assert!(self.own[0] + self.own[1] <= self.blocks, "the blocks are within the maps");
        let written = |maps: &Maps| (maps.pictures, maps.own[1], maps.size);
        assert_eq!(written(self), written(others), "values of the same maps");
    }
}

/// How maps are cut into patches, pictures × blocks × rows × columns; those at the rim may be
/// smaller.
pub(crate) type Cut = [usize; 4];

/// A piece of a batch of maps, to be written by one thread: some of its pictures, of their own
/// blocks, of the rows and of the columns.
pub(crate) struct Patch<'a, T> {
    value: Lent<'a, T>,
    maps: Maps,
    pub(crate) pictures: Range<usize>,
    /// Counted from the first that is written.
    pub(crate) blocks: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

impl<T> Patch<'_, T> {
    /// Columns of the maps.
    pub(crate) fn width(&self) -> usize {
        self.maps.size[1]
    }

    /// The rows of a map, which have all its columns.
    pub(crate) fn map(&mut self, picture: usize, block: usize) -> &mut [T] {
        assert!(
            self.pictures.contains(&picture)
                && self.blocks.contains(&block)
                && self.columns == (0..self.width()),
            "within the patch"
        );
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let start = ((picture * blocks + first + block) * height + self.rows.start) * width;
        // SAFETY: the patch is this thread's alone, and borrowed for as long as the slice.
        unsafe { self.value.slice(start, self.rows.len() * width) }
    }

    /// `len` values of a row of each block from `block` on.
    #[inline(always)]
    pub(crate) fn runs(&mut self, at: [usize; 4], len: usize) -> Runs<'_, T> {
        let [picture, block, row, column] = at;
        assert!(
            self.pictures.contains(&picture)
                && self.blocks.contains(&block)
                && self.rows.contains(&row)
                && self.columns.contains(&column)
                && len <= self.columns.end - column,
            "within the patch"
        );
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let start = (picture * blocks + first + block) * height * width + row * width + column;
        let count = self.blocks.end - block;
        Runs { value: self.value.again(), start, stride: height * width, count, len }
    }
}

/// How maps are cut into tiles, and these for the threads.
#[derive(Clone, Copy)]
pub(crate) struct TileCut {
    /// Height and width of a tile; those at the rim may be smaller.
    pub(crate) tile: [usize; 2],
    /// Blocks of a part.
    pub(crate) blocks: usize,
    /// Runs of all tiles.
    pub(crate) runs: usize,
}

impl TileCut {
    /// A run of so many tiles.
    fn run(&self, all: usize, run: usize) -> Range<usize> {
        run * all / self.runs..(run + 1) * all / self.runs
    }
}

/// A run of the tiles of a batch of maps, of some of their own blocks, to be written by one thread.
pub(crate) struct Tiled<'a, T> {
    value: Lent<'a, T>,
    maps: Maps,
    tile: [usize; 2],
    /// Rows and columns of tiles of a map.
    grid: [usize; 2],
    /// Counted from the first that is written.
    pub(crate) blocks: Range<usize>,
    /// In the order of pictures, rows and columns.
    pub(crate) tiles: Range<usize>,
}

impl<T> Tiled<'_, T> {
    /// Row `line` of the tile at a picture, row and column of the grid, of each block from `block`
    /// on; as many values as it has.
    #[inline(always)]
    pub(crate) fn runs(&mut self, at: [usize; 3], block: usize, line: usize) -> Runs<'_, T> {
        let ([picture, row, column], [rows, columns]) = (at, self.grid);
        let Maps { blocks, own: [first, _], size: [height, width], .. } = self.maps;
        let tile = (picture * rows + row) * columns + column;
        let [down, right] = [row * self.tile[0] + line, column * self.tile[1]];
        assert!(
            self.tiles.contains(&tile)
                && self.blocks.contains(&block)
                && row < rows
                && column < columns
                && line < self.tile[0]
                && down < height,
            "within the tiles"
        );
        let start = ((picture * blocks + first + block) * height + down) * width + right;
        let count = self.blocks.end - block;
        let len = self.tile[1].min(width - right);
        Runs { value: self.value.again(), start, stride: height * width, count, len }
    }
}

/// Runs of values, `stride` apart, handed out one at a time.
pub(crate) struct Runs<'a, T> {
    value: Lent<'a, T>,
    start: usize,
    stride: usize,
    count: usize,
    len: usize,
}

impl<'a, T> Runs<'a, T> {
    /// Of a slice of which nobody else has a part.
    pub(crate) fn of(slice: &'a mut [T], stride: usize, len: usize) -> Runs<'a, T> {
        let count = if slice.len() < len { 0 } else { (slice.len() - len) / stride.max(1) + 1 };
        Runs { value: Lent::new(slice), start: 0, stride, count, len }
    }

    /// What is behind the first values of each run.
    #[inline(always)]
    pub(crate) fn after(&mut self, values: usize) -> Runs<'_, T> {
        assert!(values <= self.len, "within the runs");
        let (start, len) = (self.start + values, self.len - values);
        Runs { value: self.value.again(), start, len, ..*self }
    }

    /// The `i`-th run.
    #[inline(always)]
    pub(crate) fn all(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.count, "within the runs");
        // SAFETY: as in `run`.
        unsafe { self.value.slice(self.start + i * self.stride, self.len) }
    }

    /// The first `N` values of the `i`-th run.
    #[inline(always)]
    pub(crate) fn run<const N: usize>(&mut self, i: usize) -> &mut [T; N] {
        assert!(i < self.count && N <= self.len, "within the runs");
        // SAFETY: a patch, or a run of tiles, is of one thread alone and this is within it; `&mut self` lets one
        // out at a time.
        let run = unsafe { self.value.slice(self.start + i * self.stride, N) };
        match run.first_chunk_mut() {
            Some(run) => run,
            None => unreachable!("the slice has this length"),
        }
    }
}

/// How [`Threads::blocks`] cuts `matrices` of `rows × columns` into blocks of `height × width`;
/// those at the lower and right rim may be smaller.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) matrices: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// Where a block begins.
#[derive(Clone, Copy)]
pub(crate) struct Corner {
    pub(crate) matrix: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

/// A rectangle of a matrix, to be written by one thread.
pub(crate) struct Block<'a, T> {
    matrix: Lent<'a, T>,
    start: usize,
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T> Block<'a, T> {
    /// All of a matrix of `columns` columns.
    pub(crate) fn whole(matrix: &'a mut [T], columns: usize) -> Block<'a, T> {
        let rows = matrix.len() / columns;
        Block { matrix: Lent::new(matrix), start: 0, rows, columns, stride: columns }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// One row of the rectangle.
    #[inline(always)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "within the block");
        // SAFETY: the blocks of a grid are disjoint, and `&mut self` lets one row out at a time.
        unsafe { self.matrix.slice(self.start + row * self.stride, self.columns) }
    }
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
    fn blocks_cover_the_matrices() {
        let threads = Threads::new(2);
        let grid = Grid { matrices: 2, rows: 3, columns: 5, height: 2, width: 4 };
        let mut out = vec![0; 30];
        threads.blocks(&mut out, grid, &mut [0; 4], |corner, mut block, scratch| {
            assert_eq!(scratch.len(), 2);
            for row in 0..block.rows() {
                for (column, value) in block.row(row).iter_mut().enumerate() {
                    *value +=
                        corner.matrix * 100 + (corner.row + row) * 10 + corner.column + column;
                }
            }
        });
        let expected = (0..30).map(|i| i / 15 * 100 + i / 5 % 3 * 10 + i % 5);
        assert!(out.iter().copied().eq(expected));
    }

    #[test]
    fn tiles_cover_the_own_blocks() {
        let threads = Threads::new(2);
        // Maps of 5 × 7 of two of four blocks, in tiles of 2 × 3.
        let maps = Maps { pictures: 2, blocks: 4, own: [1, 2], size: [5, 7] };
        for (blocks, runs) in [(1, 1), (2, 1), (1, 5), (2, 18), (2, 40)] {
            let mut out = vec![0; 2 * 4 * 35];
            let cut = TileCut { tile: [2, 3], blocks, runs };
            threads.tiles([(&mut out, maps)], cut, &mut [(); 0], |[mut tiled], _| {
                let all = 18 / runs..=18_usize.div_ceil(runs);
                assert!(all.contains(&tiled.tiles.len()) && tiled.blocks.len() == blocks);
                let (tiles, blocks) = (tiled.tiles.clone(), tiled.blocks.clone());
                for (block, tile) in blocks.flat_map(|b| tiles.clone().map(move |t| (b, t))) {
                    let [picture, row, column] = [tile / 9, tile / 3 % 3, tile % 3];
                    for line in 0..2.min(5 - 2 * row) {
                        let mut runs = tiled.runs([picture, row, column], block, line);
                        for at in 0..3.min(7 - 3 * column) {
                            runs.after(at).run::<1>(0)[0] += 1 + tile;
                        }
                    }
                }
            });
            for (at, value) in out.into_iter().enumerate() {
                let [picture, block, row, column] = [at / 140, at / 35 % 4, at / 7 % 5, at % 7];
                let tile = 1 + picture * 9 + row / 2 * 3 + column / 3;
                assert_eq!(value, if (1..3).contains(&block) { tile } else { 0 }, "at {at}");
            }
        }
    }

    #[test]
    fn no_part_writes_into_tiles_of_another() {
        let threads = Threads::new(1);
        let maps = Maps { pictures: 1, blocks: 1, own: [0, 1], size: [4, 4] };
        let cut = TileCut { tile: [2, 2], blocks: 1, runs: 2 };
        for (place, line) in [([0, 0, 0], 2), ([0, 0, 2], 0), ([0, 1, 0], 0), ([1, 0, 0], 0)] {
            let job = |[mut tiled]: [Tiled<'_, i32>; 1], _: &mut [()]| {
                if tiled.tiles.start == 0 {
                    tiled.runs(place, 0, line);
                }
            };
            let mut out = [0; 16];
            let run = || threads.tiles([(&mut out[..], maps)], cut, &mut [], job);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{place:?} {line}");
        }
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
