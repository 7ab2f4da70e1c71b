//! The options that all commands share: which server to connect to, and how.
use std::{fs, io, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use reqwest::Url;
use serde_json::value::RawValue;
use sockeye_client::{EngineVersion, Manager, ManagerBuilder, Parser, Transport};

/// How to connect to a server.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetOptions {
    /// The namespace to join; the path of the address names it as well [default: /]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The authentication data to join with: a JSON object, such as '{"token": "secret"}'
    #[arg(short, long, value_name = "JSON")]
    pub(crate) auth: Option<Auth>,
    /// The transport to use, or both in the order to try them, such as websocket,polling. By default the client begins
    /// with polling and upgrades to WebSocket
    #[arg(short, long, value_delimiter = ',')]
    pub(crate) transport: Vec<TransportName>,
    /// The path that the server is mounted at [default: /socket.io/]
    #[arg(short, long)]
    pub(crate) path: Option<String>,
    /// The format of packets; the server must use the same
    #[arg(long, value_enum, default_value_t)]
    pub(crate) parser: ParserName,
    /// The revision of Engine.IO: 4, or 3 for servers of Socket.IO 1 and 2
    #[arg(long, value_name = "REVISION", default_value = "4", value_parser = ["3", "4"])]
    pub(crate) eio: String,
    /// A header to send with every request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME:VALUE")]
    pub(crate) header: Vec<Header>,
    /// A PEM file with certificates to trust, in addition to those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Accept any certificate. Then an attacker on the network can read and change everything
    #[arg(long)]
    pub(crate) insecure: bool,
    /// The proxy to connect through, such as http://proxy:3128 or socks5h://localhost:1080
    #[arg(long, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// How many seconds connecting may take, and each acknowledgement
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

/// A server's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The scheme, host, port and query, without a path.
    pub(crate) url: Url,
    /// The path that the server is mounted at, with slashes around.
    pub(crate) path: String,
    pub(crate) namespace: String,
}

/// The transports by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    /// HTTP long-polling
    Polling,
    /// WebSocket from the first byte
    Websocket,
}

impl From<TransportName> for Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Polling => Self::Polling,
            TransportName::Websocket => Self::WebSocket,
        }
    }
}

/// The parsers by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ParserName {
    /// The format of the protocol, which every server understands
    #[default]
    Json,
    /// For servers with `socket.io-msgpack-parser`
    Msgpack,
}

/// A JSON object, which is sent as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Auth(Box<RawValue>);

/// The name and the value of an HTTP header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// Why an address or an option cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("`{0}` is not a server's address; it looks like http://host:port or https://host/namespace")]
    Url(String),
    #[error("the address names the namespace {address}, but --namespace is {option}; remove one of them")]
    Namespace { address: String, option: String },
    #[error("the address names the path {address}, but --path is {option}; remove one of them")]
    Path { address: String, option: String },
    #[error("`{0}` is not the origin of a page; it looks like https://www.example.org or http://localhost:5173")]
    Origin(String),
    #[error("cannot read the certificates in {}: {source}", file.display())]
    Certificates { file: PathBuf, source: io::Error },
}

/// The default path of Socket.IO servers.
pub(crate) const DEFAULT_PATH: &str = "/socket.io/";

