//! TLS: why a certificate is not trusted, and how to fix that.
use std::time::Duration;

use jiff::Timestamp;
use rustls::{
    self, CertificateError,
    pki_types::{CertificateDer, UnixTime},
};

use super::report::Finding;

const CERTIFICATE: &str = "certificate";

/// Explains why a TLS connection failed. `certificate` is that of the server, if it is known.
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
            // A self-signed certificate with the name of an authority of this system has a bad signature.
            CertificateError::UnknownIssuer | CertificateError::BadSignature
                if certificate.is_some_and(is_self_signed) =>
            {
                problem("it is self-signed: no authority confirms it".into(), SELF_SIGNED)
            }
            CertificateError::UnknownIssuer => {
                problem("its authority is not trusted by this system".into(), UNKNOWN_ISSUER)
            }
            CertificateError::Revoked => problem("its authority has revoked it".into(), "Get a new one."),
            // webpki refuses a CA certificate as that of a server; openssl makes CA certificates by default.
            error if error.to_string().contains("CaUsedAsEndEntity") => {
                problem("it is a certificate of an authority (CA:TRUE), not of a server".into(), AUTHORITY)
            }
            error => {
                problem(format!("it is not valid: {error}"), "Look at it with `openssl s_client -connect host:port`.")
            }
        },
        rustls::Error::InvalidMessage(_) => Finding::problem(
            "tls",
            "the server does not speak TLS at this port",
            "Use http:// instead of https://, or the port of TLS.",
        ),
        error => Finding::problem(
            "tls",
            format!("the TLS connection fails: {error}"),
            "An old server, or an old proxy before it, must offer TLS 1.2 or 1.3.",
        ),
    }
}

/// The finding for a valid certificate.
pub(super) fn trusted() -> Finding {
    Finding::ok(CERTIFICATE, "it is trusted and names the host")
}

const EXPIRED: &str = "Renew it and reload the server. If it was renewed already, the server still uses the old one: \
                       reload or restart it.";
const NOT_YET: &str = "Check the clock of this machine.";
const OTHER_NAME: &str = "Use one of its names in the address, or get a certificate that has this name among its \
                          alternative names (subjectAltName).";
const SELF_SIGNED: &str = "For tests: trust it with --ca FILE (in the client library: `root_certificate`), or accept \
                           any with --insecure (`danger_accept_invalid_certs`). Browsers need a certificate of a \
                           public authority, or must be set up to trust it.";
const UNKNOWN_ISSUER: &str = "If it is your own authority, trust it with --ca FILE (in the client library: \
                              `root_certificate`). If it is a public one, the server does not send the intermediate \
                              certificates: configure the full chain (`fullchain.pem`).";
const AUTHORITY: &str = "Sign a certificate for the server with it, and let clients trust the authority with --ca FILE. To \
                         make a self-signed certificate for a server: `openssl req -x509 ... -addext \
                         basicConstraints=critical,CA:FALSE`.";

/// Whether the issuer has the same name as the subject.
fn is_self_signed(der: &[u8]) -> bool {
    let der = CertificateDer::from(der);
    webpki::EndEntityCert::try_from(&der).is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// The bare name in `DnsName("example.org")`.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

fn date(time: UnixTime) -> String {
    let time = Timestamp::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs()));
    time.map_or_else(|_| "an unknown date".into(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_explained() {
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
