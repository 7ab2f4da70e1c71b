use std::{fmt, future::Future, pin::Pin, sync::Arc};

use http::{HeaderMap, request::Parts};

use crate::{Refusal, Sid, log_throttled};

/// Functions of the application that the engine calls for requests: they decide which clients may connect, choose the
/// identifiers of sessions, and change the headers of answers. A hook that is not set costs nothing.
///
/// ```
/// use std::future::ready;
/// use sockeye_engine::{Config, Hooks};
///
/// let hooks = Hooks::default()
///     .allow_request(|request| {
///         let known = request.headers.contains_key("x-api-key");
///         // To await something, return an `async` block that owns what it needs from the request.
///         ready(if known { Ok(()) } else { Err("an API key is needed".into()) })
///     })
///     .headers(|headers, _request| drop(headers.insert("x-served-by", "a".parse().expect("a valid value"))))
///     .connection_error(|error| eprintln!("refused {}: {}", error.request.uri, error.refusal));
/// let config = Config { hooks, ..Config::default() };
/// ```
#[derive(Clone, Default)]
pub struct Hooks {
    allow_request: Option<Arc<AsyncHook<Result<(), String>>>>,
    generate_id: Option<Arc<AsyncHook<Result<Sid, String>>>>,
    initial_headers: Option<Arc<ChangeHeaders>>,
    headers: Option<Arc<ChangeHeaders>>,
    connection_error: Option<Arc<ReportError>>,
}

/// A refused request.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionError<'a> {
    /// The request without its body.
    pub request: &'a Parts,
    /// Why it was refused: a [`code`](Refusal::code), a message, and a [`context`](Refusal::context) for the log.
    pub refusal: &'a Refusal,
}

impl Hooks {
    /// Decides whether a request may open a session. A refused request is answered with status 403 and code 4. The
    /// error is the message, which the client can read.
    #[must_use]
    pub fn allow_request<F, D>(mut self, decide: F) -> Self
    where
        F: Fn(&Parts) -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.allow_request = Some(Arc::new(move |request| Box::pin(decide(request))));
        self
    }

    /// Chooses the identifier of a new session. It must be impossible to guess, because whoever knows it can take over
    /// the session. Default [`Sid::random`].
    ///
    /// The request is refused with code 3 if this function fails, if the identifier is in use, or if a cookie cannot
    /// contain it (RFC 6265's `cookie-octet`). The log names the cause.
    #[must_use]
    pub fn generate_id<F, D>(mut self, generate: F) -> Self
    where
        F: Fn(&Parts) -> D + Send + Sync + 'static,
        D: Future<Output = Result<Sid, String>> + Send + 'static,
    {
        self.generate_id = Some(Arc::new(move |request| Box::pin(generate(request))));
        self
    }

    /// Changes the headers of the answer that opens a session: of the first polling answer or of the WebSocket
    /// handshake.
    #[must_use]
    pub fn initial_headers(mut self, change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.initial_headers = Some(Arc::new(change));
        self
    }

    /// Changes the headers of every answer, including refusals and WebSocket handshakes.
    #[must_use]
    pub fn headers(mut self, change: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.headers = Some(Arc::new(change));
        self
    }

    /// Is called with every refused request.
    #[must_use]
    pub fn connection_error(mut self, report: impl Fn(ConnectionError<'_>) + Send + Sync + 'static) -> Self {
        self.connection_error = Some(Arc::new(report));
        self
    }

    /// Whether a hook must be awaited before a session is opened.
    pub(crate) fn delay_admission(&self) -> bool {
        self.allow_request.is_some() || self.generate_id.is_some()
    }

    pub(crate) async fn admit(&self, request: &Parts) -> Result<Sid, Refusal> {
        if let Some(decide) = &self.allow_request {
            decide(request).await.map_err(Refusal::Forbidden)?;
        }
        let Some(generate) = &self.generate_id else { return Ok(Sid::random()) };
        match generate(request).await {
            Ok(id) if is_valid(&id) => Ok(id),
            Ok(id) => {
                log_throttled!(
                    error,
                    "",
                    ?id,
                    "the hook `generate_id` returned an invalid session id; it must be 1 to 256 visible characters of \
                     ASCII without quotes, commas, semicolons and backslashes"
                );
                Err(Refusal::BadRequest("the hook `generate_id` returned an invalid session id"))
            }
            Err(error) => {
                log_throttled!(error, &error.to_string(), %error, "the hook `generate_id` failed");
                Err(Refusal::BadRequest("the hook `generate_id` failed"))
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
        if let Some(report) = &self.connection_error {
            report(ConnectionError { request, refusal });
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

type AsyncHook<T> = dyn Fn(&Parts) -> Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync;
type ChangeHeaders = dyn Fn(&mut HeaderMap, &Parts) + Send + Sync;
type ReportError = dyn Fn(ConnectionError<'_>) + Send + Sync;

/// Whether a cookie may contain the identifier.
fn is_valid(id: &str) -> bool {
    (1..=256).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte))
}
