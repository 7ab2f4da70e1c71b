//! Engine.IO sessions over real connections: HTTP long-polling, WebSocket, the upgrade from polling to WebSocket, and
//! the heartbeat that detects lost clients.
//!
//! Start with [`Engine`]. Its [service](Engine::service) for [tower](https://docs.rs/tower-service) and
//! [hyper](https://docs.rs/hyper) runs in any hyper 1 server, and [`Engine::serve`] runs it on listeners of its own. An
//! [`Application`] makes a [`SessionHandler`] for each [`Session`], which receives the session's messages.
mod counters;
mod engine;
mod handshake;
mod headers;
mod http_service;
mod in_process;
mod log_throttle;
mod memory;
mod metrics;
mod options;
mod outgoing;
mod refusal;
mod response;
mod session;
mod sid;
#[cfg(test)]
mod silent;
mod transport;

pub use counters::Metrics;
pub use engine::{Engine, WeakEngine};
pub use handshake::{Handshake, RemoteAddr};
pub use http_service::{EngineService, Graceful, NotFound, ResponseFuture, ServeError, listen};
pub use in_process::InProcess;
pub use log_throttle::{LogThrottle, excerpt, log_limit};
pub use memory::MemoryCharge;
#[cfg(feature = "tls")]
pub use options::TlsError;
pub use options::{
    Config, ConnectionError, Cookie, Cors, Hooks, Hosts, OriginError, OriginPattern, OriginPolicy, SameSite, Tls,
    Transports,
};
pub use outgoing::{Frame, FrameBuilder};
pub use refusal::Refusal;
pub use response::ResponseBody;
pub use session::{
    Application, Batch, ConnectionPermit, ConnectionPermits, Message, PermitError, PermitLimits, SendError, Session,
    SessionHandler, client_address,
};
pub use sid::Sid;
pub use sockeye_protocol::engineio::{
    Revision,
    session::{CloseReason, TransportKind},
};
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
