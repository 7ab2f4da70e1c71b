use std::{fmt, future::Future, pin::Pin, sync::Arc};

use hashbrown::HashMap;
use parking_lot::RwLock;
use sockeye_engine::log_throttled;
use sockeye_handler::guarded;
use sockeye_protocol::socketio::ArgsBuf;

use crate::{IntoReply, Reply};

/// The handlers of a namespace for events that other servers emit.
#[derive(Default)]
pub struct ServerEvents {
    handlers: RwLock<HashMap<Box<str>, Vec<Run>>>,
}

type Run = Arc<dyn Fn(ArgsBuf) -> Pin<Box<dyn Future<Output = Reply> + Send>> + Send + Sync>;

impl ServerEvents {
    pub(crate) fn on<F, R>(&self, event: &str, handler: impl FnOnce(ArgsBuf) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply,
    {
        let run: Run = Arc::new(move |args| {
            let answer = handler.clone()(args);
            Box::pin(async move { answer.await.into_reply() })
        });
        self.handlers.write().entry(event.into()).or_default().push(run);
    }

    /// Copies the handlers of the parent namespace.
    pub(crate) fn inherit(&self, parent: &Self) {
        self.handlers.write().clone_from(&parent.handlers.read());
    }

    /// Runs the handlers of an event and returns the first answer, if any handler answers. A handler that panics gives
    /// none, and the others run.
    pub async fn received(&self, event: &str, args: &ArgsBuf) -> Option<ArgsBuf> {
        let handlers = self.handlers.read().get(event).cloned().unwrap_or_default();
        let mut answer = None;
        for run in handlers {
            match guarded(async { run(args.clone()).await }).await {
                Ok(reply) => answer = answer.or(args_of(reply)),
                Err(panic) => log_throttled!(error, event, event, panic, "a handler for an event of servers panicked"),
            }
        }
        answer
    }
}

/// The arguments of a reply, or none if the handler returned no answer.
fn args_of(reply: Reply) -> Option<ArgsBuf> {
    match reply {
        Reply::Empty => None,
        Reply::Args(args) => Some(args),
        Reply::Error(error) => ArgsBuf::new(&serde_json::json!({ "error": error.message() })).ok(),
    }
}

impl fmt::Debug for ServerEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvents").finish_non_exhaustive()
    }
}
