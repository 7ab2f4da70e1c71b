use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Transport;

/// An error of one operation: what [kind](Self::kind) it is, to match on, and its source for the details. Cheap to
/// clone.
#[derive(Clone)]
pub struct Error<Kind> {
    kind: Kind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Why a connection, or a namespace on it, could not be opened.
pub type ConnectError = Error<ConnectErrorKind>;
/// Why an event could not be emitted.
pub type EmitError = Error<EmitErrorKind>;
/// Why no acknowledgement came.
pub type AckError = Error<AckErrorKind>;
/// Why a manager could not be built.
pub type BuildError = Error<BuildErrorKind>;

impl<Kind> Error<Kind> {
    /// What kind of error it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn with_source(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { kind, source: Some(Arc::from(source.into())) }
    }
}

impl<Kind: fmt::Display> fmt::Display for Error<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        let mut source = self.source.as_deref().map(|source| source as &dyn StdError);
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl<Kind: fmt::Debug> fmt::Debug for Error<Kind> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.kind).field("source", &self.source).finish()
    }
}

impl<Kind: fmt::Debug + fmt::Display> StdError for Error<Kind> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl<Kind> From<Kind> for Error<Kind> {
    fn from(kind: Kind) -> Self {
        Self::new(kind)
    }
}

/// The kinds of [`ConnectError`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// The manager could not be built; only [`connect`](fn@crate::connect) and
    /// [`ManagerBuilder::connect`](crate::ManagerBuilder::connect) say so.
    #[error("the settings are not valid")]
    Build,
    /// No connection to the server or its proxy came about.
    #[error("cannot reach {url} by {transport}; is the server running, and are address, port and proxy right?")]
    Unreachable {
        /// The server's address.
        url: String,
        /// The transport that was tried.
        transport: Transport,
    },
    /// TLS failed, as for a certificate that is not trusted.
    #[error(
        "the TLS connection to {url} failed; is TLS spoken at this port? For a certificate of your own authority use \
         `root_certificate`, and mind that the certificate must name the host"
    )]
    Tls {
        /// The server's address.
        url: String,
    },
    /// The server answered, but not as a Socket.IO server that lets this client in.
    #[error("the server answered {transport} with HTTP status {status}{}; {hint}", Excerpt(.body))]
    Http {
        /// The transport that was tried.
        transport: Transport,
        /// The HTTP status.
        status: u16,
        /// The beginning of the answer's body.
        body: String,
        /// What may be wrong.
        hint: &'static str,
    },
    /// What came is not Engine.IO.
    #[error("the answer to {transport} is not Engine.IO{}; {hint}", Excerpt(.body))]
    NotEngineIo {
        /// The transport that was tried.
        transport: Transport,
        /// The beginning of what came.
        body: String,
        /// What may be wrong.
        hint: &'static str,
    },
    /// The connection broke before it was open.
    #[error(
        "the {transport} connection broke while it was being opened; where TLS is spoken, the address begins with https"
    )]
    Broken {
        /// The transport that was tried.
        transport: Transport,
    },
    /// The server did not answer in time.
    #[error("no connection to {url} within {timeout:?}; is it a Socket.IO server? `timeout` allows more time")]
    TimedOut {
        /// The server's address.
        url: String,
        /// The time allowed.
        timeout: Duration,
    },
    /// The server did not answer the request to join a namespace in time.
    #[error("the server did not let the client into namespace {namespace} within {timeout:?}")]
    NamespaceTimedOut {
        /// The namespace.
        namespace: String,
        /// The time allowed.
        timeout: Duration,
    },
    /// The server let the client into a namespace without giving it an id, as servers of Socket.IO 2 do.
    #[error(
        "the server let the client into namespace {namespace} without an id; it is probably a server of Socket.IO 2: set \
         `engine_version(EngineVersion::V3)`"
    )]
    NoId {
        /// The namespace.
        namespace: String,
    },
    /// The server does not let the client into a namespace.
    #[error("the server refused namespace {}: {}{}", .0.namespace, .0.message, .0.hint())]
    Refused(Refusal),
    /// The function that makes the authentication data failed.
    #[error("the authentication data for namespace {namespace} could not be made")]
    Auth {
        /// The namespace.
        namespace: String,
    },
    /// The connection was lost before the server had answered for this namespace, and is not tried again.
    #[error(
        "the connection was lost ({reason}) before namespace {namespace} was connected; if that happens every time, the \
         server may use another `parser`, and its log may say more"
    )]
    Lost {
        /// The namespace.
        namespace: String,
        /// Why it was lost.
        reason: crate::DisconnectReason,
    },
    /// `disconnect` was called meanwhile, or the runtime is shutting down.
    #[error("the client disconnected while namespace {namespace} was being connected")]
    Cancelled {
        /// The namespace.
        namespace: String,
    },
}

