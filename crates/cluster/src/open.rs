//! Buses by their address and the name of a format, as programs take them from their settings.
use std::{fmt, str::FromStr};

#[cfg(feature = "amqp")]
use crate::transport::amqp::{RabbitMq, RabbitMqOptions};
#[cfg(feature = "nats")]
use crate::transport::nats::Nats;
#[cfg(feature = "redis")]
use crate::transport::redis::Redis;
use crate::{
    bus::Bus,
    format::{
        ClassicSettings, Format, NodeClassic, NodeSharded, NodeStreams, Python, PythonSettings, ShardedSettings,
        StreamsSettings,
        own::{Keys, Own},
    },
    transport::{Transport, TransportError},
};
#[cfg(feature = "postgres")]
use crate::{
    format::{NodePostgres, PostgresSettings},
    transport::postgres::{Postgres, PostgresOptions},
};

/// The formats, by the names that programs give them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusFormat {
    /// Node's usual adapter: over Redis `@socket.io/redis-adapter` and its predecessors, over PostgreSQL
    /// `@socket.io/postgres-adapter`.
    Node,
    /// Node's sharded adapter for Redis.
    NodeSharded,
    /// Node's adapter for Redis streams.
    NodeStreams,
    /// python-socketio, and Flask-SocketIO.
    Python,
    /// Sockeye servers among themselves.
    Sockeye,
}

/// Why a bus cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is not of the right form.
    #[error(transparent)]
    Address(#[from] TransportError),
    /// No kind of broker has addresses of this scheme, or this program was built without it.
    #[error("no bus has addresses that begin with `{scheme}`; there are {}", SCHEMES.join(", "))]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// The broker cannot carry the format.
    #[error("the format `{format}` does not go over {broker}; over it go {}", join(.possible))]
    Format {
        /// The format.
        format: BusFormat,
        /// The kind of broker.
        broker: &'static str,
        /// The formats that it carries, the default first.
        possible: &'static [BusFormat],
    },
}

/// What addresses begin with.
const SCHEMES: &[&str] = &[
    #[cfg(feature = "redis")]
    "redis://",
    #[cfg(feature = "redis")]
    "rediss://",
    #[cfg(feature = "redis")]
    "redis+sentinel://",
    #[cfg(feature = "redis")]
    "redis+cluster://",
    #[cfg(feature = "postgres")]
    "postgres://",
    #[cfg(feature = "amqp")]
    "amqp://",
    #[cfg(feature = "nats")]
    "nats://",
];

impl BusFormat {
    const ALL: &[Self] = &[Self::Node, Self::NodeSharded, Self::NodeStreams, Self::Python, Self::Sockeye];

    const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::NodeSharded => "node-sharded",
            Self::NodeStreams => "node-streams",
            Self::Python => "python",
            Self::Sockeye => "sockeye",
        }
    }

    /// The channel, exchange, stream or prefix that its servers use unless they are told otherwise.
    const fn default_channel(self) -> &'static str {
        match self {
            Self::Node | Self::NodeSharded | Self::NodeStreams => "socket.io",
            Self::Python => "socketio",
            Self::Sockeye => "sockeye",
        }
    }
}

