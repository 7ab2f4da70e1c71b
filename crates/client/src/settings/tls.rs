use reqwest::{Certificate, ClientBuilder, Identity};
use rustls::crypto::{CryptoProvider, ring};

use crate::{BuildError, error::BuildErrorKind};

/// Which servers are trusted, and which certificate the client shows them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct TlsSettings {
    pub(crate) root_certificates: Vec<Vec<u8>>,
    pub(crate) client_certificate: Option<Vec<u8>>,
    pub(crate) accept_invalid_certs: bool,
}

impl TlsSettings {
    /// Adds these settings to those of an HTTP client.
    pub(super) fn apply(&self, builder: ClientBuilder) -> Result<ClientBuilder, BuildError> {
        choose_crypto_provider();
        let builder =
            builder.tls_certs_merge(self.certificates()?).tls_danger_accept_invalid_certs(self.accept_invalid_certs);
        Ok(match self.identity()? {
            Some(identity) => builder.identity(identity),
            None => builder,
        })
    }

    fn certificates(&self) -> Result<Vec<Certificate>, BuildError> {
        let mut all = Vec::new();
        for pem in &self.root_certificates {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| BuildError::with_source(BuildErrorKind::RootCertificate, error))?;
            if certificates.is_empty() {
                return Err(BuildErrorKind::RootCertificate.into());
            }
            all.extend(certificates);
        }
        Ok(all)
    }

    fn identity(&self) -> Result<Option<Identity>, BuildError> {
        let identity = self.client_certificate.as_deref().map(Identity::from_pem).transpose();
        identity.map_err(|error| BuildError::with_source(BuildErrorKind::ClientCertificate, error))
    }
}

/// Makes ring the process's provider of cryptography if the program has not installed one, as rustls itself does for
/// programs with one provider: the HTTP library looks for it there.
fn choose_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may be first; then its choice holds.
        let _installed = ring::default_provider().install_default();
    }
}
