//! RabbitMQ, over AMQP 0-9-1.
mod address;
mod consume;
mod declare;
mod failure;
mod options;
mod publish;

use std::{
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Connection, ConnectionProperties, ErrorKind, Event,
    tcp::{AsyncTcpStream, OwnedTLSConfig},
    uri::{AMQPScheme, AMQPUri},
};

use self::{consume::Receiver, failure::Failures, publish::Publisher};
use super::{Link, Transport, TransportError, TransportFuture};

pub use options::{Argument, ExchangeOptions, QueueOptions, RabbitMqOptions};

/// A connection to RabbitMQ, over which a [`Bus`](crate::Bus) works with `KombuManager` and `AsyncAioPikaManager` of
/// python-socketio.
///
/// Each channel of the format is an exchange, to which this server's queue is bound. By default, the queue belongs to the
/// connection, so that messages are lost while the server is away; [`QueueOptions::durable`] keeps them. A message counts
/// as published when the broker has confirmed it. If the connection breaks before, it is published again, so that it can
/// arrive twice.
#[derive(Debug, Clone)]
pub struct RabbitMq(Arc<Inner>);

struct Inner {
    addresses: Vec<AMQPUri>,
    settings: RabbitMqOptions,
}

impl RabbitMq {
    /// A connection to the broker of an address such as `amqp://USER:PASSWORD@HOST:5672//`, in any form that Kombu takes:
    /// `amqp://` alone means `guest` on this machine; an empty virtual host and `//` mean `/`; of several addresses,
    /// separated by `;`, the first that can be reached is taken. `amqps://` uses TLS.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn new(address: &str, settings: RabbitMqOptions) -> Result<Self, TransportError> {
        Ok(Self(Arc::new(Inner { addresses: address::parse(address)?, settings })))
    }
}

impl Transport for RabbitMq {
    fn run(&self, link: Arc<Link>) -> TransportFuture<()> {
        let inner = self.0.clone();
        Box::pin(async move {
            let mut failed = None;
            for address in &inner.addresses {
                let silence = Duration::from_secs(2 * u64::from(heartbeat(&link)));
                let failures = Failures { address: address::shown(address), silence };
                match Connected::connect(address, &inner.settings, &link, &failures).await {
                    Ok(connected) => return connected.run(&inner.settings, link, &failures).await,
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(()), Err)
        })
    }

    /// RabbitMQ does not tell a client how many queues are bound to an exchange.
    fn listeners(&self, _: &str) -> TransportFuture<Option<usize>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// A connection that was made.
struct Connected {
    connection: Connection,
    _socket: ClosedAtLast,
}

/// The socket of a connection, which is shut down when this is dropped, because the library would wait for a broker that
/// does not answer.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

struct ClosedAtLast(Socket);

/// The largest frame. The library keeps buffers of 64 frames for each connection.
const FRAME_BYTES: u32 = 32 * 1024;

impl Connected {
    async fn connect(
        address: &AMQPUri,
        settings: &RabbitMqOptions,
        link: &Link,
        failures: &Failures,
    ) -> Result<Self, TransportError> {
        let mut asked = address.clone();
        asked.query.heartbeat = Some(heartbeat(link));
        asked.query.frame_max = Some(FRAME_BYTES);
        let socket = Socket::default();
        let closed = ClosedAtLast(socket.clone());
        let tls = OwnedTLSConfig { identity: None, cert_chain: settings.authorities.clone() };
        let runtime = lapin::runtime::default_runtime().map_err(|error| failures.of(error))?;
        let connection = Connection::connector(
            asked,
            runtime,
            async move |address: AMQPUri, runtime| {
                let host = address.authority.host;
                let stream =
                    AsyncTcpStream::connect(&runtime, runtime.to_socket_addrs((host.clone(), address.authority.port)))
                        .await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    socket.keep(plain.get_ref())?;
                }
                match address.scheme {
                    AMQPScheme::AMQP => Ok(stream),
                    AMQPScheme::AMQPS => Ok(stream.into_tls(&host, tls.as_ref()).await?),
                }
            },
            ConnectionProperties::default().with_connection_name("sockeye".into()),
        );
        match tokio::time::timeout(settings.connect_timeout, connection).await {
            Ok(Ok(connection)) => Ok(Self { connection, _socket: closed }),
            Ok(Err(error)) => Err(failures.of_connecting(error, &address.vhost)),
            Err(_) => {
                Err(TransportError::Silent { address: failures.address.clone(), silence: settings.connect_timeout })
            }
        }
    }

    async fn run(self, settings: &RabbitMqOptions, link: Arc<Link>, failures: &Failures) -> Result<(), TransportError> {
        let mut events = self.connection.events_listener();
        let ended = async {
            let publisher = Publisher::new(&self.connection, &settings.exchange, failures, link.clone()).await?;
            let receiver = Receiver::new(&self.connection, settings, failures, link.clone()).await?;
            link.up.send_replace(true);
            tokio::select! {
                ended = publisher.run() => ended,
                ended = receiver.run() => ended,
            }
        };
        let ended: Result<(), TransportError> = ended.await;
        // Whatever was under way fails because the connection has failed, and the connection knows why.
        while let Some(Some(event)) = events.next().now_or_never() {
            if let Event::Error(error) = event
                && !matches!(error.kind(), ErrorKind::InvalidChannelState(..) | ErrorKind::ProtocolError(_))
            {
                return Err(failures.of(error));
            }
        }
        ended
    }
}

/// After how many seconds without other traffic the two sides say that they are there.
fn heartbeat(link: &Link) -> u16 {
    u16::try_from(link.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1)
}

impl Socket {
    fn keep(&self, stream: &impl AsFd) -> std::io::Result<()> {
        let stream = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
        Ok(())
    }
}

impl Drop for ClosedAtLast {
    fn drop(&mut self) {
        let stream = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stream) = stream {
            // It fails if the other side has closed it already.
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(address::shown).collect();
        f.debug_struct("RabbitMq").field("addresses", &addresses).field("settings", &self.settings).finish()
    }
}
