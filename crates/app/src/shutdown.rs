//! The signals that stop the program: Ctrl-C, and SIGTERM where there is one.
use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens to the signals from the moment it is created, so that it misses none.
#[derive(Debug)]
pub(crate) struct Shutdown {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
}

impl Shutdown {
    /// Starts to listen.
    ///
    /// # Errors
    /// If the system does not deliver signals.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            interrupt: signal(SignalKind::interrupt())?,
            #[cfg(unix)]
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Completes at the first signal. A second one then ends the process at once.
    pub(crate) async fn requested(mut self) {
        self.signalled().await;
        tracing::info!("stopping: closing all connections; press Ctrl-C again to stop at once");
        tokio::spawn(async move {
            self.signalled().await;
            // The status that a shell reports for an interrupted process.
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
