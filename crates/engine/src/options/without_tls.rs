use std::{io, time::Duration};

use tokio::net::TcpStream;

/// TLS for the listeners of [`Engine::serve`](crate::Engine::serve). Without the feature `tls` it has no value.
#[derive(Debug, Clone)]
pub enum Tls {}

impl Tls {
    pub(crate) async fn watch_files(self) {
        match self {}
    }

    pub(crate) async fn accept(&self, _: TcpStream, _: Duration) -> io::Result<TcpStream> {
        match *self {}
    }
}
