//! What a connection that listens has heard.
use std::time::Duration;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::time::Instant;

use crate::{format::Received, transport::Link};

/// When a connection has heard something, and the last message.
#[derive(Default)]
pub(super) struct Heard(Mutex<State>);

#[derive(Default)]
struct State {
    /// When something came last.
    at: Option<Instant>,
    /// The last message that came for a channel. A pattern that matches the channel brings it once more, directly after.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

/// What has become of a connection or of a subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The connection has ended.
    Connection,
    /// The sharded channel is not subscribed any more.
    Channel(String),
}

impl Heard {
    /// Takes what Redis sends, in the order in which it sends it, and delivers messages. Returns what is lost, be it that
    /// this server has asked for it.
    pub(super) fn take(&self, info: PushInfo, link: &Link) -> Option<Loss> {
        let PushInfo { kind, data } = info;
        match kind {
            PushKind::Message | PushKind::SMessage => self.deliver(data, false, link),
            PushKind::PMessage => self.deliver(data, true, link),
            PushKind::Disconnection => return Some(Loss::Connection),
            PushKind::SUnsubscribe => {
                let channel = data.into_iter().next().and_then(bytes)?;
                return String::from_utf8(channel).ok().map(Loss::Channel);
            }
            _ => {}
        }
        None
    }

    /// Waits until nothing has come for this long.
    pub(super) async fn quiet(&self, period: Duration) {
        loop {
            let until = *self.0.lock().at.get_or_insert_with(Instant::now) + period;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Whether nothing has come for this long.
    pub(super) fn is_quiet(&self, period: Duration) -> bool {
        self.0.lock().at.get_or_insert_with(Instant::now).elapsed() >= period
    }

    /// Notes that something has come just now.
    pub(super) fn touch(&self) {
        self.0.lock().at = Some(Instant::now());
    }

    fn deliver(&self, data: Vec<Value>, by_pattern: bool, link: &Link) {
        let mut parts = data.into_iter().skip(usize::from(by_pattern)).filter_map(bytes);
        let (Some(channel), Some(payload)) = (parts.next(), parts.next()) else { return };
        let message = (channel, payload);
        let is_again = {
            let mut state = self.0.lock();
            state.at = Some(Instant::now());
            let last = state.last.take();
            by_pattern && last.as_ref() == Some(&message)
        };
        if is_again {
            return;
        }
        // What is not text is no channel of ours.
        if let Ok(channel) = std::str::from_utf8(&message.0) {
            (link.deliver)(&Received::Published { channel, payload: &message.1 });
        }
        if !by_pattern {
            self.0.lock().last = Some(message);
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
