// A namespace, as the server has it, of which only the types matter.
use sockeye_handler::{FromContext, Handler, HandlerError, HandlerKind, HasSocket, OnEvent, Rejection};

#[derive(Clone)]
pub struct Socket;

impl<C: HasSocket<Socket = Self>> FromContext<C> for Socket {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

pub struct OnDisconnect;

pub struct DisconnectContext<'a>(&'a Socket);

impl HasSocket for DisconnectContext<'_> {
    type Socket = Socket;

    fn socket(&self) -> &Socket {
        self.0
    }
}

impl HandlerKind for OnDisconnect {
    type Context<'a> = DisconnectContext<'a>;
    type Output = Result<(), HandlerError>;
}

pub fn on<P>(_event: &str, _handler: impl Handler<OnEvent<Socket>, P>) {}

#[allow(dead_code)]
pub fn on_disconnect<P>(_handler: impl Handler<OnDisconnect, P>) {}
