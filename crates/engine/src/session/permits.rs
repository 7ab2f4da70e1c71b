use std::{net::IpAddr, sync::Arc};

use hashbrown::{HashMap, hash_map::Entry};
use http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{RemoteAddr, headers};

/// Limits how many connections there are, in all and for each address. The engine counts its sessions by one, each from its
/// handshake to the end of its task; other services of the same server may count their connections by one of their own.
#[derive(Debug, Default)]
pub struct ConnectionPermits {
    taken: Mutex<Taken>,
    /// Notified when the last permit is returned.
    all_free: Notify,
}

/// The permission for one connection, which is returned when it is dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    address: Option<IpAddr>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// All permits are taken.
    #[error("as many connections are open as the server allows")]
    All,
    /// The address has as many permits as it may.
    #[error("as many connections of this address are open as the server allows")]
    Address,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl ConnectionPermits {
    /// Takes a permit for a connection from this address, if that is known; see [`client_address`].
    ///
    /// # Errors
    /// If `max` permits are taken, or `max_per_address` by this address.
    pub fn take(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        max: usize,
        max_per_address: usize,
    ) -> Result<ConnectionPermit, PermitError> {
        let mut taken = self.taken.lock();
        if taken.all >= max {
            return Err(PermitError::All);
        }
        if let Some(address) = address {
            let count = taken.by_address.entry(address).or_default();
            // A limit of zero leaves an entry behind, but then nobody gets in at all.
            if *count >= max_per_address {
                return Err(PermitError::Address);
            }
            *count += 1;
        }
        taken.all += 1;
        drop(taken);
        Ok(ConnectionPermit { permits: self.clone(), address })
    }

    /// How many permits are taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().all
    }

    /// Waits until no permit is taken.
    pub async fn all_free(&self) {
        loop {
            let freed = self.all_free.notified();
            if self.taken() == 0 {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken.lock();
        taken.all = taken.all.saturating_sub(1);
        if taken.all == 0 {
            self.permits.all_free.notify_waiters();
        }
        let Some(address) = self.address else { return };
        if let Entry::Occupied(mut entry) = taken.by_address.entry(address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// The address a request comes from, if it is known: from its [`RemoteAddr`], or if proxies are trusted, the last one in
/// `X-Forwarded-For`. A /64 of IPv6 counts as one address, because one household has a whole one.
pub fn client_address(headers: &HeaderMap, extensions: &Extensions, trust_forwarded: bool) -> Option<IpAddr> {
    let forwarded = if trust_forwarded { last_hop(headers) } else { None };
    let address = forwarded.or_else(|| extensions.get::<RemoteAddr>().map(|remote| remote.0.ip()))?;
    Some(match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    })
}

/// The address that the proxy next to this server saw: the last one in the header. Clients can make up those before it.
fn last_hop(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers::list(headers, "x-forwarded-for").next_back()?;
    let bare = last.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(last);
    bare.parse().ok().or_else(|| last.parse().ok().map(|address: std::net::SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_by_address_and_in_all_and_given_back() {
        let permits = Arc::new(ConnectionPermits::default());
        let take = |address: &str| permits.take(Some(address.parse().unwrap()), 3, 2);
        let first = take("10.0.0.1").unwrap();
        let _second = take("10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.1").unwrap_err(), PermitError::Address);
        let third = take("10.0.0.2").unwrap();
        assert_eq!(take("10.0.0.2").unwrap_err(), PermitError::All);
        drop(first);
        drop(take("10.0.0.1").unwrap());
        drop(third);
        assert_eq!(permits.taken.lock().by_address.len(), 1, "an address without connections is forgotten");
    }

    #[test]
    fn a_proxy_is_believed_only_when_trusted_and_only_about_its_own_peer() {
        for (remote, forwarded, trusted, address) in [
            ("10.0.0.1:1", &["1.1.1.1"][..], false, "10.0.0.1"),
            ("10.0.0.1:1", &["1.1.1.1"], true, "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6, 1.1.1.1"], true, "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6", "7.7.7.7,1.1.1.1:80"], true, "1.1.1.1"),
            ("10.0.0.1:1", &["6.6.6.6", "1.1.1.1, "], true, "1.1.1.1"),
            ("10.0.0.1:1", &["nonsense"], true, "10.0.0.1"),
            ("10.0.0.1:1", &["[2001:db8:1:2:3:4:5:6]:80"], true, "2001:db8:1:2::"),
            ("10.0.0.1:1", &["2001:db8:1:2:3:4:5:6"], true, "2001:db8:1:2::"),
            ("[::ffff:10.0.0.1]:1", &[], false, "10.0.0.1"),
        ] {
            let mut request = http::Request::builder().extension(RemoteAddr(remote.parse().unwrap()));
            for value in forwarded {
                request = request.header("X-Forwarded-For", *value);
            }
            let request = request.body(()).unwrap();
            let found = client_address(request.headers(), request.extensions(), trusted);
            assert_eq!(found, Some(address.parse().unwrap()), "{remote} {forwarded:?}");
        }
    }
}
