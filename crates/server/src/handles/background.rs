use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use parking_lot::RwLock;
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};

use sockeye_handler::guard;

use crate::Namespace;

/// What runs at intervals for as long as somebody is there to see it.
#[derive(Default)]
pub(crate) struct Watched {
    jobs: RwLock<Vec<Arc<Job>>>,
}

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Job {
    interval: Duration,
    run: Arc<dyn Fn(Namespace) -> Run + Send + Sync>,
    running: AtomicBool,
}

impl Watched {
    pub(crate) fn add<F>(&self, interval: Duration, run: impl FnOnce(Namespace) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = Arc::new(move |namespace| -> Run { Box::pin(run.clone()(namespace)) });
        self.jobs.write().push(Arc::new(Job { interval, run, running: AtomicBool::new(false) }));
    }

    /// Adds what has been added to the parent's.
    pub(crate) fn inherit(&self, parent: &Self) {
        self.jobs.write().extend(parent.jobs.read().iter().map(|job| {
            Arc::new(Job { interval: job.interval, run: job.run.clone(), running: AtomicBool::new(false) })
        }));
    }

    /// Starts what does not run yet, within a runtime.
    pub(crate) fn start(&self, namespace: &Namespace) {
        for job in self.jobs.read().iter() {
            if let Ok(runtime) = Handle::try_current()
                && !job.running.swap(true, Ordering::AcqRel)
            {
                runtime.spawn(run(job.clone(), namespace.clone()));
            }
        }
    }
}

async fn run(job: Arc<Job>, namespace: Namespace) {
    let mut ticks = interval(job.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if namespace.local().is_empty() {
            job.running.store(false, Ordering::Release);
            // Somebody who came in this moment has seen the job still running.
            if namespace.local().is_empty() || job.running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        if let Err(panic) = guarded(job.clone(), namespace.clone()).await {
            namespace.server().counters().handler_panics.add();
            tracing::error!(namespace = namespace.name(), panic, "what runs at intervals panicked; it goes on");
        }
    }
}

/// Runs a job once, so that its panic does not keep it from running again.
async fn guarded(job: Arc<Job>, namespace: Namespace) -> Result<(), String> {
    let mut running = guard(|| (job.run)(namespace))?;
    poll_fn(|cx| match guard(|| running.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
