//! NATS: subjects of a server or of several that are a cluster.
//!
//! The client is our own: `async-nats` gives each subject a queue, so that the order between an event for a room and one
//! for everybody is lost. All subjects of this one arrive in the order in which the server has sent them.
mod wire;

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::BytesMut;
use hashbrown::HashMap;
use percent_encoding::percent_decode_str;
use rustls_platform_verifier::BuilderVerifierExt;
use sockeye::log_throttled;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use url::Url;

use super::{Link, Transport, TransportError, TransportFuture, hosts::one_url_for_each_host};
use crate::{
    format::{Publication, Received, Subscription},
    outbox::Taken,
};
use wire::{Connect, Info, Operation};

/// A bus over NATS 2, by its core protocol: who is not connected misses what is published.
#[derive(Debug, Clone)]
pub struct Nats {
    servers: Vec<Server>,
}

#[derive(Clone)]
struct Server {
    /// Host and port, for errors.
    address: Arc<str>,
    host: String,
    port: u16,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How many publications are written at once, and how many such batches the server may not have confirmed yet.
const BATCH: usize = 256;
const BATCHES: usize = 16;

impl Nats {
    /// A bus at `nats://[user:password@|token@]host[:port][,host[:port]…]`, or with `tls://` over TLS. Of several hosts, the
    /// first that can be reached is used. A server that demands TLS gets it with `nats://`, too.
    ///
    /// # Errors
    /// If the address is not of this form.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let servers = one_url_for_each_host(url).map(|url| Server::parse(&url)).collect::<Option<_>>();
        let form = "write nats://user:password@host:port or tls://user:password@host:port";
        Ok(Self { servers: servers.ok_or_else(|| TransportError::Address(form.into()))? })
    }

    async fn carry(&self, link: &Link) -> Result<(), TransportError> {
        let mut result = Err(TransportError::Address("it names no host".into()));
        for server in &self.servers {
            match timeout(CONNECT, Connection::open(server)).await {
                Ok(Ok(connection)) => return connection.carry(link).await,
                Ok(Err(error)) => result = Err(error),
                Err(_) => result = Err(server.silent(CONNECT)),
            }
        }
        result
    }
}

impl Transport for Nats {
    fn run(&self, link: Arc<Link>) -> TransportFuture<()> {
        let this = self.clone();
        Box::pin(async move { this.carry(&link).await })
    }

