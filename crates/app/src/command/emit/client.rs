//! Emitting as a client of the server.
use std::{future::Future, time::Duration};

use sockeye_client::{
    AckError, AckErrorKind, ArgsBuf, EmitErrorKind, ManagerEvent, ManagerEvents, Reconnection, Socket,
};
use tokio::time::timeout;

use crate::command::{advice, outcome::CommandError, target::TargetOptions, values::Values};

/// A connection to emit on. It does not reconnect: only the user can decide whether to send an event again that may have
/// arrived.
pub(super) struct Client {
    socket: Socket,
    events: ManagerEvents,
    limit: Duration,
}

/// Why an event was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("{}", advice::acknowledging(.0))]
    TimedOut(AckError),
    #[error("{}", advice::acknowledging(.0))]
    Lost(AckError),
}

impl Client {
    /// Connects and joins the namespace.
    pub(super) async fn connect(url: &str, options: &TargetOptions, verbose: bool) -> Result<Self, CommandError> {
        let target = options.target(url)?;
        let builder = options.builder(&target)?.log_packets(verbose).reconnection(Reconnection::off());
        let manager = builder.build()?;
        let events = manager.events();
        let socket = manager.socket(&target.namespace);
        match socket.connect().await {
            Ok(()) => Ok(Self { socket, events, limit: options.timeout }),
            Err(error) => {
                manager.disconnect().await;
                Err(CommandError::Connect { url: url.to_owned(), error })
            }
        }
    }

    /// Emits an event as soon as there is room for it.
    pub(super) async fn emit(&mut self, event: &str, args: Values) -> Result<(), CommandError> {
        match self.socket.emit(event, args.clone()) {
            Err(error) if matches!(error.kind(), EmitErrorKind::BufferFull { .. }) => {
                self.flush().await?;
                Ok(self.socket.emit(event, args)?)
            }
            emitted => Ok(emitted?),
        }
    }

    /// Emits an event as soon as there is room for it. The future that is returned waits for the acknowledgement.
    pub(super) async fn emit_with_ack(
        &mut self,
        event: &str,
        args: Values,
    ) -> Result<impl Future<Output = Result<ArgsBuf, Unanswered>> + Send + 'static, CommandError> {
        // Without room, the acknowledgement would fail. So large events wait until the buffer is empty.
        if sockeye_client::ArgsBuf::new(&args).is_ok_and(|args| args.encoded_len() > ROOM) {
            self.flush().await?;
        }
        let answer = self.socket.emit_with_ack::<()>(event, args);
        Ok(async move {
            answer.raw().await.map_err(|error| match error.kind() {
                AckErrorKind::TimedOut(_) => Unanswered::TimedOut(error),
                _ => Unanswered::Lost(error),
            })
        })
    }

    /// Waits until everything is sent.
    ///
    /// # Errors
    /// If the connection is lost, so that it is unknown what has arrived.
    pub(super) async fn flush(&mut self) -> Result<(), CommandError> {
        if timeout(self.limit, self.socket.flushed()).await.is_err() {
            return Err(CommandError::Uncertain("the server does not read".into()));
        }
        let buffered = self.socket.buffered();
        loop {
            // Only looks at events that have happened already.
            match timeout(Duration::ZERO, self.events.next()).await {
                Ok(Some(ManagerEvent::Closed { reason, .. })) if buffered > 0 || reason.is_temporary() => {
                    return Err(CommandError::Uncertain(reason.to_string()));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return Ok(()),
            }
        }
    }

    /// Disconnects after everything is sent.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub(super) async fn finish(mut self) -> Result<(), CommandError> {
        let flushed = self.flush().await;
        self.socket.manager().disconnect().await;
        flushed
    }
}

/// Events of more bytes than this wait until all events before them are sent.
const ROOM: usize = 64 * 1024;
