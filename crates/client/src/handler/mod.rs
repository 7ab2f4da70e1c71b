//! Handlers: async functions and closures whose parameters say what they need.
//!
//! A parameter is any type that can be [extracted](FromContext) from what happened: [`Socket`], [`Data`](crate::Data),
//! [`Args`](crate::Args), [`Ack`](crate::Ack), [`State`](crate::State) and others, or types of your own. They look as
//! those of the server's handlers do.
/// What handlers take.
pub mod extract;
/// What handlers answer.
pub mod reply;

use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use sockeye_protocol::socketio::Args as RawArgs;

use crate::{ConnectError, DisconnectReason, Socket};

use extract::Rejection;
use reply::{IntoReply, Reply};

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

/// The socket is connected.
#[derive(Debug)]
pub struct OnConnect;

/// The server has sent an event.
#[derive(Debug)]
pub struct OnEvent;

/// The socket is no longer connected.
#[derive(Debug)]
pub struct OnDisconnect;

/// The socket could not be connected.
#[derive(Debug)]
pub struct OnConnectError;

/// What is known when the socket is connected.
#[derive(Debug)]
pub struct ConnectContext<'a> {
    pub(crate) socket: &'a Socket,
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

/// What is known of a socket that is no longer connected.
#[derive(Debug)]
pub struct DisconnectContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) reason: DisconnectReason,
}

/// What is known of a socket that could not be connected.
#[derive(Debug)]
pub struct ConnectErrorContext<'a> {
    pub(crate) socket: &'a Socket,
    pub(crate) error: &'a ConnectError,
}

macro_rules! occasion {
    ($($occasion:ident $context:ident $output:ty;)*) => {$(
        impl HasSocket for $context<'_> {
            fn socket(&self) -> &Socket {
                self.socket
            }
        }

        impl Occasion for $occasion {
            type Context<'a> = $context<'a>;
            type Output = $output;
        }
    )*};
}

occasion! {
    OnConnect ConnectContext ();
    OnEvent EventContext Reply;
    OnDisconnect DisconnectContext ();
    OnConnectError ConnectErrorContext ();
}

/// What a handler's parameter must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler for `{O}`",
    note = "parameters are `Socket` and `State<T>`; in event handlers also `Data<T>`, `Args<T>`, `RawArgs`, `Binary`, \
            `Ack`, `EventName`; in disconnect handlers `Reason`; in handlers of connect errors `ConnectError`"
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
    note = "event handlers return `()`, something to acknowledge the event with (`Reply`, strings, numbers, JSON \
            values), or a `Result` of such; all other handlers return `()`"
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

impl IntoOutput<OnConnect> for () {
    fn into_output(self) {}
}

impl IntoOutput<OnDisconnect> for () {
    fn into_output(self) {}
}

impl IntoOutput<OnConnectError> for () {
    fn into_output(self) {}
}

/// An async function or closure that handles an occasion; its parameters are extracted from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for `{O}`",
    note = "a handler is an `async` function or closure of up to eight parameters that can be extracted, such as `async \
            |socket: Socket, Data(text): Data<String>| {{ }}`; a closure that captures needs `async move`"
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
