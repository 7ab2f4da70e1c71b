use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tower_service::Service;

use crate::ServeError;

/// Listens on every address that `address` resolves to; `localhost` usually resolves to two.
///
/// # Errors
/// If the address cannot be resolved, or one of its addresses cannot be listened on.
pub async fn listen(address: impl ToSocketAddrs + fmt::Debug) -> Result<Vec<TcpListener>, ServeError> {
    let given = format!("{address:?}");
    let addresses: Vec<SocketAddr> = lookup_host(address)
        .await
        .map_err(|source| ServeError::Listen { address: given.trim_matches('"').to_owned(), source })?
        .collect();
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address: address.to_string(), source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// A fallback for [`Engine::serve`](crate::Engine::serve) that answers every path with 404.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotFound;

impl Service<Request<Incoming>> for NotFound {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Incoming>) -> Self::Future {
        let mut response = Response::new(Empty::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(response))
    }
}
