//! A server that is joined to buses, and its clients.
use std::time::Duration;

use sockeye::TestClient;
use sockeye_cluster::{Bus, Cluster};

/// A server that is joined to buses.
pub(crate) struct Member {
    pub(crate) cluster: Cluster,
    pub(crate) server: sockeye::Server,
}

impl Member {
    pub(crate) async fn on(buses: Vec<Bus>) -> Self {
        let builder = buses.into_iter().fold(Cluster::builder(), |builder, bus| builder.bus(bus));
        Self::of(builder.join().unwrap()).await
    }

    pub(crate) async fn of(cluster: Cluster) -> Self {
        let server = sockeye::Server::builder().adapter(cluster.adapter()).build();
        let _root = server.of("/");
        cluster.up().await;
        Self { cluster, server }
    }
}

/// Waits until every server has heard all others.
pub(crate) async fn heard_each_other(members: &[&Member]) {
    for member in members {
        while member.cluster.status()[0].servers != Some(members.len() - 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) async fn client(member: &Member) -> TestClient {
    member.server.test_client().connect().await.unwrap()
}

pub(crate) async fn next(client: &mut TestClient) -> (String, serde_json::Value) {
    let event = tokio::time::timeout(Duration::from_secs(10), client.receive()).await.expect("an event").unwrap();
    (event.name.clone(), event.args.as_args().get(0).unwrap_or_default())
}
