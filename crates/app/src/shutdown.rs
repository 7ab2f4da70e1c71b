//! How the program is told to stop: by Ctrl-C, or by SIGTERM where there is one.
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for the signals from the moment it is made, so that none is missed.
#[derive(Debug)]
pub(crate) struct Shutdown {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

impl Shutdown {
    /// Begins to wait.
    ///
    /// # Errors
    /// If the system does not hand out its signals.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes at the first signal. From then on a second one ends the process at once.
    pub(crate) async fn requested(mut self) {
        self.signalled().await;
        tracing::info!("stopping: no new connections, and the open ones are closed; another Ctrl-C stops at once");
        tokio::spawn(async move {
            self.signalled().await;
            // As a shell reports a process that was interrupted.
            std::process::exit(130);
        });
    }

    /// Completes at each signal.
    #[cfg(unix)]
    pub(crate) async fn signalled(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Completes at each signal.
    #[cfg(not(unix))]
    pub(crate) async fn signalled(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot wait for Ctrl-C");
            std::future::pending().await
        }
    }
}
