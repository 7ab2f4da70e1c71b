//! Publishes what waits in the outbox, many at a time.
use redis::{Pipeline, RedisResult};

use super::{connection::Connection, shared::Shared};
use crate::{
    format::Publication,
    outbox::{Outbox, Taken},
    transport::Link,
};

/// How many publications leave together.
const BATCH: usize = 256;

/// Publishes until the connection breaks.
pub(super) async fn publish(mut connection: Connection, shared: &Shared, link: &Link) -> RedisResult<()> {
    loop {
        let mut leaving = Leaving { outbox: &link.outbox, taken: link.outbox.take(BATCH).await };
        // In a cluster, commands that go to one node only can leave together.
        while !leaving.taken.is_empty() {
            let together = match connection.is_cluster() {
                true => same_channel(&leaving.taken),
                false => leaving.taken.len(),
            };
            let mut commands = Pipeline::with_capacity(together);
            for taken in leaving.taken.iter().take(together) {
                add(&mut commands, taken.publication(), shared);
            }
            connection.send(&commands, commands.len()).await?;
            let sent = leaving.taken.drain(..together).collect();
            link.outbox.sent(sent);
        }
    }
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

/// How many of the first publications are for one channel or stream.
fn same_channel(taken: &[Taken]) -> usize {
    let place = |taken: &Taken| match taken.publication() {
        Publication::Publish { channel, .. } | Publication::Attach { channel, .. } => channel.clone(),
        Publication::Append { stream, .. } => stream.clone(),
    };
    let Some(first) = taken.first().map(place) else { return 0 };
    taken.iter().take_while(|taken| place(taken) == first).count()
}

fn add(commands: &mut Pipeline, publication: &Publication, shared: &Shared) {
    match publication {
        Publication::Publish { channel, payload } => {
            let command = if shared.settings.sharded { "SPUBLISH" } else { "PUBLISH" };
            commands.cmd(command).arg(channel).arg(&payload[..]);
        }
        Publication::Append { stream, fields } => {
            let command =
                commands.cmd("XADD").arg(stream).arg("MAXLEN").arg("~").arg(shared.settings.stream_length).arg("*");
            for (name, value) in fields {
                command.arg(name).arg(&value[..]);
            }
        }
        // No format for Redis stores payloads apart. What would be one is not lost: it is published whole.
        Publication::Attach { channel, payload, .. } => {
            commands.cmd("PUBLISH").arg(channel).arg(&payload[..]);
        }
    }
}
