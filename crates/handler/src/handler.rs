use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc};

use crate::{HandlerKind, HasSocket as _, IntoOutput, Parameters, Rejection};

/// An async function or closure that handles things of this [kind](HandlerKind), such as events. Its parameters are
/// [extracted](crate::FromContext), and its result becomes the kind's [output](IntoOutput).
///
/// Every function that takes up to eight such parameters is a handler. A closure captures values by `async move`; each
/// call works on a clone of them, so put what the calls share into an `Arc`:
///
/// ```
/// # use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// # use sockeye_handler::{EventContext, Handler, HandlerKind, Reply};
/// # struct OnEvent;
/// # impl HandlerKind for OnEvent { type Context<'a> = EventContext<'a, ()>; type Output = Reply; }
/// # fn on<P>(_: &str, _: impl Handler<OnEvent, P>) {}
/// let visits = Arc::new(AtomicU64::new(0));
/// on("visit", async move || visits.fetch_add(1, Ordering::Relaxed) + 1);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "not an `async` function or closure of at most eight parameters",
    note = "a handler is an `async` function or closure, such as `async |socket: Socket, Data(text): Data<String>| {{ }}`; \
            one that uses values from outside is `async move |socket: Socket| {{ }}`, on clones of them",
    note = "a closure that is not `async` must return a future: `|socket: Socket| async move {{ }}`"
)]
pub trait Handler<K: HandlerKind, P>: Send + Sync + 'static {
    /// Extracts the parameters and calls the function. Its future is not polled yet.
    ///
    /// # Errors
    /// If a parameter cannot be extracted. The function is not called then.
    fn call(&self, context: &mut K::Context<'_>) -> Result<HandlerFuture<K>, Rejection>;
}

/// The future of a handler that was called.
pub type HandlerFuture<K> = Pin<Box<dyn Future<Output = <K as HandlerKind>::Output> + Send>>;

impl<K, P, F> Handler<K, P> for F
where
    K: HandlerKind,
    P: for<'a> Parameters<K::Context<'a>>,
    F: HandlerFn<P, Output: IntoOutput<K::Output>, Future: Send + 'static> + Clone + Send + Sync + 'static,
{
    fn call(&self, context: &mut K::Context<'_>) -> Result<HandlerFuture<K>, Rejection> {
        let parameters = P::extract(context)?;
        let is_wanted = context.wants_output();
        let future = self.clone().call(parameters);
        Ok(Box::pin(async move {
            let result = future.await;
            if is_wanted { result.into_output() } else { result.into_unwanted_output() }
        }))
    }
}

/// An async function or closure with these parameters, a tuple.
pub trait HandlerFn<P>: Sized {
    /// What the function returns once it is awaited.
    type Output;
    /// The function's future.
    type Future: Future<Output = Self::Output>;

    /// Calls the function.
    fn call(self, parameters: P) -> Self::Future;
}

/// A handler whose parameters are forgotten, so that handlers of one kind can be kept together.
pub trait AnyHandler<K: HandlerKind>: Send + Sync {
    /// Does the same as [`Handler::call`].
    ///
    /// # Errors
    /// If a parameter cannot be extracted. The function is not called then.
    fn call(&self, context: &mut K::Context<'_>) -> Result<HandlerFuture<K>, Rejection>;
}

/// A handler as it is kept.
pub type ErasedHandler<K> = Arc<dyn AnyHandler<K>>;

/// Forgets the parameters of a handler.
pub fn erase<K: HandlerKind, P: 'static>(handler: impl Handler<K, P>) -> ErasedHandler<K> {
    struct Erased<H, P> {
        handler: H,
        parameters: PhantomData<fn(P)>,
    }

    impl<K: HandlerKind, P, H: Handler<K, P>> AnyHandler<K> for Erased<H, P> {
        fn call(&self, context: &mut K::Context<'_>) -> Result<HandlerFuture<K>, Rejection> {
            self.handler.call(context)
        }
    }

    Arc::new(Erased { handler, parameters: PhantomData })
}

macro_rules! impl_handler_fn {
    ($($parameter:ident),*) => {
        #[allow(non_snake_case)]
        impl<Function, Fut, $($parameter),*> HandlerFn<($($parameter,)*)> for Function
        where
            Function: FnOnce($($parameter),*) -> Fut,
            Fut: Future,
        {
            type Output = Fut::Output;
            type Future = Fut;

            fn call(self, ($($parameter,)*): ($($parameter,)*)) -> Fut {
                self($($parameter),*)
            }
        }
    };
}

impl_handler_fn!();
impl_handler_fn!(A);
impl_handler_fn!(A, B);
impl_handler_fn!(A, B, C);
impl_handler_fn!(A, B, C, D);
impl_handler_fn!(A, B, C, D, E);
impl_handler_fn!(A, B, C, D, E, F);
impl_handler_fn!(A, B, C, D, E, F, G);
impl_handler_fn!(A, B, C, D, E, F, G, H);
