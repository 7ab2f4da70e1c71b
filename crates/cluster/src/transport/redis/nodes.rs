//! The nodes of a Redis Cluster, and which of them serves a channel.
use std::{collections::HashSet, time::Duration};

use redis::{ConnectionAddr, ConnectionInfo, RedisError, RedisResult, Value};

use super::{address::Address, connection::Connection};

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Node {
    /// The node at an address.
    pub(super) fn at(address: &ConnectionAddr) -> Option<Self> {
        match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self { host: host.clone(), port: *port })
            }
            _ => None,
        }
    }

    /// How to reach this node, with the credentials and the encryption of another one.
    pub(super) fn like(&self, other: &ConnectionInfo) -> ConnectionInfo {
        let Self { host, port } = self.clone();
        let address = match other.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        other.clone().set_addr(address)
    }
}

/// Which master serves which slots, and all nodes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    ranges: Vec<Range>,
    nodes: HashSet<Node>,
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    master: Node,
}

impl Slots {
    /// Reads the answer of a node to `CLUSTER SLOTS`. What is not of the documented form is left out.
    pub(super) fn read(answer: Value, asked: &Node) -> Self {
        let mut slots = Self::default();
        let Value::Array(ranges) = answer else { return slots };
        for range in ranges {
            let Value::Array(items) = range else { continue };
            let mut items = items.into_iter();
            let (first, last) = (items.next().and_then(number), items.next().and_then(number));
            // The master comes first. Replicas of it follow.
            let master = items.next().and_then(|master| node(master, asked));
            slots.nodes.extend(master.iter().cloned().chain(items.filter_map(|replica| node(replica, asked))));
            if let (Some(first), Some(last), Some(master)) = (first, last, master) {
                slots.ranges.push(Range { first, last, master });
            }
        }
        slots
    }

    /// The master that serves a channel.
    pub(super) fn master(&self, channel: &str) -> Option<&Node> {
        let slot = slot(channel);
        self.ranges.iter().find(|range| (range.first..=range.last).contains(&slot)).map(|range| &range.master)
    }

    /// All masters that serve slots.
    pub(super) fn masters(&self) -> impl Iterator<Item = &Node> {
        self.ranges.iter().map(|range| &range.master)
    }

    /// All masters that serve slots, and their replicas.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }
}

/// Asks nodes in turn which of them serves which slots, until one tells: those to which there are connections, then those
/// of the address.
pub(super) async fn learn(known: Vec<(Node, Connection)>, address: &Address, timeout: Duration) -> RedisResult<Slots> {
    let mut last = None;
    for (node, connection) in known {
        match ask(connection, &node).await {
            Ok(slots) => return Ok(slots),
            Err(error) => last = Some(error),
        }
    }
    for server in &address.servers {
        let Some(node) = Node::at(server.addr()) else { continue };
        let asked = match Connection::open_one(server, None, timeout).await {
            Ok(connection) => ask(connection, &node).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(slots) => return Ok(slots),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| RedisError::from((redis::ErrorKind::Client, "no node of the cluster is known"))))
}

async fn ask(mut connection: Connection, asked: &Node) -> RedisResult<Slots> {
    let answer = connection.ask::<Value>(redis::cmd("CLUSTER").arg("SLOTS")).await?;
    Ok(Slots::read(answer, asked))
}

/// Reads host and port, with which the description of a node begins.
fn node(description: Value, asked: &Node) -> Option<Node> {
    let Value::Array(items) = description else { return None };
    let mut items = items.into_iter();
    let host = match redis::from_redis_value::<Option<String>>(items.next()?).ok()? {
        Some(name) if name == "?" => return None,
        Some(name) if !name.is_empty() => name,
        // A node that does not know its own name is where it was asked.
        _ => asked.host.clone(),
    };
    Some(Node { host, port: items.next().and_then(number)? })
}

fn number(value: Value) -> Option<u16> {
    // The library cuts off what does not fit.
    redis::from_redis_value::<i64>(value).ok()?.try_into().ok()
}

/// The slot of a channel: of the part between the first `{` and the `}` that follows, if there is something between them.
pub(super) fn slot(channel: &str) -> u16 {
    let part = channel.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(part, _)| part);
    crc16(part.filter(|part| !part.is_empty()).unwrap_or(channel).as_bytes()) % SLOTS
}

/// CRC16 in the variant XMODEM, as Redis Cluster's specification prescribes.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: u16) -> Node {
        Node { host: host.into(), port }
    }

    #[test]
    fn channels_have_the_slots_that_redis_gives_them() {
        // From `CLUSTER KEYSLOT` of Redis 7.0.
        for (channel, expected) in [
            ("", 0),
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("foo{}{bar}", 8_363),
            ("a{foo}b{c}", 12_182),
        ] {
            assert_eq!(slot(channel), expected, "{channel}");
        }
    }

    #[test]
    fn the_answer_of_a_node_tells_the_masters() {
        let text = |text: &str| Value::BulkString(text.into());
        let range = |first, last, host, port| {
            let master = Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(vec![])]);
            let replica = Value::Array(vec![text("replica"), Value::Int(9), text("id")]);
            Value::Array(vec![Value::Int(first), Value::Int(last), master, replica])
        };
        let answer = Value::Array(vec![
            range(0, 8_000, text("a"), 1),
            range(8_001, 12_181, Value::Nil, 2),
            range(12_182, 12_182, text(""), 3),
            range(12_183, 12_738, text("?"), 4),
            range(12_739, 99_999, text("b"), 5),
            Value::Nil,
        ]);
        let slots = Slots::read(answer, &node("asked", 7));
        assert_eq!(slots.master(""), Some(&node("a", 1)));
        assert_eq!(slots.master("foo{}{bar}"), Some(&node("asked", 2)));
        assert_eq!(slots.master("foo"), Some(&node("asked", 3)));
        assert_eq!(slots.master("123456789"), None);
        assert_eq!(slots.masters().count(), 3);
        let nodes: HashSet<&Node> = slots.nodes().collect();
        let expected =
            [("a", 1), ("asked", 2), ("asked", 3), ("b", 5), ("replica", 9)].map(|(host, port)| node(host, port));
        assert_eq!(nodes, expected.iter().collect());
        assert_eq!(Slots::read(Value::Int(1), &node("asked", 7)), Slots::default());
    }

    #[test]
    fn a_node_is_reached_with_the_credentials_of_another_one() {
        let info: ConnectionInfo = redis::IntoConnectionInfo::into_connection_info("rediss://u:p@h:1").unwrap();
        let other = node("other", 2).like(&info);
        assert_eq!(Node::at(other.addr()), Some(node("other", 2)));
        assert!(matches!(other.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert_eq!(other.redis_settings().password(), Some("p"));
    }
}
