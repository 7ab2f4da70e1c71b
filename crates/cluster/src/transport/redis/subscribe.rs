//! Listens to channels on one connection, and keeps what is subscribed as the bus wants it.
use std::sync::Arc;

use redis::{RedisError, Value};
use tokio::{sync::Notify, time::Instant};

use super::{
    address::Kind,
    connection::{self, Connection},
    heard::{Heard, Loss},
    shared::Shared,
};
use crate::{
    format::Subscription,
    transport::{Link, TransportError},
};

/// How many channels one command subscribes.
pub(super) const BATCH: usize = 500;

/// A connection that listens.
pub(super) struct Subscriber {
    connection: Connection,
    heard: Arc<Heard>,
    ended: Arc<Notify>,
}

impl Subscriber {
    /// Connects and subscribes to everything that the bus wants.
    pub(super) async fn open(shared: &Shared, link: &Arc<Link>) -> Result<Self, TransportError> {
        let failed = |error| connection::error(&shared.address, error);
        let (heard, ended) = (Arc::<Heard>::default(), Arc::<Notify>::default());
        let (hearing, ending, deliver) = (heard.clone(), ended.clone(), link.clone());
        let on_push = Arc::new(move |info| {
            if hearing.take(info, &deliver) == Some(Loss::Connection) {
                ending.notify_one();
            }
        });
        let opened = Connection::open_for_channels(&shared.address, Some(on_push), link.keep_alive).await;
        let mut connection = opened.map_err(failed)?;
        let wanted = link.subscriptions.all();
        set(&mut connection, shared, &wanted, true).await.map_err(failed)?;
        Ok(Self { connection, heard, ended })
    }

    /// Follows what the bus wants, and asks now and then whether the connection still listens, until it does not.
    pub(super) async fn follow(self, shared: &Shared, link: &Link) -> Result<(), TransportError> {
        let failed = |error| connection::error(&shared.address, error);
        let (mut changing, mut asking) = (self.connection.clone(), self.connection);
        let change = async {
            loop {
                let (added, removed): (Vec<_>, Vec<_>) =
                    link.subscriptions.changes().await.into_iter().partition(|change| change.wanted);
                for (changes, wanted) in [(added, true), (removed, false)] {
                    let subscriptions: Vec<_> = changes.into_iter().map(|change| change.subscription).collect();
                    set(&mut changing, shared, &subscriptions, wanted).await.map_err(failed)?;
                }
            }
        };
        let ask = async {
            loop {
                match shared.address.kind {
                    Kind::Single => self.heard.quiet(link.keep_alive).await,
                    // What changes in a group of servers has to be found although messages come.
                    Kind::Sentinel { .. } | Kind::Cluster => tokio::time::sleep(link.keep_alive).await,
                }
                let asked = Instant::now();
                match still_belongs(&mut asking, shared, link).await {
                    Ok(true) => self.heard.touch(),
                    Ok(false) => {
                        let reason = "this server is no longer the master, or has lost the rest of the cluster";
                        return Err(connection::refused(&shared.address, reason));
                    }
                    Err(error) if error.is_timeout() => {
                        let silence = link.keep_alive + asked.elapsed();
                        return Err(TransportError::Silent { address: shared.address.to_string(), silence });
                    }
                    Err(error) => return Err(failed(error)),
                }
            }
        };
        tokio::select! {
            error = change => error,
            error = ask => error,
            () = self.ended.notified() => Err(connection::ended(&shared.address)),
        }
    }
}

/// Whether the connection answers, and its server still does what it was chosen for.
async fn still_belongs(connection: &mut Connection, shared: &Shared, link: &Link) -> Result<bool, RedisError> {
    match shared.address.kind {
        Kind::Single => connection.ask::<Value>(&redis::cmd("PING")).await.map(|_| true),
        Kind::Sentinel { .. } => {
            let role: Vec<Value> = connection.ask(&redis::cmd("ROLE")).await?;
            Ok(matches!(role.first(), Some(Value::BulkString(role)) if role == b"master"))
        }
        Kind::Cluster => {
            let info: String = connection.ask(redis::cmd("CLUSTER").arg("INFO")).await?;
            // If no other node is better off, this one is as good as any.
            let servers: Vec<_> = shared.address.servers.iter().collect();
            Ok(!info.contains("cluster_state:fail")
                || connection::first_whole_node(&servers, link.keep_alive).await.is_none())
        }
    }
}

/// Subscribes to channels and patterns, or ends that.
async fn set(
    connection: &mut Connection,
    shared: &Shared,
    subscriptions: &[Subscription],
    wanted: bool,
) -> Result<(), RedisError> {
    let mut channels = Vec::new();
    let mut patterns = Vec::new();
    for subscription in subscriptions {
        match subscription {
            Subscription::Channel(channel) => channels.push(channel.as_str()),
            Subscription::Pattern(pattern) => patterns.push(pattern.as_str()),
            Subscription::Stream(_) => shared.streams_changed.notify_one(),
        }
    }
    let command = match (shared.settings.sharded, wanted) {
        (false, true) => "SUBSCRIBE",
        (false, false) => "UNSUBSCRIBE",
        (true, true) => "SSUBSCRIBE",
        (true, false) => "SUNSUBSCRIBE",
    };
    for channels in channels.chunks(BATCH) {
        connection.ask::<()>(redis::cmd(command).arg(channels)).await?;
    }
    let command = if wanted { "PSUBSCRIBE" } else { "PUNSUBSCRIBE" };
    for patterns in patterns.chunks(BATCH) {
        connection.ask::<()>(redis::cmd(command).arg(patterns)).await?;
    }
    Ok(())
}
