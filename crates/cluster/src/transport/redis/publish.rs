//! Publishes what waits in the outbox, many at a time.
use std::time::Duration;

use redis::{Pipeline, RedisResult};
use tokio::time::Instant;

use super::{
    address::Address,
    connection::{Connection, Publisher},
    up::Up,
};
use crate::{
    format::Publication,
    outbox::{Outbox, Taken},
    transport::Link,
};

/// How many publications leave together.
const BATCH: usize = 256;

/// How long a cluster may not take a publication, while a replica takes the place of its master.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before a cluster is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes until the connection breaks.
pub(super) async fn publish(mut publisher: Publisher, address: &Address, link: &Link, up: &Up<'_>) -> RedisResult<()> {
    let mut failing_since: Option<Instant> = None;
    loop {
        match publish_some(&mut publisher, link).await {
            Ok(()) => {
                if failing_since.take().is_some() {
                    up.set_publishing(true);
                }
            }
            Err(error)
                if publisher.by_key.is_cluster()
                    && failing_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
                    && error.code() != Some("NOPERM") =>
            {
                up.set_publishing(false);
                tokio::time::sleep(PAUSE).await;
                // The library finds the new place of a slot when a master tells it, but not when a master is silent.
                if (error.is_timeout() || error.is_connection_dropped())
                    && let Ok(again) = Connection::open(address, publisher.timeout).await
                {
                    publisher.by_key = again;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn publish_some(publisher: &mut Publisher, link: &Link) -> RedisResult<()> {
    let mut leaving = Leaving { outbox: &link.outbox, taken: link.outbox.take(BATCH).await };
    while !leaving.taken.is_empty() {
        let (connection, together) = next(publisher, &leaving.taken);
        let mut commands = Pipeline::with_capacity(together);
        for taken in leaving.taken.iter().take(together) {
            add(&mut commands, taken.publication(), publisher);
        }
        connection.clone().send(&commands, commands.len()).await?;
        let sent = leaving.taken.drain(..together).collect();
        link.outbox.sent(sent);
    }
    Ok(())
}

/// Publications on their way. If they have not left when it is dropped, they go back.
struct Leaving<'a> {
    outbox: &'a Outbox,
    taken: Vec<Taken>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.outbox.put_back(std::mem::take(&mut self.taken));
    }
}

/// How many of the first publications leave together, and by which connection. In a cluster, commands with keys leave
/// together if they are for the same key, so that one node takes them.
fn next<'a>(publisher: &'a Publisher, taken: &[Taken]) -> (&'a Connection, usize) {
    if !publisher.by_key.is_cluster() {
        return (&publisher.by_key, taken.len());
    }
    let key = |taken: &Taken| match taken.publication() {
        Publication::Publish { channel, .. } | Publication::Attach { channel, .. } => {
            publisher.sharded.then(|| channel.clone())
        }
        Publication::Append { stream, .. } => Some(stream.clone()),
    };
    let Some(first) = taken.first().map(key) else { return (&publisher.by_key, 0) };
    let together = taken.iter().take_while(|taken| key(taken) == first).count();
    (if first.is_some() { &publisher.by_key } else { &publisher.channels }, together)
}

fn add(commands: &mut Pipeline, publication: &Publication, publisher: &Publisher) {
    match publication {
        // No format for Redis stores payloads apart. What would be one is not lost: it is published whole.
        Publication::Publish { channel, payload } | Publication::Attach { channel, payload, .. } => {
            let command = if publisher.sharded { "SPUBLISH" } else { "PUBLISH" };
            commands.cmd(command).arg(channel).arg(&payload[..]);
        }
        Publication::Append { stream, fields } => {
            let command = commands.cmd("XADD").arg(stream).arg("MAXLEN").arg("~").arg(publisher.stream_length).arg("*");
            for (name, value) in fields {
                command.arg(name).arg(&value[..]);
            }
        }
    }
}
