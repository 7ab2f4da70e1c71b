//! Reads streams from where it has stopped, so that nothing is missed while the connection is away.
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{RedisResult, Value};

use super::{address::Kind, connection::Connection, shared::Shared};
use crate::{format::Received, transport::Link};

/// How many entries come at once.
const COUNT: usize = 100;

/// Reads the streams that the bus wants, until the connection breaks.
pub(super) async fn read(shared: &Shared, link: &Link) -> RedisResult<()> {
    loop {
        let streams = shared.wanted_streams(link).await;
        // The streams of one command have to be on one node of a cluster.
        let together = match shared.address.kind {
            Kind::Cluster => 1,
            Kind::Single | Kind::Sentinel { .. } => streams.len().max(1),
        };
        let reading = try_join_all(streams.chunks(together).map(|streams| read_some(streams, shared, link)));
        tokio::select! {
            read = reading => drop(read?),
            // What was read and not delivered is read again from the positions.
            () = shared.streams_changed.notified() => {}
        }
    }
}

/// Reads streams by one connection until it breaks.
async fn read_some(streams: &[String], shared: &Shared, link: &Link) -> RedisResult<()> {
    // Redis waits before it answers, so that nothing else can use the connection.
    let mut connection = Connection::open(&shared.address, link.keep_alive * 2).await?;
    note_positions(&mut connection, shared, streams).await?;
    let wait = link.keep_alive.min(Duration::from_secs(5)).as_millis();
    let wait = u64::try_from(wait).unwrap_or(5_000).max(1);
    loop {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(COUNT).arg("BLOCK").arg(wait).arg("STREAMS").arg(streams);
        {
            let positions = shared.positions.lock();
            for stream in streams {
                command.arg(positions.get(stream).map_or("0", String::as_str));
            }
        }
        let answer: Value = connection.ask(&command).await?;
        for (stream, entries) in pairs(answer) {
            let Value::Array(entries) = entries else { continue };
            for (id, fields) in entries.into_iter().filter_map(pair) {
                let Some(id) = text(&id) else { continue };
                deliver(link, id, &fields);
                if let Some(stream) = text(&stream) {
                    shared.positions.lock().insert(stream.to_owned(), id.to_owned());
                }
            }
        }
    }
}

/// Notes where streams end that are new here, so that reading begins there.
pub(super) async fn note_positions(
    connection: &mut Connection,
    shared: &Shared,
    streams: &[String],
) -> RedisResult<()> {
    for stream in streams {
        if !shared.positions.lock().contains_key(stream) {
            let last = last_id(connection, stream).await?;
            shared.positions.lock().insert(stream.clone(), last);
        }
    }
    Ok(())
}

impl Shared {
    /// The streams that the bus wants, as soon as it wants any.
    async fn wanted_streams(&self, link: &Link) -> Vec<String> {
        loop {
            let streams = link.subscriptions.streams();
            if !streams.is_empty() {
                return streams;
            }
            self.streams_changed.notified().await;
        }
    }
}

/// The id of the newest entry. Node's adapter asks for `$` each time and misses what comes between two calls.
async fn last_id(connection: &mut Connection, stream: &str) -> RedisResult<String> {
    let command = redis::cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1).to_owned();
    let newest: Value = connection.ask(&command).await?;
    let Value::Array(entries) = newest else { return Ok("0".to_owned()) };
    let id = entries.into_iter().next().and_then(pair).and_then(|(id, _)| text(&id).map(str::to_owned));
    Ok(id.unwrap_or_else(|| "0".to_owned()))
}

fn deliver(link: &Link, id: &str, fields: &Value) {
    let Value::Array(items) = fields else { return };
    let bytes: Vec<&[u8]> = items
        .iter()
        .filter_map(|item| match item {
            Value::BulkString(bytes) => Some(&bytes[..]),
            Value::SimpleString(text) => Some(text.as_bytes()),
            _ => None,
        })
        .collect();
    let fields: Vec<(&str, &[u8])> = bytes
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [name, value] => Some((std::str::from_utf8(name).ok()?, *value)),
            _ => None,
        })
        .collect();
    (link.deliver)(&Received::Appended { id, fields: &fields });
}

/// The streams and their entries: a map in RESP3, pairs in RESP2.
fn pairs(answer: Value) -> Vec<(Value, Value)> {
    match answer {
        Value::Map(pairs) => pairs,
        Value::Array(pairs) => pairs.into_iter().filter_map(pair).collect(),
        _ => Vec::new(),
    }
}

fn pair(value: Value) -> Option<(Value, Value)> {
    let Value::Array(items) = value else { return None };
    let mut items = items.into_iter();
    Some((items.next()?, items.next()?))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
