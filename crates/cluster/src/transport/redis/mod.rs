//! Redis and Valkey: channels, sharded channels and streams; one server, Sentinel or Cluster.
mod address;
mod connection;
mod publish;
mod shared;
mod stream;
mod subscribe;

use std::sync::Arc;

use self::{
    address::Address,
    connection::Connection,
    shared::{Settings, Shared},
};
use super::{Link, Transport, TransportError, TransportFuture};

/// Redis or Valkey, version 6 or later, or 7 or later for sharded channels.
///
/// What may have left when a connection breaks is published again, so that at that moment something can arrive twice.
#[derive(Clone)]
pub struct Redis(Arc<Shared>);

impl Redis {
    /// Redis at an address: `redis://[user:password@]host[:port][,host[:port]]…[/db]`, with `rediss` for TLS;
    /// `redis+sentinel://host,…/master`; `redis+cluster://host,…`. Nothing is connected yet.
    ///
    /// # Errors
    /// If the address has another form.
    pub fn new(address: &str) -> Result<Self, TransportError> {
        let settings = Settings { sharded: false, stream_length: 10_000 };
        Ok(Self::of(Address::parse(address)?, settings))
    }

    /// Uses the channels of sharded publish and subscribe, which Redis Cluster keeps on one node each.
    #[must_use]
    pub fn sharded(self) -> Self {
        let settings = Settings { sharded: true, ..self.0.settings.clone() };
        Self::of(self.0.address.clone(), settings)
    }

    /// About how many entries a stream keeps. Default 10,000, as Node's adapter.
    #[must_use]
    pub fn stream_length(self, entries: usize) -> Self {
        let settings = Settings { stream_length: entries, ..self.0.settings.clone() };
        Self::of(self.0.address.clone(), settings)
    }

    fn of(address: Address, settings: Settings) -> Self {
        Self(Arc::new(Shared::new(address, settings)))
    }
}

impl Transport for Redis {
    fn run(&self, link: Arc<Link>) -> TransportFuture<()> {
        let shared = self.0.clone();
        Box::pin(async move {
            let _ended = WithoutPublisher(&shared);
            carry(&shared, &link).await
        })
    }

    fn listeners(&self, channel: &str) -> TransportFuture<Option<usize>> {
        let (shared, channel) = (self.0.clone(), channel.to_owned());
        Box::pin(async move {
            let publisher = shared.publisher.lock().clone();
            let Some(mut publisher) = publisher else {
                return Err(TransportError::Refused {
                    address: shared.address.to_string(),
                    reason: "there is no connection at the moment".into(),
                });
            };
            let count = publisher.listeners(&channel, shared.settings.sharded).await;
            count.map(Some).map_err(|error| connection::error(&shared.address, error))
        })
    }
}

/// Connects, subscribes, and carries until a connection breaks.
async fn carry(shared: &Shared, link: &Arc<Link>) -> Result<(), TransportError> {
    let failed = |error| connection::error(&shared.address, error);
    let mut publisher = Connection::open(&shared.address, None, link.keep_alive).await.map_err(failed)?;
    let subscriber = subscribe::Subscriber::open(shared, link).await?;
    stream::note_positions(&mut publisher, shared, &link.subscriptions.streams()).await.map_err(failed)?;
    *shared.publisher.lock() = Some(publisher.clone());
    link.up.send_replace(true);
    tokio::try_join!(
        async { publish::publish(publisher, shared, link).await.map_err(failed) },
        subscriber.follow(shared, link),
        async { stream::read(shared, link).await.map_err(failed) },
    )?;
    Ok(())
}

/// Forgets the connection that publishes, when it is dropped.
struct WithoutPublisher<'a>(&'a Shared);

impl Drop for WithoutPublisher<'_> {
    fn drop(&mut self) {
        self.0.publisher.lock().take();
    }
}
