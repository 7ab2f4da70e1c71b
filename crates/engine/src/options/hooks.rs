use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::{HeaderMap, request::Parts};

use crate::{Refusal, Sid, log_throttled};

/// What an application has to say about requests: who may connect, under which identifier, with which headers in the
/// answer. A hook that is not set costs nothing.
///
/// ```
/// use std::future::ready;
/// use sockeye_engine::{Config, Hooks};
///
/// let hooks = Hooks::default()
///     .allow_request(|request| {
///         let known = request.headers.contains_key("x-api-key");
///         // Not known at once? An `async` block may ask elsewhere; it takes what it needs of the request along.
///         ready(if known { Ok(()) } else { Err("an API key is needed".into()) })
///     })
///     .headers(|headers, _request| drop(headers.insert("x-served-by", "a".parse().expect("a valid value"))))
///     .connection_error(|error| eprintln!("refused {}: {}", error.request.uri, error.refusal));
/// let config = Config { hooks, ..Config::default() };
/// ```
#[derive(Clone, Default)]
pub struct Hooks {
    allow_request: Option<Arc<Ask<Result<(), String>>>>,
    generate_id: Option<Arc<Ask<Result<Sid, String>>>>,
    initial_headers: Option<Arc<ChangeHeaders>>,
    headers: Option<Arc<ChangeHeaders>>,
    connection_error: Option<Arc<Tell>>,
}

/// A request that was refused.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionError<'a> {
    /// The request without its body.
    pub request: &'a Parts,
    /// Why it was refused: its [`code`](Refusal::code), its message, and for the log its
    /// [`context`](Refusal::context).
    pub refusal: &'a Refusal,
}

impl Hooks {
    /// Decides whether a request may open a session. Refused, it is answered by 403 and code 4 with the error as the
    /// message, which the client gets to see.
    #[must_use]
    pub fn allow_request<F, D>(mut self, decide: F) -> Self
    where
        F: Fn(&Parts) -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.allow_request = Some(Arc::new(move |request| Box::pin(decide(request))));
        self
    }

    /// Chooses the identifier of a new session, which nobody else must be able to guess: whoever knows it can take the
    /// session over. Default [`Sid::random`].
    ///
    /// A failure, an identifier that is in use, and one that a cookie could not hold (RFC 6265's `cookie-octet`) refuse
    /// the request with code 3; the client is not told why, the log is.
    #[must_use]
    pub fn generate_id<F, D>(mut self, generate: F) -> Self
    where
        F: Fn(&Parts) -> D + Send + Sync + 'static,
        D: Future<Output = Result<Sid, String>> + Send + 'static,
    {
        self.generate_id = Some(Arc::new(move |request| Box::pin(generate(request))));
        self
    }

    /// Changes the headers of the answer that opens a session, be it a payload or a WebSocket's handshake.
    #[must_use]
    pub fn initial_headers(mut self, change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.initial_headers = Some(Arc::new(change));
        self
    }

    /// Changes the headers of every answer, refusals and WebSocket handshakes included.
    #[must_use]
    pub fn headers(mut self, change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.headers = Some(Arc::new(change));
        self
    }

    /// Is told of every request that was refused.
    #[must_use]
    pub fn connection_error(mut self, tell: impl Fn(ConnectionError<'_>) + Send + Sync + 'static) -> Self {
        self.connection_error = Some(Arc::new(tell));
        self
    }

    /// Whether a new session can be opened without asking anybody.
    pub(crate) fn ask_nothing(&self) -> bool {
        self.allow_request.is_none() && self.generate_id.is_none()
    }

    pub(crate) async fn admit(&self, request: &Parts) -> Result<Sid, Refusal> {
        if let Some(decide) = &self.allow_request {
            decide(request).await.map_err(Refusal::Forbidden)?;
        }
        let Some(generate) = &self.generate_id else { return Ok(Sid::random()) };
        match generate(request).await {
            Ok(id) if is_usable(&id) => Ok(id),
            Ok(id) => {
                log_throttled!(
                    error,
                    "",
                    ?id,
                    "the generated session id is of no use; it must be 1 to 256 visible characters of ASCII without \
                     quotes, commas, semicolons and backslashes"
                );
                Err(Refusal::BadRequest("the generated session id is of no use"))
            }
            Err(error) => {
                log_throttled!(error, &error.to_string(), %error, "no session id could be generated");
                Err(Refusal::BadRequest("no session id could be generated"))
            }
        }
    }

    pub(crate) fn change_headers(&self, headers: &mut HeaderMap, request: &Parts, opens: bool) {
        if let (Some(change), true) = (&self.initial_headers, opens) {
            change(headers, request);
        }
        if let Some(change) = &self.headers {
            change(headers, request);
        }
    }

    pub(crate) fn refused(&self, request: &Parts, refusal: &Refusal) {
        if let Some(tell) = &self.connection_error {
            tell(ConnectionError { request, refusal });
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("allow_request", &self.allow_request.is_some())
            .field("generate_id", &self.generate_id.is_some())
            .field("initial_headers", &self.initial_headers.is_some())
            .field("headers", &self.headers.is_some())
            .field("connection_error", &self.connection_error.is_some())
            .finish()
    }
}

type Ask<T> = dyn Fn(&Parts) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync;
type ChangeHeaders = dyn Fn(&mut HeaderMap, &Parts) + Send + Sync;
type Tell = dyn Fn(ConnectionError<'_>) + Send + Sync;

fn is_usable(id: &str) -> bool {
    (1..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte))
}
