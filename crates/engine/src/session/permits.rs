use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::{HashMap, hash_map::Entry};
use http::{Extensions, HeaderMap};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{RemoteAddr, headers};

/// Limits how many connections there are and how many open per second, in all and for each address. The engine counts its
/// sessions by one, each from its handshake to the end of its task; other services of the same server may count their
/// connections by one of their own.
#[derive(Debug, Default)]
pub struct ConnectionPermits {
    taken: Mutex<Taken>,
    /// Notified when the last permit is returned.
    all_free: Notify,
}

/// What a [`ConnectionPermits`] permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PermitLimits {
    /// The most connections at a time.
    pub max: usize,
    /// The most connections of one address at a time.
    pub max_per_address: usize,
    /// The most connections that open per second, on average; ten times as many may open at once. 0 for any number.
    pub rate: u32,
    /// The same for one address. Loopback addresses are exempt: what comes from there is a proxy or a test.
    pub rate_per_address: u32,
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
    /// Too many connections open per second.
    #[error("more connections open per second than the server allows")]
    Rate,
    /// Too many connections of the address open per second.
    #[error("more connections of this address open per second than the server allows")]
    AddressRate,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    rate: Bucket,
    by_address: HashMap<IpAddr, OfAddress>,
    /// When the addresses without connections were last forgotten.
    swept: Option<Instant>,
}

#[derive(Debug, Default)]
struct OfAddress {
    open: usize,
    rate: Bucket,
}

/// A token bucket that holds the tokens of [`BURST`].
#[derive(Debug, Default)]
struct Bucket {
    /// When the bucket is full again; never, if it has always been full.
    full_at: Option<Instant>,
}

/// The connections of this time may open at once.
const BURST: Duration = Duration::from_secs(10);

impl Bucket {
    /// Whether a token is left; [`take`](Self::take) takes it.
    fn has_token(&self, rate: u32, now: Instant) -> bool {
        let period = Duration::from_secs(1).checked_div(rate).unwrap_or_default();
        self.full_at.is_none_or(|full_at| full_at.saturating_duration_since(now) + period <= BURST)
    }

    fn take(&mut self, rate: u32, now: Instant) {
        if let Some(period) = Duration::from_secs(1).checked_div(rate) {
            self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + period);
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

impl ConnectionPermits {
    /// Takes a permit for a connection from this address, if that is known; see [`client_address`].
    ///
    /// # Errors
    /// If one of the limits is reached.
    pub fn take(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        limits: &PermitLimits,
    ) -> Result<ConnectionPermit, PermitError> {
        self.taken.lock().take(address, limits, Instant::now())?;
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

impl Taken {
    fn take(&mut self, address: Option<IpAddr>, limits: &PermitLimits, now: Instant) -> Result<(), PermitError> {
        if self.all >= limits.max {
            return Err(PermitError::All);
        }
        if !self.rate.has_token(limits.rate, now) {
            return Err(PermitError::Rate);
        }
        if let Some(address) = address {
            self.sweep(now);
            let rate = if address.is_loopback() { 0 } else { limits.rate_per_address };
            // An entry that is refused at once is forgotten by the next sweep.
            let of_address = self.by_address.entry(address).or_default();
            if of_address.open >= limits.max_per_address {
                return Err(PermitError::Address);
            }
            if !of_address.rate.has_token(rate, now) {
                return Err(PermitError::AddressRate);
            }
            of_address.rate.take(rate, now);
            of_address.open += 1;
        }
        self.rate.take(limits.rate, now);
        self.all += 1;
        Ok(())
    }

    /// Forgets the addresses without connections whose buckets are full. It does so every ten seconds at most, because it
    /// goes through all addresses.
    fn sweep(&mut self, now: Instant) {
        let swept = *self.swept.get_or_insert(now);
        if now.saturating_duration_since(swept) >= BURST {
            self.swept = Some(now);
            self.by_address.retain(|_, of_address| of_address.open > 0 || !of_address.rate.is_full(now));
        }
    }

    fn give_back(&mut self, address: Option<IpAddr>, now: Instant) {
        self.all = self.all.saturating_sub(1);
        let Some(address) = address else { return };
        if let Entry::Occupied(mut entry) = self.by_address.entry(address) {
            let of_address = entry.get_mut();
            of_address.open = of_address.open.saturating_sub(1);
            if of_address.open == 0 && of_address.rate.is_full(now) {
                entry.remove();
            }
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut taken = self.permits.taken.lock();
        taken.give_back(self.address, Instant::now());
        if taken.all == 0 {
            self.permits.all_free.notify_waiters();
        }
    }
}

/// The address a request comes from, if it is known: from its [`RemoteAddr`], or if proxies are trusted, the last one in
/// `X-Forwarded-For`. A /64 of IPv6 counts as one address, because one household has a whole one.
pub fn client_address(headers: &HeaderMap, extensions: &Extensions, trust_forwarded: bool) -> Option<IpAddr> {
    let forwarded = if trust_forwarded { last_hop(headers) } else { None };
    let address = forwarded.or_else(|| extensions.get::<RemoteAddr>().map(|remote| remote.0.ip()))?;
    Some(counted_address(address))
}

/// The address under which connections of this one are counted.
pub(crate) fn counted_address(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
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

    const LIMITS: PermitLimits = PermitLimits { max: 3, max_per_address: 2, rate: 0, rate_per_address: 0 };

    #[test]
    fn permits_are_limited_by_address_and_in_all_and_given_back() {
        let permits = Arc::new(ConnectionPermits::default());
        let take = |address: &str| permits.take(Some(address.parse().unwrap()), &LIMITS);
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

    /// Opens and closes connections of an address until one is refused, and returns how many there were and why.
    fn burst(taken: &mut Taken, address: &str, limits: &PermitLimits, now: Instant) -> (usize, PermitError) {
        let address = Some(address.parse().unwrap());
        for count in 0..1_000_000 {
            if let Err(error) = taken.take(address, limits, now) {
                return (count, error);
            }
            taken.give_back(address, now);
        }
        panic!("the rate is not limited");
    }

    #[test]
    fn connections_per_second_are_limited_by_address_and_in_all() {
        let limits = PermitLimits { rate: 100, rate_per_address: 10, ..LIMITS };
        let (mut taken, mut now) = (Taken::default(), Instant::now());
        assert_eq!(burst(&mut taken, "10.0.0.1", &limits, now), (100, PermitError::AddressRate));
        assert_eq!(burst(&mut taken, "10.0.0.2", &limits, now), (100, PermitError::AddressRate), "each has its own");
        now += Duration::from_secs(3);
        assert_eq!(burst(&mut taken, "10.0.0.1", &limits, now), (30, PermitError::AddressRate));
        assert_eq!(burst(&mut taken, "127.0.0.1", &limits, now).1, PermitError::Rate, "loopback has none of its own");
        assert_eq!(burst(&mut taken, "10.0.0.3", &limits, now), (0, PermitError::Rate));
        now += BURST;
        assert_eq!(burst(&mut taken, "10.0.0.3", &limits, now), (100, PermitError::AddressRate));
        now += BURST;
        assert_eq!(burst(&mut taken, "10.0.0.4", &limits, now), (100, PermitError::AddressRate));
        assert_eq!(taken.by_address.len(), 1, "an address whose bucket is full is forgotten");
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
            ("[::1]:1", &[], false, "::1"),
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