/// A server's refusal to let a client into a namespace.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The namespace.
    pub namespace: String,
    /// The server's message.
    pub message: String,
    pub(crate) data: Option<Arc<RawValue>>,
}

impl Refusal {
    /// The data the server sent along, if there is any and it is a `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.data.as_ref()?.get()).ok()
    }

    /// Reads the payload of a CONNECT_ERROR packet: an object with `message` and `data`, or from old servers any value.
    pub(crate) fn parse(namespace: &str, payload: &RawValue) -> Self {
        #[derive(serde::Deserialize)]
        struct Payload {
            message: String,
            data: Option<Box<RawValue>>,
        }
        let json = payload.get();
        let (message, data) = if let Ok(payload) = serde_json::from_str::<Payload>(json) {
            (payload.message, payload.data.map(Arc::from))
        } else if let Ok(message) = serde_json::from_str::<String>(json) {
            (message, None)
        } else {
            (json.to_owned(), Some(payload.to_owned().into()))
        };
        Self { namespace: namespace.to_owned(), message, data }
    }

    fn hint(&self) -> &'static str {
        match self.message.as_str() {
            "Invalid namespace" => "; the server has no namespace of this name",
            // It is what python-socketio says.
            "Unable to connect" => "; probably the server has no namespace of this name",
            _ => "",
        }
    }
}

/// The kinds of [`EmitError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitErrorKind {
    /// The data could not be serialised.
    #[error("the event could not be encoded")]
    Encode,
    /// The name is one that Socket.IO keeps for itself.
    #[error("`{0}` is a reserved event name and cannot be emitted; choose another")]
    ReservedName(String),
    /// The socket was disconnected for good, or could not be connected.
    #[error("the socket of namespace {namespace} is disconnected; call `connect` again before emitting")]
    Disconnected {
        /// The namespace.
        namespace: String,
    },
    /// As much waits to be sent as the buffer may hold.
    #[error("the send buffer of namespace {namespace} is full; emit less, or allow more by `send_buffer`")]
    BufferFull {
        /// The namespace.
        namespace: String,
    },
}

/// The kinds of [`AckError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckErrorKind {
    /// The event could not be emitted.
    #[error("the event could not be emitted")]
    Emit,
    /// The server did not answer in time.
    #[error("the server did not acknowledge the event within {0:?}")]
    TimedOut(Duration),
    /// The connection was lost, or the socket disconnected, after the event was sent and before it was acknowledged.
    #[error("the socket has been disconnected before the event was acknowledged")]
    Disconnected,
    /// The event gave way to newer ones, by [`OverflowPolicy::DropOldest`](crate::OverflowPolicy::DropOldest), or was
    /// volatile and there was no connection.
    #[error("the event was dropped unsent")]
    Dropped,
    /// All tries that [`Retries`](crate::Retries) allows timed out.
    #[error("the server did not acknowledge the event, however often it was sent")]
    RetriesExhausted,
    /// The server answered with something else.
    #[error("the acknowledgement is not what was expected")]
    Arguments,
}

/// The kinds of [`BuildError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The address is not one of a server.
    #[error("`{0}` is not a server's address; it looks like `http://host:port` or `https://host/namespace`")]
    Url(String),
    /// The address is one of TLS, and the crate was built without its feature `tls`.
    #[error("`{0}` needs TLS, which this program was built without; switch on the feature `tls` of sockeye-client")]
    TlsMissing(String),
    /// No transport is left to try.
    #[error("there is no transport; name at least one")]
    NoTransport,
    /// A header or cookie has characters that it must not have.
    #[error("the header `{0}` is not valid")]
    Header(String),
    /// The authentication data has no JSON form or is not an object.
    #[error("the authentication data must serialise to a JSON object")]
    Auth,
    /// A root certificate is not valid PEM.
    #[error("a root certificate could not be read; it must be PEM, beginning with -----BEGIN CERTIFICATE-----")]
    RootCertificate,
    /// The client certificate is not valid PEM.
    #[error("the client certificate could not be read; it must be PEM and hold the certificates and the private key")]
    ClientCertificate,
    /// The proxy's address is not valid.
    #[error("`{0}` is not a proxy's address; it looks like `http://host:port` or `socks5h://host:port`")]
    Proxy(String),
    /// The TLS settings do not fit together.
    #[error("the HTTP client could not be set up")]
    HttpClient,
}

/// Writes the beginning of a body, if there is one.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " and {:?}", self.0) }
    }
}
