use std::{net::IpAddr, sync::Arc};

use hashbrown::{HashMap, hash_map::Entry};
use http::{HeaderMap, request::Parts};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{Config, Refusal, RemoteAddr, headers};

/// Limits how many sessions there are, in all and for each address. A session counts from its handshake to the end of its
/// task.
#[derive(Debug, Default)]
pub(crate) struct ConnectionPermits {
    taken: Mutex<Taken>,
    /// Notified when the last permit is returned.
    all_free: Notify,
}

/// The permission for one session, which is returned when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    permits: Arc<ConnectionPermits>,
    address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl ConnectionPermits {
    /// Takes a permit for the session that `request` opens.
    ///
    /// # Errors
    /// If `max_sessions` or `max_sessions_per_address` are taken.
    pub(crate) fn take(self: &Arc<Self>, request: &Parts, config: &Config) -> Result<ConnectionPermit, Refusal> {
        let address = client_address(request, config.trust_forwarded);
        let mut taken = self.taken.lock();
        if taken.all >= config.max_sessions {
            return Err(Refusal::TooManySessions);
        }
        if let Some(address) = address {
            let count = taken.by_address.entry(address).or_default();
            // A limit of zero leaves an entry behind, but then nobody gets in at all.
            if *count >= config.max_sessions_per_address {
                return Err(Refusal::TooManySessionsOfAddress);
            }
            *count += 1;
        }
        taken.all += 1;
        drop(taken);
        Ok(ConnectionPermit { permits: self.clone(), address })
    }

    /// How many permits are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.lock().all
    }

    /// Waits until no permit is taken.
    pub(crate) async fn all_free(&self) {
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

/// The address a request comes from, if it is known. A /64 of IPv6 counts as one address, because one household has a
/// whole one.
fn client_address(request: &Parts, trust_forwarded: bool) -> Option<IpAddr> {
    let forwarded = if trust_forwarded { last_hop(&request.headers) } else { None };
    let address = forwarded.or_else(|| request.extensions.get::<RemoteAddr>().map(|remote| remote.0.ip()))?;
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

    fn request(remote: &str, forwarded: &[&str]) -> Parts {
        let mut request = http::Request::builder().extension(RemoteAddr(remote.parse().unwrap()));
        for value in forwarded {
            request = request.header("X-Forwarded-For", *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn permits_are_limited_by_address_and_in_all_and_given_back() {
        let permits = Arc::new(ConnectionPermits::default());
        let config = Config { max_sessions: 3, max_sessions_per_address: 2, ..Config::default() };
        let (a, b) = (request("10.0.0.1:1", &[]), request("10.0.0.2:1", &[]));
        let first = permits.take(&a, &config).unwrap();
        let _second = permits.take(&a, &config).unwrap();
        assert_eq!(permits.take(&a, &config).unwrap_err(), Refusal::TooManySessionsOfAddress);
        let _third = permits.take(&b, &config).unwrap();
        assert_eq!(permits.take(&b, &config).unwrap_err(), Refusal::TooManySessions);
        drop(first);
        drop(permits.take(&a, &config).unwrap());
        drop(_third);
        assert_eq!(permits.taken.lock().by_address.len(), 1, "an address without sessions is forgotten");
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
            let request = request(remote, forwarded);
            assert_eq!(client_address(&request, trusted), Some(address.parse().unwrap()), "{remote} {forwarded:?}");
        }
    }
}
