//! What an error of the client library says at the command line. The library speaks of its own settings; the program has
//! options instead.
use std::{error::Error, fmt};

use sockeye_client::{
    AckError, AckErrorKind, BuildError, BuildErrorKind, ConnectError, ConnectErrorKind, EmitError, EmitErrorKind,
    Transport,
};

use super::values::Escaped;

/// An error in the words of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What happened, and why as far as it is known.
    pub(crate) problem: String,
    /// What to do about it; empty if that is not known.
    pub(crate) cure: String,
}

/// Writes the problem, and the cure on a line of its own.
impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.cure.is_empty() { "" } else { "\n" };
        write!(f, "{}{separator}{}", self.problem, self.cure)
    }
}

/// Why a connection or a namespace could not be opened.
pub(crate) fn connecting(error: &ConnectError) -> Advice {
    let (problem, cure) = match error.kind() {
        ConnectErrorKind::Unreachable { url, .. } => (
            format!("cannot reach {url}"),
            "Is the server running, and are the address, the port and --proxy (if given) right?".into(),
        ),
        ConnectErrorKind::Tls { url } => (
            format!("the TLS connection to {url} failed"),
            "A port without TLS needs http:// in the address. For a certificate of your own authority use --ca FILE; for \
             tests, --insecure accepts any."
                .into(),
        ),
        ConnectErrorKind::Http { transport, status, body, .. } => (
            format!("the server answered {transport} with HTTP status {status}{}", said(body)),
            answer(*status, body, *transport).into(),
        ),
        ConnectErrorKind::NotEngineIo { transport, body, .. } => {
            (format!("the answer to {transport} is not Engine.IO{}", said(body)), answer(200, body, *transport).into())
        }
        ConnectErrorKind::Broken { transport } => (
            format!("the {transport} connection broke while it was opened"),
            "A port with TLS needs https:// in the address.".into(),
        ),
        ConnectErrorKind::TimedOut { url, timeout } => (
            format!("no connection to {url} within {timeout:?}"),
            "Is it a Socket.IO server? --timeout allows more time.".into(),
        ),
        ConnectErrorKind::NamespaceTimedOut { namespace, timeout } => (
            format!("the server did not answer for namespace {namespace} within {timeout:?}"),
            "--timeout allows more time.".into(),
        ),
        ConnectErrorKind::Refused(refusal) => {
            let problem = format!("the server refused namespace {}: {}", refusal.namespace, refusal.message);
            let cure = match refusal.message.as_str() {
                // The words of socket.io, and those of python-socketio.
                "Invalid namespace" => {
                    "The server has no namespace of this name. It is the path of the address, or --namespace."
                }
                "Unable to connect" => {
                    "Probably the server has no namespace of this name. It is the path of the address, or --namespace."
                }
                _ => "These are the server's own words. --auth and --header tell it who you are.",
            };
            (problem, cure.into())
        }
        ConnectErrorKind::Lost { namespace, reason } => (
            format!("the connection was lost ({reason}) before the server answered for namespace {namespace}"),
            "If that happens every time, the server may need another --parser; its log may say more.".into(),
        ),
        kind => (kind.to_string(), String::new()),
    };
    // The causes between are words of the HTTP library such as "error sending request".
    let problem = match innermost(error) {
        Some(cause) => format!("{problem}: {cause}"),
        None => problem,
    };
    Advice { problem: Escaped(&problem).to_string(), cure }
}

/// Why an event could not be sent.
pub(crate) fn emitting(error: &EmitError) -> String {
    let problem = match error.kind() {
        EmitErrorKind::BufferFull { .. } => "it is larger than the send buffer".into(),
        EmitErrorKind::Disconnected { namespace } => format!("the client is not connected to namespace {namespace}"),
        kind => kind.to_string(),
    };
    with_causes(problem, error)
}

/// Why an acknowledgement did not come.
pub(crate) fn acknowledging(error: &AckError) -> String {
    let text = with_causes(error.kind().to_string(), error);
    match error.kind() {
        AckErrorKind::TimedOut(_) => format!("{text}; --timeout allows more time"),
        _ => text,
    }
}

/// Why the options do not make a client.
pub(crate) fn building(error: &BuildError) -> String {
    let problem = match error.kind() {
        BuildErrorKind::RootCertificate => {
            "the file given by --ca must be PEM and begin with -----BEGIN CERTIFICATE-----".into()
        }
        kind => kind.to_string(),
    };
    with_causes(problem, error)
}

/// What is probably wrong when a server answers like this.
fn answer(status: u16, body: &str, transport: Transport) -> &'static str {
    let says = |texts: &[&str]| texts.iter().any(|text| body.contains(text));
    if says(&["Unsupported protocol version", "unsupported version of the Socket.IO", ":0{\"sid\""])
        || body.starts_with("0{\"sid\"")
    {
        return "It speaks another revision of Engine.IO: --eio 3 is for Socket.IO 1 and 2, 4 for later versions.";
    }
    if says(&["Transport unknown", "Invalid transport"]) {
        return match transport {
            Transport::Polling => "The server has polling switched off: use --transport websocket.",
            Transport::WebSocket => "The server has WebSocket switched off: use --transport polling.",
        };
    }
    if says(&["Session ID unknown", "Invalid session"]) {
        return "The requests of one session reach different servers: make sessions sticky at the load balancer, or use \
                --transport websocket.";
    }
    match status {
        101 | 200 => "Something else than Socket.IO serves this path: check the address and --path.",
        300..=399 => "Use the address that it redirects to.",
        401 | 403 | 407 => "It may want credentials: check --header, --auth and --proxy.",
        404 | 405 => "Socket.IO is served at another path than /socket.io/: check --path.",
        400 if transport == Transport::WebSocket => "A proxy before it may not pass the Upgrade header on.",
        502..=504 => "The proxy before it cannot reach the server.",
        _ => "The server's log may say more.",
    }
}

fn said(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

fn innermost(error: &dyn Error) -> Option<String> {
    let mut innermost = error.source()?;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    Some(innermost.to_string())
}

/// Adds the causes of an error, as far as they say something new.
fn with_causes(problem: String, error: &dyn Error) -> String {
    let mut text = problem;
    let mut next = error.source();
    while let Some(cause) = next {
        let words = match cause.downcast_ref::<EmitError>() {
            Some(error) => emitting(error),
            None => cause.to_string(),
        };
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        next = cause.source();
    }
    text
}
