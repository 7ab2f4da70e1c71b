use std::{
    error::Error as StdError,
    future::ready,
    task::{Context, Poll},
    time::Instant,
};

use sockeye_handler::guard;

use crate::{
    settings::auth::{Auth, AuthFuture},
    state::shared::Shared,
};

/// The authentication data in the making for one socket.
#[derive(Default)]
pub(super) struct Authentication(Option<(u64, AuthFuture)>);

impl Authentication {
    /// Begins to make the authentication data if the socket asks for it, and sends CONNECT once it is made.
    ///
    /// The function that makes it is the user's and may use its socket: nothing is locked while it runs or is dropped.
    pub(super) fn poll(&mut self, shared: &Shared, index: usize, now: Instant, cx: &mut Context<'_>) {
        if let Some((attempt, make)) = self.due(shared, index) {
            // The future of the attempt before goes first.
            self.0 = None;
            let made = guard(|| make()).unwrap_or_else(|panic| Box::pin(ready(Err(panicked(&panic)))));
            self.0 = Some((attempt, made));
        }
        let Some((attempt, future)) = &mut self.0 else { return };
        let attempt = *attempt;
        let waits = shared.core().sockets.get(index).is_some_and(|socket| socket.membership.authenticates(attempt));
        if !waits {
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

    /// The attempt that asks for authentication data, and the function that makes it. Data that is there already is sent
    /// at once.
    fn due(&self, shared: &Shared, index: usize) -> Option<(u64, Function)> {
        let mut core = shared.core();
        let socket = core.sockets.get_mut(index)?;
        let attempt = socket.authenticate.take()?;
        match socket.auth.clone() {
            None => core.authenticated(index, attempt, None),
            Some(Auth::Value(auth)) => core.authenticated(index, attempt, Some(&auth)),
            Some(Auth::Function(make)) => return Some((attempt, make)),
        }
        None
    }
}

type Function = std::sync::Arc<dyn Fn() -> AuthFuture + Send + Sync>;

fn panicked(panic: &str) -> Box<dyn StdError + Send + Sync> {
    tracing::error!(panic, "the function that makes the authentication data panicked");
    format!("the function panicked: {panic}").into()
}
