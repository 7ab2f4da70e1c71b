//! Redis and Valkey: channels, sharded channels and streams; one server, Sentinel or Cluster.
mod address;
mod census;
mod connection;
mod heard;
mod nodes;
mod publish;
mod shards;
mod shared;
mod stream;
mod subscribe;
mod up;

use std::sync::Arc;

use self::{
    address::{Address, Kind, Settings},
    connection::Publisher,
    shards::Shards,
    shared::Shared,
    subscribe::Subscriber,
    up::Up,
};
use super::{Link, Transport, TransportError, TransportFuture};

/// Redis or Valkey, version 6 or later, or 7 or later for sharded channels. With TLS, certificates are trusted that the
/// system trusts, or those in the file that the environment variable `SSL_CERT_FILE` names.
///
/// What may have left when a connection breaks is published again, so that at that moment something can arrive twice.
///
/// In a cluster, channels that are not sharded are published and heard by way of one node each, which keeps their order.
/// Sharded channels are on the masters that serve their slots: two channels on different masters have no order between
/// them, and what is published while a slot moves or a master is replaced may be lost.
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
        // The library takes the cryptography of the process, and panics if there is none. One that is there stays.
        let _installed = rustls::crypto::ring::default_provider().install_default();
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
                return Err(connection::refused(&shared.address, "there is no connection at the moment"));
            };
            let sharded = shared.settings.sharded;
            let count = match shared.address.kind {
                Kind::Cluster => shared.census.listeners(&shared.address, &channel, sharded, publisher.timeout).await,
                Kind::Single | Kind::Sentinel { .. } => publisher.by_key.listeners(&channel, sharded).await,
            };
            count.map(Some).map_err(|error| connection::error(&shared.address, error))
        })
    }
}

/// Connects, subscribes, and carries until a connection breaks.
async fn carry(shared: &Shared, link: &Arc<Link>) -> Result<(), TransportError> {
    let failed = |error| connection::error(&shared.address, error);
    let Shared { address, settings, .. } = shared;
    let mut publisher = Publisher::open(address, settings, link.keep_alive).await.map_err(failed)?;
    let listener = Listener::open(shared, link).await?;
    stream::note_positions(&mut publisher.by_key, shared, &link.subscriptions.streams()).await.map_err(failed)?;
    *shared.publisher.lock() = Some(publisher.clone());
    let up = Up::new(&link.up);
    tokio::try_join!(
        async { publish::publish(publisher, address, link, &up).await.map_err(failed) },
        listener.follow(shared, link, &up),
        async { stream::read(shared, link).await.map_err(failed) },
    )?;
    Ok(())
}

/// Listens to channels.
enum Listener<'a> {
    One(Subscriber),
    Several(Box<Shards<'a>>),
}

impl<'a> Listener<'a> {
    /// Connects and subscribes.
    async fn open(shared: &'a Shared, link: &Arc<Link>) -> Result<Self, TransportError> {
        Ok(match shared.settings.sharded && shared.address.kind == Kind::Cluster {
            true => Self::Several(Box::new(Shards::open(shared, link).await?)),
            false => Self::One(Subscriber::open(shared, link).await?),
        })
    }

    /// Listens until a connection breaks.
    async fn follow(self, shared: &Shared, link: &Link, up: &Up<'_>) -> Result<(), TransportError> {
        match self {
            Self::One(one) => one.follow(shared, link).await,
            Self::Several(several) => several.follow(up).await,
        }
    }
}

/// Forgets the connection that publishes, when it is dropped.
struct WithoutPublisher<'a>(&'a Shared);

impl Drop for WithoutPublisher<'_> {
    fn drop(&mut self) {
        self.0.publisher.lock().take();
    }
}
