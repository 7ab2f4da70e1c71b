//! Handlers: async functions and closures whose parameters say what they need.
//!
//! A parameter is any type that can be [extracted](FromContext) from what happened: [`Socket`], [`Data`](crate::Data),
//! [`Args`](crate::Args), [`Ack`](crate::Ack), [`State`](crate::State) and others, or types of your own.
pub mod extract;
/// What handlers answer.
pub mod reply;
pub(crate) mod table;

use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use serde_json::value::RawValue;
use sockeye_protocol::socketio::Args as RawArgs;

use crate::{ConnectRefusal, DisconnectReason, Socket};

use extract::Rejection;
use reply::{IntoConnectResult, IntoReply, Reply};

/// A kind of occasion on which handlers run.
pub trait Occasion: Sized + 'static {
    /// What a handler can learn of it.
    type Context<'a>: HasSocket;
    /// What a handler answers.
    type Output: Send + 'static;
}

/// Gives the socket something happened to.
pub trait HasSocket {
    /// The socket.
    fn socket(&self) -> &Socket;
}

/// A client asks to join a namespace.
#[derive(Debug)]
pub struct OnConnect;

/// A client has sent an event.
#[derive(Debug)]
pub struct OnEvent;

/// A socket has left its namespace.
#[derive(Debug)]
pub struct OnDisconnect;

/// What is known when a client asks to join.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) auth: Option<&'a RawValue>,
}

/// What is known of an event.
#[derive(Debug)]
pub struct EventContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) name: &'a str,
    pub(crate) args: RawArgs<'a>,
    pub(crate) ack: Option<u64>,
    /// Whether a handler has taken the acknowledgement upon itself.
    pub(crate) ack_taken: bool,
}

/// What is known of a socket that has left.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}

impl HasSocket for ConnectContext<'_> {
    fn socket(&self) -> &Socket {
        self.socket
    }
}

impl HasSocket for EventContext<'_> {
    fn socket(&self) -> &Socket {
        self.socket
    }
}

impl HasSocket for DisconnectContext<'_> {
    fn socket(&self) -> &Socket {
        self.socket
    }
}

impl Occasion for OnConnect {
    type Context<'a> = ConnectContext<'a>;
    type Output = Result<(), ConnectRefusal>;
}

impl Occasion for OnEvent {
    type Context<'a> = EventContext<'a>;
    type Output = Reply;
}

impl Occasion for OnDisconnect {
    type Context<'a> = DisconnectContext<'a>;
    type Output = ();
}

/// What a handler's parameter must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler for `{O}`",
    note = "parameters are `Socket`, `State<T>`, `HandshakeRef`; in event handlers also `Data<T>`, `Args<T>`, `Ack`, \
            `EventName`; in connect handlers `Auth<T>`; in disconnect handlers `Reason`"
)]
pub trait FromContext<O: Occasion>: Sized {
    /// Extracts the parameter.
    ///
    /// # Errors
    /// If the occasion does not hold what is asked for. The handler is not run then.
    fn from_context(context: &mut O::Context<'_>) -> Result<Self, Rejection>;
}

/// What a handler's result must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a handler for `{O}`",
    note = "event handlers return `()`, something to acknowledge the event with (`Reply(value)`, strings, numbers, JSON \
            values), or a `Result` of such; connect handlers return `()` or `Result<(), ConnectRefusal>`"
)]
pub trait IntoOutput<O: Occasion> {
    /// Turns the result into the occasion's answer.
    fn into_output(self) -> O::Output;
}

impl<T: IntoReply> IntoOutput<OnEvent> for T {
    fn into_output(self) -> Reply {
        self.into_reply()
    }
}

impl<T: IntoConnectResult> IntoOutput<OnConnect> for T {
    fn into_output(self) -> Result<(), ConnectRefusal> {
        self.into_connect_result()
    }
}

impl IntoOutput<OnDisconnect> for () {
    fn into_output(self) {}
}

/// An async function or closure that handles an occasion; its parameters are extracted from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for `{O}`",
    note = "a handler is an `async` function or closure of up to eight parameters that can be extracted, such as `async \
            |socket: Socket, Data(text): Data<String>| {{ }}`; one that captures a value is written `move |socket: Socket| {{ \
            let value = value.clone(); async move {{ }} }}`, or asks for the value by `State`"
)]
pub trait Handler<O: Occasion, Parameters>: Send + Sync + 'static {
    /// Extracts the parameters and begins to run.
    ///
    /// # Errors
    /// If a parameter cannot be extracted.
    fn call(&self, context: &mut O::Context<'_>) -> Result<HandlerFuture<O>, Rejection>;
}

/// A handler at work.
pub type HandlerFuture<O> = Pin<Box<dyn Future<Output = <O as Occasion>::Output> + Send>>;

/// A handler whose parameters are forgotten.
pub(crate) trait AnyHandler<O: Occasion>: Send + Sync {
    fn call(&self, context: &mut O::Context<'_>) -> Result<HandlerFuture<O>, Rejection>;
}

pub(crate) type ErasedHandler<O> = Arc<dyn AnyHandler<O>>;

pub(crate) fn erase<O: Occasion, P: 'static>(handler: impl Handler<O, P>) -> ErasedHandler<O> {
    struct Erased<H, P> {
        handler: H,
        parameters: PhantomData<fn(P)>,
    }

    impl<O: Occasion, P, H: Handler<O, P>> AnyHandler<O> for Erased<H, P> {
        fn call(&self, context: &mut O::Context<'_>) -> Result<HandlerFuture<O>, Rejection> {
            self.handler.call(context)
        }
    }

    Arc::new(Erased { handler, parameters: PhantomData })
}

/// What went wrong in the handling of an event.
#[derive(Debug)]
pub struct HandlerError<'a> {
    /// Whose event it was.
    pub socket: &'a Socket,
    /// The event's name.
    pub event: &'a str,
    /// What the handler said, or why it did not run.
    pub message: &'a str,
}

pub(crate) type ErrorHandler = Arc<dyn Fn(&HandlerError<'_>) -> reply::Reply + Send + Sync>;

macro_rules! impl_handler {
    ($($parameter:ident),*) => {
        #[allow(non_snake_case, unused_variables)]
        impl<O, F, Fut, $($parameter,)*> Handler<O, ($($parameter,)*)> for F
        where
            O: Occasion,
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutput<O>> + Send + 'static,
            $($parameter: FromContext<O>,)*
        {
            fn call(&self, context: &mut O::Context<'_>) -> Result<HandlerFuture<O>, Rejection> {
                $(let $parameter = $parameter::from_context(context)?;)*
                let future = self($($parameter),*);
                Ok(Box::pin(async move { future.await.into_output() }))
            }
        }
    };
}

impl_handler!();
impl_handler!(A);
impl_handler!(A, B);
impl_handler!(A, B, C);
impl_handler!(A, B, C, D);
impl_handler!(A, B, C, D, E);
impl_handler!(A, B, C, D, E, G);
impl_handler!(A, B, C, D, E, G, H);
impl_handler!(A, B, C, D, E, G, H, I);
