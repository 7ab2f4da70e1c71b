//! TLS: why a certificate is not trusted, and what to set.
use std::time::Duration;

use jiff::Timestamp;
use rustls::{
    self, CertificateError,
    pki_types::{CertificateDer, UnixTime},
};

use super::report::Finding;

const CERTIFICATE: &str = "certificate";

/// What is wrong with a TLS connection. `certificate` is what the server shows, if that could be seen.
pub(super) fn explain(error: &rustls::Error, certificate: Option<&[u8]>, host: &str) -> Finding {
    let problem = |what: String, cure: &str| Finding::problem(CERTIFICATE, what, cure);
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired => problem("it has expired".into(), EXPIRED),
            CertificateError::ExpiredContext { not_after, .. } => {
                problem(format!("it expired on {}", date(*not_after)), EXPIRED)
            }
            CertificateError::NotValidYet => problem("it is not valid yet".into(), NOT_YET),
            CertificateError::NotValidYetContext { not_before, .. } => {
                problem(format!("it is not valid before {}", date(*not_before)), NOT_YET)
            }
            CertificateError::NotValidForName => problem(format!("it is not for the name {host}"), OTHER_NAME),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = if presented.is_empty() {
                    "no name at all".into()
                } else {
                    presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", ")
                };
                problem(format!("it is not for the name {host}, but for {names}"), OTHER_NAME)
            }
            // A bad signature is what one looks like that has the name of an authority of this system.
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if certificate.is_some_and(is_self_signed) =>
            {
                problem("it is self-signed: only the server itself says that it is who it says".into(), SELF_SIGNED)
            }
            CertificateError::UnknownIssuer => {
                problem("it comes from an authority that this system does not trust".into(), UNKNOWN_ISSUER)
            }
            CertificateError::Revoked => problem("its authority has revoked it".into(), "Get a new one."),
            // webpki refuses certificates of authorities as those of servers, as openssl makes them by default.
            error if error.to_string().contains("CaUsedAsEndEntity") => {
                problem("it is that of an authority (CA:TRUE), not of a server".into(), AUTHORITY)
            }
            error => {
                problem(format!("it is not valid: {error}"), "Look at it with `openssl s_client -connect host:port`.")
            }
        },
        rustls::Error::InvalidMessage(_) => Finding::problem(
            "tls",
            "the server does not speak TLS at this port",
            "Use http:// instead of https://, or the port that TLS is at.",
        ),
        error => Finding::problem(
            "tls",
            format!("no TLS connection comes about: {error}"),
            "If the server or a proxy before it is older, let it offer TLS 1.2 or 1.3.",
        ),
    }
}

/// That a certificate is as it should be.
pub(super) fn trusted() -> Finding {
    Finding::ok(CERTIFICATE, "it is trusted and names the host")
}

const EXPIRED: &str = "Renew it, and let the server read the new one. If it was renewed already, the server still shows \
                       the old one: reload or restart it.";
const NOT_YET: &str = "Is the clock of this machine right?";
const OTHER_NAME: &str = "Use a name that it is for in the address, or get a certificate that has this name among its \
                          alternative names (subjectAltName).";
const SELF_SIGNED: &str = "For tests: trust it by --ca FILE (in the client library: `root_certificate`), or accept \
                           anything by --insecure (`danger_accept_invalid_certs`). Browsers need one of a public \
                           authority, or to be told to trust it.";
const UNKNOWN_ISSUER: &str = "If the authority is your own, trust it by --ca FILE (in the client library: \
                              `root_certificate`). If it is a public one, the server does not send the certificates in \
                              between: give it the full chain (`fullchain.pem`).";
const AUTHORITY: &str = "Sign a certificate for the server with it, and let clients trust the authority by --ca FILE. For a \
                         self-signed one, tell openssl that it is a server's: `openssl req -x509 ... -addext \
                         basicConstraints=critical,CA:FALSE`.";

/// Whether who signed it has the same name as whom it is for.
fn is_self_signed(der: &[u8]) -> bool {
    let der = CertificateDer::from(der);
    webpki::EndEntityCert::try_from(&der).is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// A name as people write it, out of `DnsName("example.org")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn date(time: UnixTime) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map_or_else(|_| "a day out of reach".into(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_called_by_its_name() {
        let what = |error: CertificateError| explain(&rustls::Error::InvalidCertificate(error), None, "a.example").what;
        let (day, later) = (UnixTime::since_unix_epoch(Duration::from_secs(86_400)), UnixTime::now());
        assert_eq!(
            what(CertificateError::ExpiredContext { time: later, not_after: day }),
            "it expired on 1970-01-02 00:00 UTC"
        );
        assert!(what(CertificateError::UnknownIssuer).contains("authority"));
        assert_eq!(what(CertificateError::NotValidForName), "it is not for the name a.example");
        assert_eq!(bare("DnsName(\"elsewhere.example\")"), "elsewhere.example");
        assert_eq!(bare("IpAddress(127.0.0.1)"), "IpAddress(127.0.0.1)");
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        assert!(explain(&plain, None, "a").cure.contains("http://"));
    }
}
