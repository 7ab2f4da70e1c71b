use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, RwLock};
use tokio::{
    net::TcpStream,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};

/// TLS for the listeners of [`Engine::serve`](crate::Engine::serve), by rustls. Cheap to clone; clones share the
/// certificate.
///
/// ```no_run
/// use sockeye_engine::{Config, Tls};
/// # fn main() -> Result<(), sockeye_engine::TlsError> {
/// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let config = Config { tls: Some(tls.clone()), ..Config::default() };
/// // New certificates are found by themselves; to have them at once:
/// tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// Why a certificate could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}; the path must name a PEM file that the server's user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer, or what is wrong with the file's content.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate file holds no certificate.
    #[error("{path} holds no certificate; it must begin with the server's own, followed by the chain that issued it")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("the certificate or its key cannot be used: {0}; check that the key is the certificate's")]
    Unusable(#[from] rustls::Error),
}

/// An encrypted connection.
pub(crate) type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

struct Shared {
    current: RwLock<Arc<ServerConfig>>,
    files: Option<Files>,
}

struct Files {
    certificates: PathBuf,
    key: PathBuf,
    /// When the files that were read last had been changed.
    changed: Mutex<Changed>,
}

type Changed = [Option<SystemTime>; 2];

/// How often the files are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

impl Tls {
    /// Reads a certificate chain, the server's own first, and its private key (PKCS #8, PKCS #1 or SEC 1).
    ///
    /// While a server runs, it looks at the files every ten seconds. Changed ones are used for new connections; those
    /// that are open go on. If they cannot be used, the error is logged and the last good ones stay.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let files = Files {
            certificates: certificates.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
            changed: Mutex::default(),
        };
        // Looked up before reading: a change in between is then found by the next look, not missed.
        *files.changed.lock() = files.last_changed();
        let current = files.read()?;
        Ok(Self(Arc::new(Shared { current: RwLock::new(current), files: Some(files) })))
    }

    /// Uses a configuration of your own, for client certificates or several names. It should offer HTTP/1.1 alone by
    /// ALPN, or nothing.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Shared { current: RwLock::new(config), files: None }))
    }

    /// Reads the files again, for connections to come. Without files there is nothing to do.
    ///
    /// # Errors
    /// If a file cannot be read or used; then the last good ones stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.0.files else { return Ok(()) };
        *files.changed.lock() = files.last_changed();
        let fresh = files.read()?;
        *self.0.current.write() = fresh;
        tracing::info!(certificates = %files.certificates.display(), "uses another certificate from now on");
        Ok(())
    }

    /// Uses files that change from then on, until it is dropped.
    pub(crate) async fn watch_files(self) {
        loop {
            sleep(RELOAD_INTERVAL).await;
            let tls = self.clone();
            // A failure has been logged; a panic has been reported by the runtime.
            let _reloaded = spawn_blocking(move || tls.reload_if_changed()).await;
        }
    }

    /// Reads the files again if they have changed, and logs the result. It blocks for as long as reading takes.
    fn reload_if_changed(&self) {
        let Some(files) = &self.0.files else { return };
        if files.last_changed() == *files.changed.lock() {
            return;
        }
        if let Err(error) = self.reload() {
            tracing::error!(%error, "goes on with the last good certificate");
        }
    }

    /// Carries out a client's handshake.
    pub(crate) async fn accept(&self, stream: TcpStream, limit: Duration) -> io::Result<TlsStream> {
        let handshake = TlsAcceptor::from(self.config()).accept(stream);
        timeout(limit, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.0.current.read().clone()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let certificates = self.0.files.as_ref().map(|files| &files.certificates);
        f.debug_struct("Tls").field("certificates", &certificates).finish_non_exhaustive()
    }
}

impl Files {
    fn read(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let read_error = |path: &Path| {
            let path = path.to_owned();
            |source| TlsError::Read { path, source }
        };
        let certificates = CertificateDer::pem_file_iter(&self.certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(read_error(&self.certificates))?;
        if certificates.is_empty() {
            return Err(TlsError::NoCertificate { path: self.certificates.clone() });
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(read_error(&self.key))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(certificates, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A file that is missing, perhaps for the moment of being replaced, has no time, which counts as a change.
    fn last_changed(&self) -> Changed {
        [&self.certificates, &self.key].map(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_again_only_after_they_change() {
        let directory = std::env::temp_dir().join(format!("sockeye-reload-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        let write = |at: u64| {
            let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
            fs::write(&certificate, made.cert.pem()).unwrap();
            fs::write(&key, made.signing_key.serialize_pem()).unwrap();
            // The clock of the file system may be too coarse to tell two writes apart.
            for path in [&certificate, &key] {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
                fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
            }
        };
        write(1_000_000);
        let tls = Tls::from_pem_files(&certificate, &key).unwrap();
        let first = tls.config();
        tls.reload_if_changed();
        assert!(Arc::ptr_eq(&first, &tls.config()), "nothing has changed");
        write(2_000_000);
        tls.reload_if_changed();
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second), "the change went unseen");
        fs::remove_file(&key).unwrap();
        tls.reload_if_changed();
        assert!(Arc::ptr_eq(&second, &tls.config()), "the last good one was lost");
        fs::remove_dir_all(&directory).unwrap();
    }
}
