use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Transport;

/// An error: its [kind](Self::kind), which is to be matched on, and the error that caused it, which is its
/// [source](StdError::source). Its text does not repeat the source's. Cheap to clone.
#[derive(Clone)]
pub struct Error<Kind> {
    kind: Kind,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Why a connection, or a namespace on it, could not be opened.
pub type ConnectError = Error<ConnectErrorKind>;
/// Why an event could not be emitted.
pub type EmitError = Error<EmitErrorKind>;
/// Why an acknowledgement did not arrive.
pub type AckError = Error<AckErrorKind>;
/// Why a manager could not be built.
pub type BuildError = Error<BuildErrorKind>;

impl<Kind> Error<Kind> {
    /// The kind of the error.
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
        self.kind.fmt(f)
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
    /// The settings are not valid; the source is a [`BuildError`].
    #[error("the settings of the client are not valid")]
    Build,
    /// The server, or the proxy to it, does not accept connections.
    #[error("cannot reach {url} by {transport}; check that the server runs, and its address, port and proxy")]
    Unreachable {
        /// The server's address.
        url: String,
        /// The transport that was tried.
        transport: Transport,
    },
    /// TLS failed, for example because the certificate is not trusted.
    #[error(
        "the TLS connection to {url} failed; check that the port expects TLS and that the certificate names the host; set \
         `root_certificate` for an authority of your own"
    )]
    Tls {
        /// The server's address.
        url: String,
    },
    /// The server answered with an HTTP status that opens no session.
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
    /// The server sent something other than Engine.IO.
    #[error("the answer to {transport} is not Engine.IO{}; {hint}", Excerpt(.body))]
    NotEngineIo {
        /// The transport that was tried.
        transport: Transport,
        /// The beginning of the answer.
        body: String,
        /// What may be wrong.
        hint: &'static str,
    },
    /// The connection broke before the session was open.
    #[error(
        "the {transport} connection broke while it was opened; if the port expects TLS, write https:// in the address"
    )]
    Broken {
        /// The transport that was tried.
        transport: Transport,
    },
    /// The server did not answer in time.
    #[error("{url} opened no session within {timeout:?}; check that it is a Socket.IO server, or raise `timeout`")]
    TimedOut {
        /// The server's address.
        url: String,
        /// The time allowed.
        timeout: Duration,
    },
    /// The server did not answer CONNECT in time, or the function of `auth_with` took too long.
    #[error(
        "namespace {namespace} was not connected within {timeout:?}: the server did not answer, or `auth_with` took too long"
    )]
    NamespaceTimedOut {
        /// The namespace.
        namespace: String,
        /// The time allowed.
        timeout: Duration,
    },
    /// The server's CONNECT has no socket id, as that of a server of Socket.IO 2.
    #[error(
        "the server's CONNECT for namespace {namespace} has no socket id; it is probably a server of Socket.IO 2: set \
         `engine_version(EngineVersion::V3)`"
    )]
    NoId {
        /// The namespace.
        namespace: String,
    },
    /// The server refused the client with CONNECT_ERROR.
    #[error("the server refused namespace {}: {}{}", .0.namespace, .0.message, .0.hint())]
    Refused(Refusal),
    /// The function of `auth_with` failed; the source is its error.
    #[error("the function of `auth_with` failed for namespace {namespace}")]
    Auth {
        /// The namespace.
        namespace: String,
    },
    /// The connection ended before the server answered CONNECT, or the server disconnected the socket.
    #[error(
        "namespace {namespace} was not connected, because the connection ended ({reason}); if this happens every time, check \
         `parser` and the server's log"
    )]
    Lost {
        /// The namespace.
        namespace: String,
        /// Why it ended.
        reason: crate::DisconnectReason,
    },
    /// `disconnect` was called before the server answered CONNECT, or the runtime is shutting down.
    #[error("the client was disconnected before namespace {namespace} was connected")]
    Cancelled {
        /// The namespace.
        namespace: String,
    },
}

/// The CONNECT_ERROR by which a server refuses a client.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The namespace.
    pub namespace: String,
    /// The server's message.
    pub message: String,
    pub(crate) data: Option<Arc<RawValue>>,
}

impl Refusal {
    /// The server's data, if it sent any and it is a `T`.
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
            // The message of python-socketio.
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
    /// Socket.IO reserves the event's name.
    #[error("`{0}` is a reserved event name and cannot be emitted; choose another")]
    ReservedName(String),
    /// The socket was disconnected or could not be connected, and does not try again by itself.
    #[error("the socket of namespace {namespace} is disconnected; call `connect` before `emit`")]
    Disconnected {
        /// The namespace.
        namespace: String,
    },
    /// The events that wait to be sent fill the buffer.
    #[error("the send buffer of namespace {namespace} is full; emit less, or raise `send_buffer`")]
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
    #[error("the socket was disconnected before the server acknowledged the event")]
    Disconnected,
    /// The event was not sent: newer events replaced it by [`OverflowPolicy::DropOldest`](crate::OverflowPolicy::DropOldest), or
    /// it was volatile and could not be sent at once.
    #[error("the event was dropped before it was sent")]
    Dropped,
    /// All tries that [`Retries`](crate::Retries) allows timed out.
    #[error("the server did not acknowledge the event within all retries")]
    RetriesExhausted,
    /// The server's handler failed, with this text: the answer is `{"error": text}` and not of the requested type.
    #[error("the server answered with an error: {0}")]
    Failed(String),
    /// The arguments of the acknowledgement cannot be deserialised into the requested type; the source says why.
    #[error("the acknowledgement does not have the requested type")]
    Arguments,
}

/// The kinds of [`BuildError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The server's address is not valid.
    #[error("`{0}` is not a server's address; it looks like `http://host:port` or `https://host/namespace`")]
    Url(String),
    /// The address needs TLS, and the crate was built without its feature `tls`.
    #[error("`{0}` needs TLS, which this program was built without; enable the feature `tls` of sockeye-client")]
    TlsMissing(String),
    /// The list of transports is empty.
    #[error("the list of transports is empty; name at least one")]
    NoTransport,
    /// A header or cookie has a character that is not allowed.
    #[error("the header `{0}` is not valid; its name or its value has a character that is not allowed")]
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
    /// The HTTP library refuses the TLS settings, for example a certificate that does not match its key.
    #[error("the HTTP client could not be built from the TLS settings")]
    HttpClient,
}

/// Writes the beginning of a body, if there is one.
struct Excerpt<'a>(&'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " and {:?}", self.0) }
    }
}
