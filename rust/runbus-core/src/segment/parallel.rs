//! Work on as many cores as there are.

use std::sync::Mutex;
use std::thread;

use super::guard;

/// Do all tasks, with a thread for each core.
pub(super) fn together(tasks: Vec<Box<dyn FnOnce() + Send + '_>>) {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(tasks.len());
    let queue = Mutex::new(tasks.into_iter());
    let work = || {
        loop {
            let next = queue.lock().map(|mut queue| queue.next());
            let Ok(Some(task)) = next else { break };
            task();
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| guard::quietly(work));
        }
        work();
    });
}