    /// NATS does not tell who listens.
    fn listeners(&self, _: &str) -> TransportFuture<Option<usize>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

impl Server {
    fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok()?;
        let tls = match url.scheme() {
            "nats" => false,
            "tls" => true,
            _ => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?.to_owned();
        let port = url.port().unwrap_or(4222);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned());
        let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded);
        let password = url.password().map(decoded);
        Some(Self {
            address: format!("{host}:{port}").into(),
            // The address of IPv6 has brackets in a URL only.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            tls,
            user: user.map_or(Some(None), |user| user.map(Some))?,
            password: password.map_or(Some(None), |password| password.map(Some))?,
        })
    }

    fn failed(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TransportError {
        TransportError::Connection { address: self.address.to_string(), source: error.into() }
    }

    fn refused(&self, reason: impl Into<String>) -> TransportError {
        TransportError::Refused { address: self.address.to_string(), reason: reason.into() }
    }

    fn silent(&self, silence: Duration) -> TransportError {
        TransportError::Silent { address: self.address.to_string(), silence }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Server").field("address", &self.address).field("tls", &self.tls).finish_non_exhaustive()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open connection.
struct Connection<'a> {
    server: &'a Server,
    stream: Box<dyn Stream>,
    input: BytesMut,
    max_payload: usize,
    subscribed: HashMap<Subscription, u64>,
    /// The number of the last subscription.
    number: u64,
    /// What was sent before each PING that the server has not answered.
    unconfirmed: VecDeque<Vec<Taken>>,
}

impl<'a> Connection<'a> {
    async fn open(server: &'a Server) -> Result<Self, TransportError> {
        let stream = TcpStream::connect((server.host.as_str(), server.port)).await;
        let mut stream = stream.map_err(|error| server.failed(error))?;
        stream.set_nodelay(true).map_err(|error| server.failed(error))?;
        let mut input = BytesMut::new();
        let Operation::Info(info) = read(server, &mut stream, &mut input).await? else {
            return Err(server.refused("it is no NATS server"));
        };
        let uses_tls = server.tls || info.tls_required;
        let stream: Box<dyn Stream> = if uses_tls {
            if !input.is_empty() {
                return Err(server.refused("it says something before TLS begins"));
            }
            Box::new(start_tls(server, stream).await?)
        } else {
            Box::new(stream)
        };
        let mut connection = Self {
            server,
            stream,
            input,
            max_payload: info.max_payload,
            subscribed: HashMap::new(),
            number: 0,
            unconfirmed: VecDeque::new(),
        };
        connection.greet(uses_tls).await?;
        Ok(connection)
    }

    /// Names client and user, and waits until the server accepts them.
    async fn greet(&mut self, tls_required: bool) -> Result<(), TransportError> {
        let Server { user, password, .. } = self.server;
        let connect = Connect {
            verbose: false,
            pedantic: false,
            tls_required,
            echo: false,
            headers: false,
            protocol: 1,
            name: "sockeye",
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            // A name without a password is a token.
            user: user.as_deref().filter(|_| password.is_some()),
            pass: password.as_deref(),
            auth_token: user.as_deref().filter(|_| password.is_none()),
        };
        let connect = serde_json::to_string(&connect).map_err(|error| self.server.failed(error))?;
        self.write(format!("CONNECT {connect}\r\nPING\r\n").as_bytes(), CONNECT).await?;
        loop {
            match read(self.server, &mut self.stream, &mut self.input).await? {
                Operation::Pong => return Ok(()),
                Operation::Error(reason) => return Err(self.server.refused(reason)),
                _ => {}
            }
        }
    }

    async fn carry(mut self, link: &Link) -> Result<(), TransportError> {
        let result = self.run(link).await;
        // What was not confirmed may have left, and is not published again.
        self.unconfirmed.drain(..).for_each(|taken| link.outbox.sent(taken));
        result
    }

    async fn run(&mut self, link: &Link) -> Result<(), TransportError> {
        let mut output = Vec::new();
        for subscription in link.subscriptions.all() {
            self.subscribe(subscription, &mut output)?;
        }
        self.ping(Vec::new(), &mut output);
        self.write(&output, link.keep_alive).await?;
        let mut heard = Instant::now();
        let mut asked = false;
        loop {
            while let Some(operation) = self.next_operation()? {
                if self.carry_out(operation, link).await? {
                    return Ok(());
                }
            }
            let room = self.unconfirmed.len() < BATCHES;
            output.clear();
            tokio::select! {
                count = self.stream.read_buf(&mut self.input) => match count {
                    Ok(0) => return Err(self.server.failed(io::Error::from(io::ErrorKind::UnexpectedEof))),
                    Ok(_) => (heard, asked) = (Instant::now(), false),
                    Err(error) => return Err(self.server.failed(error)),
                },
                taken = link.outbox.take(BATCH), if room => {
                    for taken in &taken {
                        self.publish(taken.publication(), &mut output);
                    }
                    self.ping(taken, &mut output);
                }
                changes = link.subscriptions.changes() => {
                    for change in changes {
                        if change.wanted {
                            self.subscribe(change.subscription, &mut output)?;
                        } else if let Some(number) = self.subscribed.remove(&change.subscription) {
                            output.extend_from_slice(format!("UNSUB {number}\r\n").as_bytes());
                        }
                    }
                }
                () = sleep_until(heard + link.keep_alive * if asked { 2 } else { 1 }) => {
                    if asked {
                        return Err(self.server.silent(link.keep_alive * 2));
                    }
                    asked = true;
                    self.ping(Vec::new(), &mut output);
                }
            }
            self.write(&output, link.keep_alive).await?;
        }
    }

    fn next_operation(&mut self) -> Result<Option<Operation>, TransportError> {
        wire::next(&mut self.input).map_err(|reason| self.server.failed(reason))
    }

    /// Returns whether the server is about to stop.
    async fn carry_out(&mut self, operation: Operation, link: &Link) -> Result<bool, TransportError> {
        match operation {
            Operation::Message { subject, payload } => {
                // NATS stores nothing, so that nothing refers to what is stored.
                let channel = str::from_utf8(&subject).unwrap_or_default();
                let _none = (link.deliver)(&Received::Published { channel, payload: &payload });
            }
            Operation::Ping => self.write(b"PONG\r\n", link.keep_alive).await?,
            Operation::Pong => {
                // The first one says that the subscriptions are in effect.
                if let Some(confirmed) = self.unconfirmed.pop_front() {
                    link.outbox.sent(confirmed);
                }
                link.up.send_if_modified(|up| !std::mem::replace(up, true));
            }
            Operation::Info(Info { ldm, max_payload, .. }) => {
                self.max_payload = max_payload;
                return Ok(ldm);
            }
            Operation::Error(reason) if reason.starts_with("Permissions Violation for Publish") => {
                let address = &*self.server.address;
                log_throttled!(warn, address, address, reason, "messages are refused and dropped");
            }
            Operation::Error(reason) => return Err(self.server.refused(reason)),
            Operation::Ok => {}
        }
        Ok(false)
    }

    fn subscribe(&mut self, subscription: Subscription, output: &mut Vec<u8>) -> Result<(), TransportError> {
        let subject = match &subscription {
            Subscription::Channel(subject) if wire::is_subject(subject, false) => subject,
            Subscription::Pattern(subject) if wire::is_subject(subject, true) => subject,
            other => return Err(self.server.refused(format!("NATS cannot be subscribed to {other:?}"))),
        };
        self.number += 1;
        output.extend_from_slice(format!("SUB {subject} {}\r\n", self.number).as_bytes());
        if let Some(former) = self.subscribed.insert(subscription, self.number) {
            output.extend_from_slice(format!("UNSUB {former}\r\n").as_bytes());
        }
        Ok(())
    }

    /// Writes a publication; one that NATS cannot take is dropped and logged.
    fn publish(&self, publication: &Publication, output: &mut Vec<u8>) {
        let reason = match publication {
            Publication::Publish { channel, .. } if !wire::is_subject(channel, false) => "its subject is not valid",
            Publication::Publish { payload, .. } if payload.len() > self.max_payload => {
                "it is longer than the server's max_payload"
            }
            Publication::Publish { channel, payload } => {
                output.extend_from_slice(format!("PUB {channel} {}\r\n", payload.len()).as_bytes());
                output.extend_from_slice(payload);
                output.extend_from_slice(b"\r\n");
                return;
            }
            Publication::Append { .. } | Publication::Attach { .. } => "NATS stores nothing",
        };
        let address = &*self.server.address;
        log_throttled!(warn, address, address, reason, "a message was dropped");
    }

    /// Asks for a PONG, which confirms what was sent before.
    fn ping(&mut self, before: Vec<Taken>, output: &mut Vec<u8>) {
        self.unconfirmed.push_back(before);
        output.extend_from_slice(b"PING\r\n");
    }

    async fn write(&mut self, output: &[u8], limit: Duration) -> Result<(), TransportError> {
        if output.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stream.write_all(output).await?;
            self.stream.flush().await
        };
        match timeout(limit, written).await {
            Ok(result) => result.map_err(|error| self.server.failed(error)),
            Err(_) => Err(self.server.silent(limit)),
        }
    }
}

