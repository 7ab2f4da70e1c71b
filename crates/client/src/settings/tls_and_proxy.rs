use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::{Client, ClientBuilder, Proxy, redirect};

use crate::{BuildError, error::BuildErrorKind};

/// The settings by which HTTP clients differ.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsAndProxy {
    #[cfg(feature = "tls")]
    pub(crate) tls: super::tls::TlsSettings,
    pub(crate) proxy: Option<String>,
}

/// The HTTP clients in use, by their settings and the runtime that drives their connections.
type Clients = HashMap<(tokio::runtime::Id, TlsAndProxy), Weak<Client>>;

impl TlsAndProxy {
    /// Checks the settings before anything is connected.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        self.builder().map(drop)
    }

    /// Returns the HTTP client for these settings, which all managers of this runtime with equal settings share: it holds
    /// the trusted certificates and a pool of connections, which is much for one manager.
    pub(crate) fn client(&self) -> Result<Arc<Client>, BuildError> {
        static CLIENTS: LazyLock<Mutex<Clients>> = LazyLock::new(Mutex::default);
        let key = (tokio::runtime::Handle::current().id(), self.clone());
        let mut clients = CLIENTS.lock();
        if let Some(client) = clients.get(&key).and_then(Weak::upgrade) {
            return Ok(client);
        }
        clients.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(self.make_client()?);
        clients.insert(key, Arc::downgrade(&client));
        Ok(client)
    }

    fn make_client(&self) -> Result<Client, BuildError> {
        self.builder()?.build().map_err(|error| BuildError::with_source(BuildErrorKind::HttpClient, error))
    }

    fn builder(&self) -> Result<ClientBuilder, BuildError> {
        let mut builder = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE);
        #[cfg(feature = "tls")]
        {
            builder = self.tls.apply(builder)?;
        }
        if let Some(proxy) = self.proxy()? {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    fn proxy(&self) -> Result<Option<Proxy>, BuildError> {
        let Some(address) = &self.proxy else { return Ok(None) };
        let wrong = || BuildErrorKind::Proxy(address.clone());
        Proxy::all(address).map(Some).map_err(|error| BuildError::with_source(wrong(), error))
    }
}

/// How long a connection that no request uses is kept. Polling requests follow each other at once.
const IDLE: Duration = Duration::from_secs(5);
