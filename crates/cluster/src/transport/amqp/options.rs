//! How exchange and queue are declared.
use std::time::Duration;

/// How a [`RabbitMq`](super::RabbitMq) connects and declares. The defaults fit Kombu's and aio-pika's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RabbitMqOptions {
    /// How the exchange is declared, which all servers have to do alike.
    pub exchange: ExchangeOptions,
    /// How this server's queue is declared.
    pub queue: QueueOptions,
    /// Certificates in PEM of authorities that are trusted besides those of the system, for `amqps://`.
    pub authorities: Option<String>,
    /// How long connecting may take. Default 10 s.
    pub connect_timeout: Duration,
}

/// How the exchange is declared: `exchange_options` of a `KombuManager`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeOptions {
    /// Its type. Default `fanout`.
    pub kind: String,
    /// Whether it survives a restart of the broker. Default false.
    pub durable: bool,
    /// Whether it is deleted with the last queue that is bound to it. Default false.
    pub auto_delete: bool,
    /// Further arguments, such as `alternate-exchange`. Default none.
    pub arguments: Vec<(String, Argument)>,
}

/// How this server's queue is declared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueOptions {
    /// The name of a durable queue, different for each server, in which messages wait while the server is away. It stays
    /// until somebody deletes it, and without limits in `arguments` it grows until then. Default none: the broker names
    /// the queue, and deletes it with the connection.
    pub durable: Option<String>,
    /// Further arguments, such as `x-message-ttl` and `x-max-length`. Default none.
    pub arguments: Vec<(String, Argument)>,
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(i64),
    /// Text.
    Text(String),
}

impl Default for RabbitMqOptions {
    fn default() -> Self {
        Self {
            exchange: ExchangeOptions::default(),
            queue: QueueOptions::default(),
            authorities: None,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for ExchangeOptions {
    fn default() -> Self {
        Self { kind: "fanout".into(), durable: false, auto_delete: false, arguments: Vec::new() }
    }
}
