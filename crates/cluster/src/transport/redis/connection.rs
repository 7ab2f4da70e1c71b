//! One connection to whatever kind of Redis there is.
use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, Pipeline, ProtocolVersion, PushInfo, RedisError,
    RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection, SendError},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::address::{Address, Kind};
use crate::transport::TransportError;

/// A connection, which any number of users share.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Takes what Redis sends unasked. It must not wait.
pub(super) type OnPush = Arc<dyn Fn(PushInfo) + Send + Sync>;

impl Connection {
    /// Connects. Commands that are not answered within `timeout` fail.
    pub(super) async fn open(address: &Address, on_push: Option<OnPush>, timeout: Duration) -> RedisResult<Self> {
        let sender = on_push.map(|on_push| {
            move |info: PushInfo| -> Result<(), SendError> {
                on_push(info);
                Ok(())
            }
        });
        let mut config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
        match &address.kind {
            Kind::Cluster => {
                let mut builder = ClusterClient::builder(address.servers.clone())
                    .use_protocol(ProtocolVersion::RESP3)
                    .connection_timeout(timeout)
                    .response_timeout(timeout);
                if let Some(sender) = sender {
                    builder = builder.push_sender(sender);
                }
                Ok(Self::Cluster(builder.build()?.get_async_connection().await?))
            }
            Kind::Single => {
                if let Some(sender) = sender {
                    config = config.set_push_sender(sender);
                }
                let mut last = None;
                for server in &address.servers {
                    match Client::open(server.clone())?.get_multiplexed_async_connection_with_config(&config).await {
                        Ok(connection) => return Ok(Self::Single(connection)),
                        Err(error) => last = Some(error),
                    }
                }
                Err(last.unwrap_or_else(|| RedisError::from((ErrorKind::InvalidClientConfig, "there is no address"))))
            }
            Kind::Sentinel { master } => {
                if let Some(sender) = sender {
                    config = config.set_push_sender(sender);
                }
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
                Ok(Self::Single(master.get_multiplexed_async_connection_with_config(&config).await?))
            }
        }
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

/// The count in `[channel, count]`, or the sum of the counts of several nodes.
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
    let address = address.to_string();
    if error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"))
    {
        let reason = error.detail().unwrap_or("the user or the password is wrong").to_owned();
        return TransportError::Refused { address, reason };
    }
    TransportError::Connection { address, source: Box::new(error) }
}
