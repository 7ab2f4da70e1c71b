//! TLS: a certificate from files, read again every hour without dropping anybody. This one is made on the spot.
use std::{error::Error, path::Path, time::Duration};

use sockeye::{Config, EngineConfig, RawArgs, Reply, Server, Tls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::temp_dir().join(format!("sockeye-tls-{}", std::process::id()));
    let tls = self_signed(&directory)?;
    let renewing = tls.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            if let Err(error) = renewing.reload() {
                eprintln!("going on with the old certificate: {error}");
            }
        }
    });
    let port = std::env::var("PORT").unwrap_or_else(|_| "3443".into());
    Ok(over_tls(tls).serve(format!("127.0.0.1:{port}")).await?)
}

pub(crate) fn over_tls(tls: Tls) -> Server {
    let engine = EngineConfig { tls: Some(tls), ..EngineConfig::default() };
    let server = Server::builder().config(Config { engine, ..Config::default() }).build();
    server.of("/").on("echo", async |RawArgs(args): RawArgs| Reply::of(args));
    server
}

pub(crate) fn self_signed(directory: &Path) -> Result<Tls, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    std::fs::create_dir_all(directory)?;
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok(Tls::from_pem_files(certificate, key)?)
}