impl TargetOptions {
    /// Takes an address apart. Its path is the namespace, exactly as it is written, as in the JavaScript client; a path
    /// that ends with `/socket.io` is the path that the server is mounted at. So an address may be copied from the
    /// network log of a browser: what the protocol adds to the query of a session is left out.
    ///
    /// # Errors
    /// If the text is not an address, or contradicts the options.
    pub(crate) fn target(&self, address: &str) -> Result<Target, TargetError> {
        let wrong = || TargetError::Url(address.to_owned());
        let http = match address.split_once("://") {
            Some(("http" | "https", _)) => address.to_owned(),
            Some(("ws", rest)) => format!("http://{rest}"),
            Some(("wss", rest)) => format!("https://{rest}"),
            Some(_) => return Err(wrong()),
            None => format!("http://{address}"),
        };
        let mut url = Url::parse(&http).map_err(|_| wrong())?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let is_mount = url.path().trim_end_matches('/').ends_with("/socket.io");
        let builder = Manager::builder(&http);
        let (mount, namespace) = if is_mount { (Some(slashed(url.path())), "/") } else { (None, builder.namespace()) };
        url.set_path("");
        url.set_fragment(None);
        without_session(&mut url);
        let option =
            self.namespace.as_ref().map(|name| if name.starts_with('/') { name.clone() } else { format!("/{name}") });
        let namespace = match option {
            Some(option) if namespace != "/" && namespace != option => {
                return Err(TargetError::Namespace { address: namespace.to_owned(), option });
            }
            Some(option) => option,
            None => namespace.to_owned(),
        };
        let path = match (mount, self.path.as_deref().map(slashed)) {
            (Some(address), Some(option)) if address != option => return Err(TargetError::Path { address, option }),
            (Some(path), _) | (None, Some(path)) => path,
            (None, None) => DEFAULT_PATH.to_owned(),
        };
        Ok(Target { url, path, namespace })
    }

