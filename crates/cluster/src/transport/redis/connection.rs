//! One connection to whatever kind of Redis there is.
use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, Pipeline, ProtocolVersion, PushInfo,
    RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection, SendError},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::address::{Address, Kind, Settings};
use crate::transport::TransportError;

/// How often the library tries a command in a cluster again, and how long it waits, in milliseconds.
const RETRIES: u32 = 3;
const MIN_RETRY_WAIT: u64 = 50;
const MAX_RETRY_WAIT: u64 = 500;

/// A connection, which any number of users share.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The connections that publish.
#[derive(Clone)]
pub(super) struct Publisher {
    /// Takes commands with keys, which are streams and sharded channels, and the question who listens.
    pub(super) by_key: Connection,
    /// Takes what is published on other channels. If there is no cluster, it is the same connection.
    pub(super) channels: Connection,
    pub(super) sharded: bool,
    /// About how many entries a stream keeps.
    pub(super) stream_length: usize,
    /// How long an answer may take.
    pub(super) timeout: Duration,
}

impl Publisher {
    pub(super) async fn open(address: &Address, settings: &Settings, timeout: Duration) -> RedisResult<Self> {
        let Settings { sharded, stream_length } = *settings;
        let by_key = Connection::open(address, timeout).await?;
        let channels = match by_key.is_cluster() && !sharded {
            true => Connection::open_for_channels(address, None, timeout).await?,
            false => by_key.clone(),
        };
        Ok(Self { by_key, channels, sharded, stream_length, timeout })
    }
}

/// Takes what Redis sends unasked. It must not wait.
pub(super) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

impl Connection {
    /// Connects for commands that have keys. Commands that are not answered within `timeout` fail.
    pub(super) async fn open(address: &Address, timeout: Duration) -> RedisResult<Self> {
        if address.kind != Kind::Cluster {
            return Self::open_for_channels(address, None, timeout).await;
        }
        let client = ClusterClient::builder(address.servers.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(timeout)
            .response_timeout(timeout)
            .retries(RETRIES)
            .min_retry_wait(MIN_RETRY_WAIT)
            .max_retry_wait(MAX_RETRY_WAIT)
            .build()?;
        Ok(Self::Cluster(client.get_async_connection().await?))
    }

    /// Connects for channels that are not sharded. Of a cluster it is one node, which brings what is published on any
    /// other, and keeps the order of what is published on it.
    pub(super) async fn open_for_channels(
        address: &Address,
        on_push: Option<OnPush>,
        timeout: Duration,
    ) -> RedisResult<Self> {
        match &address.kind {
            Kind::Single => Self::open_first(address.servers.iter(), on_push, timeout).await,
            Kind::Cluster => {
                // Not all servers are to use the same node.
                let (before, after) = address.servers.split_at(random_below(address.servers.len()));
                let mut servers: Vec<_> = after.iter().chain(before).collect();
                if let Some(whole) = first_whole_node(&servers, timeout).await {
                    servers = vec![whole];
                }
                Self::open_first(servers.into_iter(), on_push, timeout).await
            }
            Kind::Sentinel { master } => {
                let sentinels = address.servers.iter().map(|server| server.addr().clone());
                let mut builder = SentinelClientBuilder::new(sentinels, master.clone(), SentinelServerType::Master)?
                    .set_client_to_redis_protocol(ProtocolVersion::RESP3);
                if let Some(settings) = address.servers.first().map(|server| server.redis_settings()) {
                    if let Some(user) = settings.username() {
                        builder = builder.set_client_to_redis_username(user);
                    }
                    if let Some(password) = settings.password() {
                        builder = builder.set_client_to_redis_password(password);
                    }
                }
                let mut client = builder.build()?;
                let master = client.async_get_client().await?;
                let connection = master.get_multiplexed_async_connection_with_config(&config(on_push, timeout)).await?;
                Ok(Self::Single(connection))
            }
        }
    }

    /// Connects to one server.
    pub(super) async fn open_one(
        server: &ConnectionInfo,
        on_push: Option<OnPush>,
        timeout: Duration,
    ) -> RedisResult<Self> {
        let client = Client::open(server.clone())?;
        Ok(Self::Single(client.get_multiplexed_async_connection_with_config(&config(on_push, timeout)).await?))
    }

    /// Connects to the first server that answers.
    async fn open_first(
        servers: impl Iterator<Item = &ConnectionInfo>,
        on_push: Option<OnPush>,
        timeout: Duration,
    ) -> RedisResult<Self> {
        let mut last = None;
        for server in servers {
            match Self::open_one(server, on_push.clone(), timeout).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "there is no address"))))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Sends a command.
    pub(super) async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    /// Sends commands at once; the answers are checked and dropped.
    pub(super) async fn send(&mut self, commands: &Pipeline, count: usize) -> RedisResult<()> {
        let answers = match self {
            Self::Single(connection) => connection.req_packed_commands(commands, 0, count).await?,
            Self::Cluster(connection) => connection.req_packed_commands(commands, 0, count).await?,
        };
        match answers.into_iter().find_map(|answer| answer.extract_error().err()) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// How many clients listen to a channel.
    pub(super) async fn listeners(&mut self, channel: &str, sharded: bool) -> RedisResult<usize> {
        let command = if sharded { "SHARDNUMSUB" } else { "NUMSUB" };
        let value: Value = self.ask(redis::cmd("PUBSUB").arg(command).arg(channel)).await?;
        Ok(count_of(&value))
    }
}

/// How a connection is made, and what takes what comes unasked.
fn config(on_push: Option<OnPush>, timeout: Duration) -> AsyncConnectionConfig {
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
    match on_push {
        Some(on_push) => config.set_push_sender(move |info: PushInfo| -> Result<(), SendError> {
            on_push(info);
            Ok(())
        }),
        None => config,
    }
}

/// The first node that says that it is connected with the rest of the cluster.
pub(super) async fn first_whole_node<'a>(
    servers: &[&'a ConnectionInfo],
    timeout: Duration,
) -> Option<&'a ConnectionInfo> {
    for server in servers {
        if let Ok(mut connection) = Connection::open_one(server, None, timeout).await
            && let Ok(info) = connection.ask::<String>(redis::cmd("CLUSTER").arg("INFO")).await
            && info.contains("cluster_state:ok")
        {
            return Some(server);
        }
    }
    None
}

fn random_below(count: usize) -> usize {
    let mut bytes = [0; 2];
    // Without random numbers, it is the first one.
    let _is_first = getrandom::fill(&mut bytes);
    usize::from(u16::from_le_bytes(bytes)) % count.max(1)
}

/// The count in `[channel, count]`.
fn count_of(value: &Value) -> usize {
    match value {
        Value::Int(count) => usize::try_from(*count).unwrap_or_default(),
        Value::Array(values) => values.iter().map(count_of).sum(),
        Value::Map(pairs) => pairs.iter().map(|(_, count)| count_of(count)).sum(),
        _ => 0,
    }
}

/// What an error of Redis means. The texts of the library name no credentials.
pub(super) fn error(address: &Address, error: RedisError) -> TransportError {
    if error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"))
    {
        return refused(address, error.detail().unwrap_or("the user or the password is wrong"));
    }
    TransportError::Connection { address: address.to_string(), source: Box::new(error) }
}

pub(super) fn refused(address: &Address, reason: &str) -> TransportError {
    TransportError::Refused { address: address.to_string(), reason: reason.to_owned() }
}

/// The server has ended a connection.
pub(super) fn ended(address: &Address) -> TransportError {
    let source = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the server has ended it");
    TransportError::Connection { address: address.to_string(), source: Box::new(source) }
}
