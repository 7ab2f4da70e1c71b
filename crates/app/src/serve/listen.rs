//! The addresses the program listens on.
use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, lookup_host};

use crate::settings::{Address, Settings};

/// Why the program cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("cannot find the address of `{address}`: {source}; check the setting `listen`")]
    Resolve { address: Address, source: io::Error },
    #[error(
        "cannot listen on {address}: the port is in use by another program; stop it, or choose another port, such as \
         `--listen {elsewhere}`"
    )]
    InUse { address: SocketAddr, elsewhere: SocketAddr },
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Bind { address: SocketAddr, source: io::Error },
    #[error(
        "refusing to listen on {address}: other machines can reach it, and the identity kind `{identity}` takes the name \
         that a client gives without proof. Listen on loopback addresses only (setting `listen`, option --listen, such as \
         127.0.0.1:8000), or choose another kind (setting `identity`, option --identity); this version has {kinds}"
    )]
    Unproven { address: SocketAddr, identity: &'static str, kinds: String },
}

/// Listens on every address of the settings, or on none if one of them fails; only the default IPv6 address may be
/// missing on a machine without IPv6.
///
/// # Errors
/// If an address is unknown or in use, or other machines can reach it although the identity kind has no proof.
pub(crate) async fn listen(settings: &Settings) -> Result<Vec<TcpListener>, ListenError> {
    let mut addresses = Vec::new();
    for address in &settings.listen {
        let found = lookup_host((address.host.as_str(), address.port)).await;
        addresses.extend(found.map_err(|source| ListenError::Resolve { address: address.clone(), source })?);
    }
    let exposed = addresses.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let Some(address) = exposed.filter(|_| !settings.identity.has_proof()) {
        let kinds: Vec<_> = crate::identity::IdentityKind::ALL.iter().map(|kind| format!("`{kind}`")).collect();
        let identity = settings.identity.as_str();
        return Err(ListenError::Unproven { address: *address, identity, kinds: kinds.join(", ") });
    }
    let is_default = settings.listen == Settings::default().listen;
    let mut listeners = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_default && address.is_ipv6() && is_missing(&error) => {
                tracing::warn!(%address, %error, "this machine has no IPv6; listening on the IPv4 address alone");
            }
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                let elsewhere = SocketAddr::new(address.ip(), address.port().checked_add(1).unwrap_or(8000));
                return Err(ListenError::InUse { address, elsewhere });
            }
            Err(source) => return Err(ListenError::Bind { address, source }),
        }
    }
    Ok(listeners)
}

/// Whether this machine does not have the address or its address family.
fn is_missing(error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` of Linux and of the BSDs, for which the standard library has no kind.
    const NO_SUCH_FAMILY: [i32; 2] = [97, 47];
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error().is_some_and(|code| NO_SUCH_FAMILY.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(listen: &[&str]) -> Settings {
        Settings { listen: listen.iter().map(|address| address.parse().unwrap()).collect(), ..Settings::default() }
    }

    #[tokio::test]
    async fn without_proof_of_identity_only_loopback_is_listened_on() {
        for exposed in ["0.0.0.0:0", "[::]:0", "[::ffff:192.0.2.1]:0"] {
            let error = listen(&settings(&["127.0.0.1:0", exposed])).await.unwrap_err();
            assert!(matches!(error, ListenError::Unproven { .. }), "{exposed}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("`listen`") && text.contains("`identity`") && text.contains("`development`"),
                "{text}"
            );
        }
        assert_eq!(listen(&settings(&["127.0.0.1:0"])).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_taken_port_names_the_option() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = listen(&settings(&[&address])).await.unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("another program") && error.contains("--listen"), "{error}");
    }
}
