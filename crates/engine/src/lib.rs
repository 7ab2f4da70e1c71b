//! Engine.IO sessions over real connections: HTTP long-polling, WebSocket, the upgrade from one to the other, and the
//! heartbeat that tells the living from the dead.
//!
//! [`Engine`] is the entry: a [tower](https://docs.rs/tower-service) and [hyper](https://docs.rs/hyper) service that
//! mounts in any hyper 1 server, or [`Engine::serve`] with a listener of its own. What travels over the sessions is the
//! business of an [`Application`], whose [`SessionHandler`] sees the messages of one [`Session`].
mod answer;
mod batch;
mod close;
mod compress;
mod config;
mod cookie;
mod cors;
mod driver;
mod engine;
mod flusher;
mod frame;
mod handshake;
mod heartbeat;
mod hooks;
mod in_process;
mod metrics;
mod opening;
mod origin;
mod outbox;
mod pipelining;
mod query;
mod refusal;
mod seats;
mod serve;
mod service;
mod session;
mod sid;
#[cfg(test)]
mod silent;
mod switching;
mod tls;
mod transport;
mod upgrade;
mod warned;

pub use batch::Batch;
pub use close::CloseReason;
pub use config::{Config, Transports};
pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub use engine::{Application, Engine, Message, SessionHandler};
pub use frame::{Frame, FrameBuilder};
pub use handshake::{Handshake, RemoteAddr};
pub use hooks::{ConnectionError, Hooks};
pub use in_process::InProcess;
pub use metrics::Metrics;
pub use origin::OriginPolicy;
pub use refusal::Refusal;
pub use serve::{Graceful, ServeError};
pub use service::{EngineService, ResponseBody, ResponseFuture};
pub use session::{SendError, Session};
pub use sid::Sid;
pub use sockeye_protocol::engineio::Revision;
pub use tls::{Tls, TlsError};
pub use tokio_rustls::rustls;
pub use transport::TransportKind;
