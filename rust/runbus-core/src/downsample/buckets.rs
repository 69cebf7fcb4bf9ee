//! Equal shares of a series, worked through by as many threads as pay.

use std::ops::Range;
use std::thread;

/// Fewer points than this are not worth a thread.
const POINTS_PER_THREAD: usize = 1 << 20;
const MAX_THREADS: usize = 8;

/// The `index`-th of `buckets` shares of `points`; sizes differ by one at most.
pub(super) fn bucket(points: usize, buckets: usize, index: usize) -> Range<usize> {
    let cut = |index: usize| {
        let whole = points / buckets * index;
        let rest = points % buckets * index / buckets;
        whole + rest
    };
    cut(index)..cut(index + 1)
}

/// What `choose` adds for each bucket, in the order of the buckets.
pub(super) fn each_bucket(
    points: usize,
    buckets: usize,
    choose: impl Fn(Range<usize>, &mut Vec<usize>) + Sync,
) -> Vec<usize> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (points / POINTS_PER_THREAD).clamp(1, cores.min(MAX_THREADS));
    let work = |shares: Range<usize>| {
        let mut chosen = Vec::with_capacity(shares.len() * 4);
        for index in shares {
            choose(bucket(points, buckets, index), &mut chosen);
        }
        chosen
    };
    if threads == 1 {
        return work(0..buckets);
    }
    thread::scope(|scope| {
        let work = &work;
        let parts: Vec<_> = (0..threads)
            .map(|part| scope.spawn(move || work(bucket(buckets, threads, part))))
            .collect();
        let joined = parts.into_iter().map(|part| match part.join() {
            Ok(chosen) => chosen,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.flatten().collect()
    })
}
