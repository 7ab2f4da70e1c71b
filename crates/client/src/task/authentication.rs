use std::{
    error::Error as StdError,
    future::ready,
    task::{Context, Poll},
    time::Instant,
};

use sockeye_handler::guard;

use crate::{settings::auth::AuthFuture, state::shared::Shared};

/// The authentication data in the making for one socket.
#[derive(Default)]
pub(super) struct Authentication(Option<(u64, AuthFuture)>);

impl Authentication {
    /// Begins to make the authentication data if the socket asks for it, and sends CONNECT once it is made.
    ///
    /// The function that makes it is the user's and may use its socket: nothing is locked while it runs or is dropped.
    pub(super) fn poll(&mut self, shared: &Shared, index: usize, now: Instant, cx: &mut Context<'_>) {
        let due = shared.core().due_authentication(index);
        if let Some((attempt, auth)) = due {
            // The future of the attempt before goes first.
            self.0 = None;
            let made = match auth {
                Some(make) => guard(|| make()).unwrap_or_else(|panic| Box::pin(ready(Err(panicked(&panic))))),
                None => Box::pin(ready(Ok(None))),
            };
            self.0 = Some((attempt, made));
        }
        let Some((attempt, future)) = &mut self.0 else { return };
        let attempt = *attempt;
        if !shared.core().sockets.get(index).is_some_and(|socket| socket.membership.authenticates(attempt)) {
            self.0 = None;
            return;
        }
        let made = match guard(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(made)) => made,
            Err(panic) => Err(panicked(&panic)),
        };
        self.0 = None;
        let mut core = shared.core();
        match made {
            Ok(auth) => core.authenticated(index, attempt, auth.as_deref()),
            Err(error) => core.authentication_failed(index, attempt, now, error),
        }
    }
}

fn panicked(panic: &str) -> Box<dyn StdError + Send + Sync> {
    tracing::error!(panic, "the function that makes the authentication data panicked");
    format!("the function panicked: {panic}").into()
}
