//! Threads for work that takes longer than about a millisecond, such as to inflate and parse a long
//! history. The threads that serve connections stay free for short requests.

use std::{num::NonZero, panic::resume_unwind, sync::Arc, thread::available_parallelism};

use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{proto::error::Error, service::Work};

/// Runs long work on threads of its own.
///
/// Clones share their slots.
#[derive(Clone, Debug)]
pub(super) struct WorkPool {
    slots: Arc<Semaphore>,
}

impl WorkPool {
    /// A pool that works at half of the processors at a time, at least at one. The other half is
    /// free for short requests.
    pub(super) fn new() -> Self {
        let processors = available_parallelism().map_or(1, NonZero::get);
        Self { slots: Arc::new(Semaphore::new(processors.div_ceil(2))) }
    }

    /// Runs `work` after all work that waits already. If the future is dropped, started work still
    /// runs to its end, and keeps its slot until then.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Internal`] if the runtime is stopping.
    pub(super) async fn run<T: Send + 'static>(self, work: Work<T>) -> Result<T, Error> {
        let stopping = || Error::internal("the server is stopping");
        let slot = self.slots.acquire_owned().await.map_err(|_| stopping())?;
        let working = spawn_blocking(move || {
            let outcome = work();
            drop(slot);
            outcome
        });
        working.await.unwrap_or_else(|failure| match failure.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(stopping()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::poll;

    use super::*;

    fn pool() -> WorkPool {
        WorkPool { slots: Arc::new(Semaphore::new(1)) }
    }

    #[tokio::test]
    async fn errors_and_panics_reach_the_caller_and_free_the_slot() {
        let pool = pool();
        assert_eq!(pool.clone().run::<()>(Box::new(|| Err(Error::Overloaded))).await, Err(Error::Overloaded));
        let panicking = tokio::spawn(pool.clone().run::<()>(Box::new(|| panic!("a bug"))));
        assert!(panicking.await.unwrap_err().is_panic());
        assert_eq!(pool.run(Box::new(|| Ok(7))).await, Ok(7));
    }

    #[tokio::test]
    async fn work_of_a_caller_that_left_keeps_its_slot_to_its_end() {
        let (pool, (sender, receiver)) = (pool(), mpsc::channel::<()>());
        let mut left = Box::pin(pool.clone().run(Box::new(move || receiver.recv().map_err(|_| Error::Overloaded))));
        assert!(poll!(&mut left).is_pending());
        drop(left);
        let mut next = Box::pin(pool.run(Box::new(|| Ok(7))));
        assert!(poll!(&mut next).is_pending());
        sender.send(()).unwrap();
        assert_eq!(next.await, Ok(7));
    }
}
