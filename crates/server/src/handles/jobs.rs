use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use sockeye_engine::log_throttled;
use sockeye_handler::guarded;
use tokio::{
    runtime::Handle,
    time::{MissedTickBehavior, interval},
};

use crate::{Namespace, handles::namespace::WeakNamespace};

/// The jobs of [`Namespace::every`]: each runs at its interval for as long as the namespace has sockets.
#[derive(Default)]
pub(crate) struct Jobs {
    jobs: RwLock<Vec<Arc<Job>>>,
}

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Job {
    interval: Duration,
    run: Arc<dyn Fn(Namespace) -> Run + Send + Sync>,
    running: AtomicBool,
}

impl Jobs {
    pub(crate) fn add<F>(&self, interval: Duration, run: impl FnOnce(Namespace) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run = Arc::new(move |namespace| -> Run { Box::pin(run.clone()(namespace)) });
        self.jobs.write().push(Arc::new(Job { interval, run, running: AtomicBool::new(false) }));
    }

    /// Adds the parent's jobs.
    pub(crate) fn inherit(&self, parent: &Self) {
        self.jobs.write().extend(parent.jobs.read().iter().map(|job| {
            Arc::new(Job { interval: job.interval, run: job.run.clone(), running: AtomicBool::new(false) })
        }));
    }

    /// Starts the jobs that do not run yet. It does nothing outside of a runtime.
    pub(crate) fn start(&self, namespace: &Namespace) {
        for job in self.jobs.read().iter() {
            if let Ok(runtime) = Handle::try_current()
                && !job.running.swap(true, Ordering::AcqRel)
            {
                runtime.spawn(run(Arc::downgrade(job), namespace.downgrade(), job.interval));
            }
        }
    }
}

/// Runs a job at its interval until the namespace is empty. Between two runs neither is kept, so that both can be freed.
async fn run(job: Weak<Job>, namespace: WeakNamespace, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (Some(job), Some(namespace)) = (job.upgrade(), namespace.upgrade()) else { return };
        if namespace.local().is_empty() {
            job.running.store(false, Ordering::Release);
            // A socket that joined in this moment has seen the job still running.
            if namespace.local().is_empty() || job.running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        let run = async { (job.run)(namespace.clone()).await };
        if let Err(panic) = guarded(run).await {
            namespace.counters().handler_panics.add();
            let namespace = namespace.name();
            log_throttled!(error, namespace, namespace, panic, "a job of `every` panicked; it runs again");
        }
    }
}