async fn read(
    server: &Server,
    stream: &mut (impl AsyncRead + Unpin),
    input: &mut BytesMut,
) -> Result<Operation, TransportError> {
    loop {
        if let Some(operation) = wire::next(input).map_err(|reason| server.failed(reason))? {
            return Ok(operation);
        }
        if stream.read_buf(input).await.map_err(|error| server.failed(error))? == 0 {
            return Err(server.failed(io::Error::from(io::ErrorKind::UnexpectedEof)));
        }
    }
}

async fn start_tls(
    server: &Server,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, TransportError> {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| server.failed(error))?
        .with_no_client_auth();
    let name = ServerName::try_from(server.host.clone()).map_err(|error| server.failed(error))?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| server.failed(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_the_password_is_not_shown() {
        let bus = Nats::new("nats://u:p%40ss@a:1,[::1],c/").unwrap();
        let addresses: Vec<_> = bus.servers.iter().map(|server| &*server.address).collect();
        assert_eq!(addresses, ["a:1", "[::1]:4222", "c:4222"]);
        let server = &bus.servers[1];
        assert_eq!(
            (&*server.host, server.user.as_deref(), server.password.as_deref()),
            ("::1", Some("u"), Some("p@ss"))
        );
        assert!(!format!("{bus:?}").contains("p@ss"));
        assert!(Nats::new("tls://token@a").unwrap().servers[0].tls);
        for url in ["", "a:4222", "http://a", "nats://", "nats://a:x", "nats://%ff@a"] {
            assert!(matches!(Nats::new(url), Err(TransportError::Address(_))), "{url}");
        }
    }
}
