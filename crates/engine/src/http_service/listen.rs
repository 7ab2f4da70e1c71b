use std::{fmt, io, net::SocketAddr};

use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The server cannot listen on an address.
    #[error("cannot listen on {address}; choose another address, or stop the program that uses it")]
    Listen {
        /// The address as the caller gave it, or as it was resolved.
        address: String,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Listens on every address that `address` resolves to. `localhost` usually resolves to two.
///
/// # Errors
/// If `address` cannot be resolved, or if the operating system refuses to listen on one of its addresses.
pub async fn listen(address: impl ToSocketAddrs + fmt::Debug) -> Result<Vec<TcpListener>, ServeError> {
    let given = format!("{address:?}").trim_matches('"').to_owned();
    let failed = |address: String| move |source| ServeError::Listen { address, source };
    let addresses: Vec<SocketAddr> = lookup_host(address).await.map_err(failed(given))?.collect();
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        listeners.push(TcpListener::bind(address).await.map_err(failed(address.to_string()))?);
    }
    Ok(listeners)
}
