use std::{
    error::Error,
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

/// TLS for the listeners of [`Engine::serve`](crate::Engine::serve), by rustls. Clones are cheap and share the
/// certificate.
///
/// ```no_run
/// use sockeye_engine::{Config, Tls};
/// # fn main() -> Result<(), sockeye_engine::TlsError> {
/// let tls = Tls::from_pem_files("fullchain.pem", "privkey.pem")?;
/// let config = Config { tls: Some(tls.clone()), ..Config::default() };
/// // A running server reads changed files within ten seconds. To read them at once:
/// tls.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}; the path must name a PEM file that the server's user may read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error, or the fault in the file's content.
        source: rustls::pki_types::pem::Error,
    },
    /// The certificate file contains no certificate.
    #[error("{path} contains no certificate; it must begin with the server's, followed by those of its issuers")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate, or rustls does not support their kind.
    #[error("the certificate or its key cannot be used; check that the key belongs to the certificate")]
    Unusable(#[from] rustls::Error),
}

/// A TLS connection.
pub(crate) type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

struct Shared {
    current: RwLock<Arc<ServerConfig>>,
    files: Option<Files>,
}

struct Files {
    certificates: PathBuf,
    key: PathBuf,
    /// The modification times that the files had when they were last read.
    modified: Mutex<ModificationTimes>,
}

/// Of the certificate and of the key. A file that is missing, perhaps while it is being replaced, has none.
type ModificationTimes = [Option<SystemTime>; 2];

/// The interval at which a running server checks the files for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

impl Tls {
    /// Reads a certificate chain, which begins with the server's own certificate, and its private key (PKCS #8, PKCS #1
    /// or SEC 1).
    ///
    /// A running server checks the files for changes every ten seconds, and uses changed files for new connections. If
    /// they cannot be used, it logs the error and keeps the last valid certificate.
    ///
    /// # Errors
    /// If a file cannot be read or used.
    pub fn from_pem_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        let files = Files {
            certificates: certificates.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
            modified: Mutex::default(),
        };
        // The times are taken before the files are read, so that the next check finds a change in between.
        *files.modified.lock() = files.modification_times();
        let current = files.read()?;
        Ok(Self(Arc::new(Shared { current: RwLock::new(current), files: Some(files) })))
    }

    /// Uses this rustls configuration, for example for client certificates or several host names. Its ALPN protocols
    /// should be `http/1.1` alone or none.
    pub fn from_config(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(Shared { current: RwLock::new(config), files: None }))
    }

    /// Reads the files again and uses them for new connections. Does nothing if the configuration does not come from
    /// files.
    ///
    /// # Errors
    /// If a file cannot be read or used. The last valid certificate then stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Some(files) = &self.0.files else { return Ok(()) };
        *files.modified.lock() = files.modification_times();
        let fresh = files.read()?;
        *self.0.current.write() = fresh;
        tracing::info!(certificates = %files.certificates.display(), "reloaded the TLS certificate");
        Ok(())
    }

    /// Reloads the files when they change, until the future is dropped.
    pub(crate) async fn watch_files(self) {
        loop {
            sleep(RELOAD_INTERVAL).await;
            let tls = self.clone();
            // `reload_if_changed` logs a failure, and the runtime reports a panic.
            let _reloaded = spawn_blocking(move || tls.reload_if_changed()).await;
        }
    }

    /// Reads the files again if they have changed, and logs the result. Blocks the thread while it reads.
    fn reload_if_changed(&self) {
        let Some(files) = &self.0.files else { return };
        if files.modification_times() == *files.modified.lock() {
            return;
        }
        if let Err(error) = self.reload() {
            let error: &(dyn Error + 'static) = &error;
            tracing::error!(error, "cannot reload the TLS certificate; the last valid one stays in use");
        }
    }

    /// Performs the TLS handshake with a client. Fails after `limit`.
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

    fn modification_times(&self) -> ModificationTimes {
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
            // The file system may store times too coarsely for two writes to differ.
            for path in [&certificate, &key] {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
                fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
            }
        };
        write(1_000_000);
        let tls = Tls::from_pem_files(&certificate, &key).unwrap();
        let first = tls.config();
        tls.reload_if_changed();
        assert!(Arc::ptr_eq(&first, &tls.config()), "unchanged files were read again");
        write(2_000_000);
        tls.reload_if_changed();
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second), "changed files were not read again");
        fs::remove_file(&key).unwrap();
        tls.reload_if_changed();
        assert!(Arc::ptr_eq(&second, &tls.config()), "the valid certificate was dropped");
        fs::remove_dir_all(&directory).unwrap();
    }
}
