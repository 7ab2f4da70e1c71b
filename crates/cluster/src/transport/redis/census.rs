//! Counts who listens to a channel, on all nodes of a cluster: each knows only its own clients.
use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use redis::{RedisError, RedisResult};
use tokio::sync::Mutex;

use super::{address::Address, connection::Connection, nodes::Node};

/// The connections that are asked.
#[derive(Default)]
pub(super) struct Census(Mutex<HashMap<Node, Connection>>);

impl Census {
    /// How many clients listen to a channel. Nodes that do not answer count as nobody, as long as one node does.
    pub(super) async fn listeners(
        &self,
        address: &Address,
        channel: &str,
        sharded: bool,
        timeout: Duration,
    ) -> RedisResult<usize> {
        let mut connections = self.0.lock().await;
        let known = connections.iter().map(|(node, connection)| (node.clone(), connection.clone())).collect();
        let slots = super::nodes::learn(known, address, timeout).await?;
        let nodes: Vec<Node> = slots.nodes().cloned().collect();
        let asking = nodes.iter().filter_map(|node| {
            let (known, server) = (connections.get(node).cloned(), node.like(address.servers.first()?));
            Some(async move {
                let mut connection = match known {
                    Some(connection) => connection,
                    None => Connection::open_one(&server, None, timeout).await?,
                };
                let count = connection.listeners(channel, sharded).await?;
                Ok::<_, RedisError>((node.clone(), connection, count))
            })
        });
        let (mut sum, mut answered, mut last) = (0, HashMap::new(), None);
        for answer in join_all(asking).await {
            match answer {
                Ok((node, connection, count)) => {
                    sum += count;
                    answered.insert(node, connection);
                }
                Err(error) => last = Some(error),
            }
        }
        *connections = answered;
        match last {
            Some(error) if connections.is_empty() => Err(error),
            _ => Ok(sum),
        }
    }
}
