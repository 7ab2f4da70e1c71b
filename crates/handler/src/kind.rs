use crate::{HandlerError, IntoReply, Reply};

/// What a handler handles, such as events or disconnects.
pub trait HandlerKind: Sized + 'static {
    /// What the parameters of such a handler are extracted from.
    type Context<'a>: HasSocket;
    /// What becomes of the result of such a handler.
    type Output: Send + 'static;
}

/// A context that has a socket, as all have.
pub trait HasSocket {
    /// The server's socket or the client's.
    type Socket;

    /// The socket.
    fn socket(&self) -> &Self::Socket;

    /// Whether the handler's output goes anywhere. The output of an event's handler does if the peer wants an
    /// acknowledgement that the handler does not send itself.
    fn wants_output(&self) -> bool {
        true
    }
}

/// A type that a handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of this handler",
    label = "this handler returns `{Self}`",
    note = "a server's connect handlers and middleware return `()` or `Result<(), ConnectRefusal>`, all other handlers but those of \
            events return `()` or `Result<(), HandlerError>`"
)]
pub trait IntoOutput<Output> {
    /// Turns the result into the output.
    fn into_output(self) -> Output;

    /// Turns the result into an output that goes nowhere. Only an error in it matters.
    fn into_unwanted_output(self) -> Output
    where
        Self: Sized,
    {
        self.into_output()
    }
}

impl<T: IntoReply> IntoOutput<Reply> for T {
    fn into_output(self) -> Reply {
        self.into_reply()
    }

    fn into_unwanted_output(self) -> Reply {
        self.into_unwanted_reply()
    }
}

/// The output of handlers that answer nobody, such as those of disconnects. Their errors stand in the log.
impl IntoOutput<Result<(), HandlerError>> for () {
    fn into_output(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl IntoOutput<Self> for Result<(), HandlerError> {
    fn into_output(self) -> Self {
        self
    }
}