    /// A builder with all options.
    ///
    /// # Errors
    /// If the file with the certificates cannot be read.
    pub(crate) fn builder(&self, target: &Target) -> Result<ManagerBuilder, TargetError> {
        let mut builder = Manager::builder(target.url.as_str())
            .path(&target.path)
            .timeout(self.timeout)
            .ack_timeout(self.timeout)
            .danger_accept_invalid_certs(self.insecure)
            .engine_version(if self.eio == "3" { EngineVersion::V3 } else { EngineVersion::V4 })
            .parser(match self.parser {
                ParserName::Json => Parser::Json,
                ParserName::Msgpack => Parser::MessagePack,
            });
        if let Some(Auth(auth)) = &self.auth {
            builder = builder.auth(auth);
        }
        if !self.transport.is_empty() {
            let transports: Vec<_> = self.transport.iter().map(|transport| Transport::from(*transport)).collect();
            builder = builder.transports(transports).try_all(true);
        }
        for Header { name, value } in &self.header {
            builder = builder.header(name, value);
        }
        if let Some(certificates) = self.certificates()? {
            builder = builder.root_certificate(certificates);
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    /// The certificates to trust in addition to those of the system, as PEM.
    ///
    /// # Errors
    /// If their file cannot be read.
    pub(crate) fn certificates(&self) -> Result<Option<Vec<u8>>, TargetError> {
        let Some(file) = &self.ca else { return Ok(None) };
        fs::read(file).map(Some).map_err(|source| TargetError::Certificates { file: file.clone(), source })
    }
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let cure = "write a JSON object, such as '{\"token\": \"secret\"}'";
        match serde_json::from_str::<Box<RawValue>>(text) {
            Ok(json) if json.get().starts_with('{') => Ok(Self(json)),
            Ok(_) => Err(format!("it is JSON, but not an object; {cure}")),
            Err(error) => Err(format!("it is not JSON ({error}); {cure}")),
        }
    }
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self { name: name.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("a header is written as `Name: value`, such as 'Authorization: Bearer secret'"),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.trim_end_matches('s').parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|time| !time.is_zero()).ok_or("the time must be a number of seconds above 0, such as 10 or 0.5")
}

/// Takes the parameters of an Engine.IO session out of an address, if it has any.
fn without_session(url: &mut Url) {
    const SESSION: [&str; 3] = ["EIO", "sid", "transport"];
    const REQUEST: [&str; 3] = ["t", "j", "b64"];
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    if pairs.iter().any(|(name, _)| SESSION.contains(&name.as_str())) {
        url.set_query(None);
        let others = pairs.iter().filter(|(name, _)| ![SESSION, REQUEST].as_flattened().contains(&name.as_str()));
        for (name, value) in others {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
}

fn slashed(path: &str) -> String {
    match path.trim_matches('/') {
        "" => "/".to_owned(),
        path => format!("/{path}/"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        url: String,
        #[command(flatten)]
        options: TargetOptions,
    }

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let line = Line::try_parse_from([&["x"], arguments].concat()).map_err(|error| error.to_string())?;
        line.options.target(&line.url).map_err(|error| error.to_string())
    }

    fn parts(arguments: &[&str]) -> [String; 3] {
        let Target { url, path, namespace } = target(arguments).unwrap();
        [url.to_string(), path, namespace]
    }

    #[test]
    fn addresses_are_understood_as_users_write_them() {
        assert_eq!(parts(&["localhost:3000"]), ["http://localhost:3000/", "/socket.io/", "/"]);
        assert_eq!(parts(&["wss://example.org/chat?a=1"]), ["https://example.org/?a=1", "/socket.io/", "/chat"]);
        assert_eq!(parts(&["https://example.org", "-n", "chat"]), ["https://example.org/", "/socket.io/", "/chat"]);
        assert_eq!(parts(&["http://[::1]:1/api/socket.io/"]), ["http://[::1]:1/", "/api/socket.io/", "/"]);
        assert_eq!(parts(&["http://a/chat", "--path", "x/y"]), ["http://a/", "/x/y/", "/chat"]);
        let copied = "http://a/socket.io/?EIO=4&transport=polling&t=x&sid=y&token=z";
        assert_eq!(parts(&[copied]), ["http://a/?token=z", "/socket.io/", "/"]);
        assert_eq!(parts(&["http://a/?t=x"]), ["http://a/?t=x", "/socket.io/", "/"]);
    }

    #[test]
    fn the_namespace_is_the_path_as_it_is_written() {
        // What socket.io-client 4.8 says of the same addresses (`io(address).nsp`).
        for (address, namespace) in [
            ("http://h/über/房间", "/über/房间"),
            ("http://h/%C3%BCber", "/%C3%BCber"),
            ("http://h/a b", "/a b"),
            ("http://h/a/", "/a/"),
            ("http://h//a", "//a"),
            ("http://h/./a/../b", "/./a/../b"),
            ("http://h/A?x=1#f", "/A"),
            ("http://h?x=a/b", "/"),
            ("http://h#/a", "/"),
            ("http://user:pw@h/a", "/a"),
        ] {
            assert_eq!(parts(&[address])[2], namespace, "{address}");
        }
        assert_eq!(parts(&["http://h/über", "-n", "über"])[2], "/über");
    }

    #[test]
    fn contradictions_and_invalid_options_are_named() {
        for (arguments, parts) in [
            (&["ftp://a"][..], &["`ftp://a`", "http://host:port"][..]),
            (&["http://"], &["http://host:port"]),
            (&["http://a/x", "--namespace", "/y"], &["/x", "--namespace is /y"]),
            (&["http://a/socket.io", "--path", "/y"], &["/socket.io/", "--path is /y/"]),
            (&["http://a", "--auth", "secret"], &["not JSON", "{\"token\": \"secret\"}"]),
            (&["http://a", "--auth", "1"], &["not an object"]),
            (&["http://a", "--header", "x"], &["Name: value"]),
            (&["http://a", "--timeout", "0"], &["seconds above 0"]),
            (&["http://a", "--transport", "tcp"], &["polling", "websocket"]),
        ] {
            let error = target(arguments).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{arguments:?}: {part:?} in {error}");
            }
        }
    }

    #[test]
    fn a_missing_file_of_certificates_is_named() {
        let line = Line::try_parse_from(["x", "http://a", "--ca", "/nowhere/ca.pem"]).unwrap();
        let target = line.options.target(&line.url).unwrap();
        let error = line.options.builder(&target).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