impl Bus {
    /// A bus at an address, such as `redis://localhost`. Without a format it is the usual one for the kind of broker.
    /// `channel` is the channel, exchange, stream or prefix that all servers of the bus have to use alike; without one it is
    /// the default of the format's servers.
    ///
    /// # Errors
    /// If the address has another form, or the broker cannot carry the format.
    pub fn open(url: &str, format: Option<BusFormat>, channel: Option<&str>) -> Result<Self, OpenError> {
        let scheme = url.split_once("://").map_or(url, |(scheme, _)| scheme);
        match scheme {
            #[cfg(feature = "redis")]
            "redis" | "rediss" | "valkey" | "valkeys" | "redis+sentinel" | "rediss+sentinel" | "redis+cluster"
            | "rediss+cluster" => {
                let format = chosen(format, "Redis", BusFormat::ALL)?;
                let transport = Redis::new(url)?;
                let transport = if format == BusFormat::NodeSharded { transport.sharded() } else { transport };
                Ok(with_format(format, channel, transport))
            }
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                let format = chosen(format, "PostgreSQL", &[BusFormat::Node])?;
                let channel = channel.unwrap_or_else(|| format.default_channel()).to_owned();
                let name = format!("{format}:{channel}");
                let settings = PostgresSettings { channel_prefix: channel, ..PostgresSettings::default() };
                let transport = Postgres::new(url, PostgresOptions::default())?;
                Ok(bus(&name, NodePostgres::new(settings), transport))
            }
            #[cfg(feature = "amqp")]
            "amqp" | "amqps" => {
                let format = chosen(format, "RabbitMQ", &[BusFormat::Python])?;
                Ok(with_format(format, channel, RabbitMq::new(url, RabbitMqOptions::default())?))
            }
            #[cfg(feature = "nats")]
            "nats" | "tls" => {
                let format = chosen(format, "NATS", &[BusFormat::Sockeye])?;
                Ok(with_format(format, channel, Nats::new(url)?))
            }
            scheme => Err(OpenError::Scheme { scheme: format!("{scheme}://") }),
        }
    }
}

/// The format, or the first of the possible ones.
fn chosen(
    format: Option<BusFormat>,
    broker: &'static str,
    possible: &'static [BusFormat],
) -> Result<BusFormat, OpenError> {
    match format {
        Some(format) if !possible.contains(&format) => Err(OpenError::Format { format, broker, possible }),
        Some(format) => Ok(format),
        None => Ok(possible.first().copied().unwrap_or(BusFormat::Sockeye)),
    }
}

fn with_format(format: BusFormat, channel: Option<&str>, transport: impl Transport) -> Bus {
    let channel = channel.unwrap_or_else(|| format.default_channel()).to_owned();
    // Servers that are on several buses give each the same name.
    let name = format!("{format}:{channel}");
    match format {
        BusFormat::Node => {
            let settings = ClassicSettings { prefix: channel, ..ClassicSettings::default() };
            bus(&name, NodeClassic::new(settings), transport)
        }
        BusFormat::NodeSharded => {
            let settings = ShardedSettings { channel_prefix: channel, ..ShardedSettings::default() };
            bus(&name, NodeSharded::new(settings), transport)
        }
        BusFormat::NodeStreams => {
            let settings =
                StreamsSettings { stream_name: channel.clone(), channel_prefix: channel, ..StreamsSettings::default() };
            bus(&name, NodeStreams::new(settings), transport)
        }
        BusFormat::Python => {
            bus(&name, Python::new(PythonSettings { channel, ..PythonSettings::default() }), transport)
        }
        BusFormat::Sockeye => bus(&name, Own::new(&channel, Keys::default()), transport),
    }
}

fn bus(name: &str, format: impl Format, transport: impl Transport) -> Bus {
    Bus::new(name, format, transport)
}

impl fmt::Display for BusFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no format of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{name}`; there are {}", join(BusFormat::ALL))]
pub struct UnknownFormat {
    name: String,
}

impl FromStr for BusFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .iter()
            .copied()
            .find(|format| format.name() == text)
            .ok_or_else(|| UnknownFormat { name: text.to_owned() })
    }
}

fn join(formats: &[BusFormat]) -> String {
    formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_found_by_their_names() {
        for format in BusFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(*format));
        }
        let error = "nodejs".parse::<BusFormat>().unwrap_err().to_string();
        assert!(error.contains("`nodejs`") && error.contains("node-sharded"), "{error}");
    }

    #[test]
    fn what_no_broker_carries_is_refused_with_what_there_is() {
        let error = |url, format| Bus::open(url, format, None).err().unwrap().to_string();
        assert!(error("kafka://u:secret@h", None).starts_with("no bus has addresses that begin with `kafka://`"));
        assert!(!error("kafka://u:secret@h", None).contains("secret"));
        #[cfg(feature = "nats")]
        assert!(error("nats://h", Some(BusFormat::Python)).contains("does not go over NATS"));
    }
}
