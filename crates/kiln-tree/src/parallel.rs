//! A few threads for work that is bound by system calls.

use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// More threads than this only wait for each other in the kernel's directory locks.
const MAX_THREADS: usize = 8;

/// How many threads are worth while on this machine.
pub(crate) fn threads() -> usize {
    // The answer takes a dozen system calls: it depends on control groups.
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        cores.min(MAX_THREADS)
    })
}

/// Calls `work` for every item, `batch` items at a time, and returns the results in the items'
/// order; of the errors it met, the one of the first item.
///
/// Stays on the calling thread where there is just one batch.
pub(crate) fn map<T: Sync, R: Send, E: Send>(
    items: &[T],
    batch: usize,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let batches: Vec<&[T]> = items.chunks(batch).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = &|| {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(batch) = batches.get(index) else {
                break;
            };
            let results: Result<Vec<R>, E> = batch.iter().map(&work).collect();
            failed.fetch_or(results.is_err(), Ordering::Relaxed);
            done.push((index, results));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let helpers = threads().min(batches.len()).saturating_sub(1);
        let helpers: Vec<_> = (0..helpers)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, run).ok())
            .collect();
        let mut done = run();
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    let mut all = Vec::with_capacity(items.len());
    for (_, results) in done {
        all.extend(results?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order() {
        let items: Vec<usize> = (0..1000).collect();
        let doubled = map(&items, 7, |item| Ok::<_, ()>(item * 2)).unwrap();
        assert!(
            doubled
                .iter()
                .enumerate()
                .all(|(index, &item)| item == index * 2)
        );
        assert_eq!(map(&[], 7, |item: &usize| Ok::<_, ()>(*item)), Ok(vec![]));
    }

    #[test]
    fn an_error_is_returned() {
        let items: Vec<usize> = (0..100).collect();
        let result = map(
            &items,
            3,
            |&item| if item == 50 { Err(item) } else { Ok(item) },
        );
        assert_eq!(result, Err(50));
    }
}
