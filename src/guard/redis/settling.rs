//! What the store is told late: turns that ended without a word, and endings that it could not be told.
//!
//! One task tells them, in order, again and again with growing pauses; each for [`GIVES_UP`] at most, after which leases
//! do their work. What does not fit the queue is not told. Telling twice does no harm, since the store remembers what
//! has ended.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{self, Receiver, Sender},
        oneshot,
    },
    time::{Instant, sleep, timeout},
};

use super::{Shared, fault::Fault, scripts::Turn};
use crate::guard::Ending;

/// Takes what is to be told.
#[derive(Clone, Debug)]
pub(super) struct Settling(Sender<Job>);

enum Job {
    /// A turn's end.
    End { turn: Box<Turn>, ending: Ending, since: Instant },
    /// All before this has been told, or given up.
    Mark(oneshot::Sender<()>),
}

impl Settling {
    /// Starts the task; it ends with the last copy of what this gives.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE);
        tokio::spawn(tell(shared, jobs));
        Self(sender)
    }

    /// Has a turn's end told, if there is room to remember it.
    pub(super) fn tell(&self, turn: Turn, ending: Ending) {
        let _ = self.0.try_send(Job::End { turn: Box::new(turn), ending, since: Instant::now() });
    }

    /// Waits until all that was handed over so far was told, or for `limit`.
    pub(super) async fn flush(&self, limit: Duration) {
        let (mark, told) = oneshot::channel();
        let _ = timeout(limit, async {
            if self.0.send(Job::Mark(mark)).await.is_ok() {
                let _ = told.await;
            }
        })
        .await;
    }
}

async fn tell(shared: Arc<Shared>, mut jobs: Receiver<Job>) {
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Mark(mark) => drop(mark.send(())),
            Job::End { turn, ending, since } => {
                let mut pause = PAUSE_FIRST;
                while let Err(fault) = shared.settle(&turn, ending).await {
                    if !is_worth_it(&fault) || since.elapsed() + pause > GIVES_UP {
                        break;
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MOST);
                }
            }
        }
    }
}

/// What is one key's own trouble stays, however often it is tried.
fn is_worth_it(fault: &Fault) -> bool {
    fault.is_of_store
}

/// The most ends that wait to be told: some 400 bytes each.
const QUEUE: usize = 4_096;
/// How long after a turn's end the store is still told of it: well within the time for which it remembers what ended.
const GIVES_UP: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(2);
