//! Listens to channels, and keeps what is subscribed as the bus wants it.
use std::sync::Arc;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    connection::{self, Connection},
    shared::Shared,
};
use crate::{
    format::{Received, Subscription},
    transport::{Link, TransportError},
};

/// How many channels one command subscribes.
const BATCH: usize = 500;

/// A connection that listens.
pub(super) struct Subscriber {
    connection: Connection,
    heard: Arc<Heard>,
}

/// What the connection has heard, and whether it has ended.
#[derive(Default)]
struct Heard {
    state: Mutex<HeardState>,
    ended: Notify,
}

#[derive(Default)]
struct HeardState {
    /// When something came last.
    at: Option<Instant>,
    /// The last message that came for a channel. A pattern that matches the channel brings it once more, directly after.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl Subscriber {
    /// Connects and subscribes to everything that the bus wants.
    pub(super) async fn open(shared: &Shared, link: &Arc<Link>) -> Result<Self, TransportError> {
        let failed = |error| connection::error(&shared.address, error);
        let heard = Arc::new(Heard::default());
        let (hearing, deliver) = (heard.clone(), link.clone());
        let on_push = Arc::new(move |info| hearing.take(info, &deliver));
        let mut connection = Connection::open(&shared.address, Some(on_push), link.keep_alive).await.map_err(failed)?;
        let wanted = link.subscriptions.all();
        set(&mut connection, shared, &wanted, true).await.map_err(failed)?;
        Ok(Self { connection, heard })
    }

    /// Follows what the bus wants, and asks now and then whether the connection still listens, until it ends.
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
                let quiet_until = self.heard.at() + link.keep_alive;
                tokio::time::sleep_until(quiet_until).await;
                if self.heard.at() + link.keep_alive > Instant::now() {
                    continue;
                }
                let deadline = Instant::now() + link.keep_alive;
                match timeout_at(deadline, asking.ask::<Value>(&redis::cmd("PING"))).await {
                    Ok(answer) => drop(answer.map_err(failed)?),
                    Err(_) => {
                        let address = shared.address.to_string();
                        return Err(TransportError::Silent { address, silence: link.keep_alive * 2 });
                    }
                }
                self.heard.touch();
            }
        };
        tokio::select! {
            error = change => error,
            error = ask => error,
            () = self.heard.ended.notified() => Ok(()),
        }
    }
}

impl Heard {
    fn at(&self) -> Instant {
        *self.state.lock().at.get_or_insert_with(Instant::now)
    }

    fn touch(&self) {
        self.state.lock().at = Some(Instant::now());
    }

    /// Takes what Redis sends, in the order in which it sends it.
    fn take(&self, info: PushInfo, link: &Link) {
        let PushInfo { kind, data } = info;
        match kind {
            PushKind::Disconnection => return self.ended.notify_one(),
            PushKind::Message | PushKind::SMessage | PushKind::PMessage => {}
            _ => return,
        }
        let by_pattern = kind == PushKind::PMessage;
        let mut parts = data.into_iter().skip(usize::from(by_pattern)).filter_map(bytes);
        let (Some(channel), Some(payload)) = (parts.next(), parts.next()) else { return };
        let message = (channel, payload);
        let is_new = {
            let mut state = self.state.lock();
            state.at = Some(Instant::now());
            let last = state.last.take();
            !by_pattern || last.as_ref() != Some(&message)
        };
        if !is_new {
            return;
        }
        // What is not text is no channel of ours.
        if let Ok(channel) = std::str::from_utf8(&message.0) {
            (link.deliver)(&Received::Published { channel, payload: &message.1 });
        }
        if !by_pattern {
            self.state.lock().last = Some(message);
        }
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// Subscribes to channels and patterns, or ends that.
async fn set(
    connection: &mut Connection,
    shared: &Shared,
    subscriptions: &[Subscription],
    wanted: bool,
) -> Result<(), RedisError> {
    let sharded = shared.settings.sharded;
    let mut channels = Vec::new();
    let mut patterns = Vec::new();
    for subscription in subscriptions {
        match subscription {
            Subscription::Channel(channel) => channels.push(channel.as_str()),
            Subscription::Pattern(pattern) => patterns.push(pattern.as_str()),
            Subscription::Stream(_) => shared.streams_changed.notify_one(),
        }
    }
    // The channels of one command have to be on one node; how channels are spread over nodes is not known here.
    let batch = if sharded && connection.is_cluster() { 1 } else { BATCH };
    let command = match (sharded, wanted) {
        (false, true) => "SUBSCRIBE",
        (false, false) => "UNSUBSCRIBE",
        (true, true) => "SSUBSCRIBE",
        (true, false) => "SUNSUBSCRIBE",
    };
    for channels in channels.chunks(batch) {
        connection.ask::<()>(redis::cmd(command).arg(channels)).await?;
    }
    let command = if wanted { "PSUBSCRIBE" } else { "PUNSUBSCRIBE" };
    for patterns in patterns.chunks(BATCH) {
        connection.ask::<()>(redis::cmd(command).arg(patterns)).await?;
    }
    Ok(())
}
