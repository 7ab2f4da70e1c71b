use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use crate::{FromContext, IntoReply, Occasion, Rejection, Reply};

/// An async function or closure that handles an occasion; its parameters are extracted from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler for `{O}`",
    note = "a handler is an `async` function or closure of up to eight parameters that can be extracted, such as `async \
            |socket: Socket, Data(text): Data<String>| {{ }}`; one that captures a value is written `move |socket: Socket| {{ \
            let value = value.clone(); async move {{ }} }}`, or asks for the value by `State`",
    note = "every handler may take `Socket` and `State<T>`; those of events also `Data<T>`, `Args<T>`, `RawArgs`, `Binary`, \
            `EventName`, `Ack`; those of disconnects `Reason`; on a server all may take `HandshakeRef` and those of connects \
            `Auth<T>`; on a client those of connect errors `ConnectError`",
    note = "event handlers return `()`, a value to acknowledge the event with, or a `Result` of such: text, numbers, `Vec`, \
            `Option`, tuples, JSON values, and of any other type that serialises `Reply::of(&value)`; a server's connect \
            handlers return `()` or `Result<(), ConnectRefusal>`; all others return `()`"
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

/// A handler whose parameters are forgotten, so that handlers of one occasion can be kept together.
pub trait AnyHandler<O: Occasion>: Send + Sync {
    /// Extracts the parameters and begins to run.
    ///
    /// # Errors
    /// If a parameter cannot be extracted.
    fn call(&self, context: &mut O::Context<'_>) -> Result<HandlerFuture<O>, Rejection>;
}

/// A handler as it is kept.
pub type ErasedHandler<O> = Arc<dyn AnyHandler<O>>;

/// Forgets the parameters of a handler.
pub fn erase<O: Occasion, P: 'static>(handler: impl Handler<O, P>) -> ErasedHandler<O> {
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

/// What a handler's result must be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a handler that answers `{Output}`",
    note = "event handlers return `()`, something to acknowledge the event with (text, numbers, `Vec`, `Option`, tuples, \
            JSON values, and of any other type that serialises `Reply::of(&value)`), or a `Result` of such; a server's \
            connect handlers return `()` or `Result<(), ConnectRefusal>`; all other handlers return `()`"
)]
pub trait IntoOutput<Output> {
    /// Turns the result into the occasion's answer.
    fn into_output(self) -> Output;
}

impl<T: IntoReply> IntoOutput<Reply> for T {
    fn into_output(self) -> Reply {
        self.into_reply()
    }
}

impl IntoOutput<()> for () {
    fn into_output(self) {}
}

macro_rules! impl_handler {
    ($($parameter:ident),*) => {
        #[allow(non_snake_case, unused_variables)]
        impl<O, F, Fut, $($parameter,)*> Handler<O, ($($parameter,)*)> for F
        where
            O: Occasion,
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoOutput<O::Output>> + Send + 'static,
            $($parameter: for<'a> FromContext<O::Context<'a>>,)*
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
