//! A Socket.IO server: namespaces, sockets, rooms and acknowledgements, for the official clients in every language.
//!
//! [`Server`] is the handle everything starts from, cheap to clone and usable from any task or thread; [`Socket`] is
//! one client in one namespace.
//!
//! ```no_run
//! use sockeye::{Data, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), sockeye::ServeError> {
//!     let server = Server::new();
//!     server.of("/").on("chat", async |socket: Socket, Data(text): Data<String>| {
//!         socket.broadcast().emit("chat", text)?;
//!         Ok(())
//!     });
//!     server.serve("127.0.0.1:3000").await
//! }
//! ```
pub mod adapter;
mod config;
mod connection;
mod error;
pub mod handler;
mod handles;
mod metrics;
mod wire;

pub use adapter::Adapter;
pub use adapter::recovery::RecoveryConfig;
pub use adapter::room::IntoRooms;
pub use config::Config;
pub use error::{ConnectRefusal, DisconnectReason, EmitError, LimitError};
#[doc(inline)]
pub use handler::{Ack, Auth, HandshakeRef, Reason};
pub use handles::ack::{AckFuture, BroadcastAcks, BroadcastAnswers};
pub use handles::direct::Direct;
pub use handles::namespace::Namespace;
pub use handles::operator::Operator;
pub use handles::parent::{ParentNamespace, matching};
pub use handles::pending_acks::AckError;
pub use handles::server::{Server, ServerBuilder};
pub use handles::socket::Socket;
pub use handles::test_client::{ReceivedEvent, TestClient, TestClientBuilder, TestClientError};
pub use metrics::Metrics;
#[cfg(feature = "tls")]
pub use sockeye_engine::TlsError;
pub use sockeye_engine::{
    Application, Batch, CloseReason, Config as EngineConfig, ConnectionError, ConnectionPermit, ConnectionPermits,
    Cookie, Cors, EngineService, Frame, Graceful, Handshake, Hooks, Hosts, LogThrottle, MemoryCharge, Message,
    Metrics as EngineMetrics, NotFound, OriginError, OriginPattern, OriginPolicy, PermitError, PermitLimits, Refusal,
    RemoteAddr, ResponseFuture, Revision, SameSite, SendError, ServeError, Session, SessionHandler, Sid, Tls,
    TransportKind, Transports, client_address, excerpt, listen, log_limit, log_throttled,
};
#[doc(inline)]
pub use sockeye_handler::{
    Args, Binary, Data, EventName, HandlerError, IntoReply, RawArgs, Reply, ReplyData, State, with_causes,
};
pub use sockeye_protocol::socketio::{
    Args as ArgsRef, ArgsBuf, ArgumentError, Arguments, Date, EncodeError, Map, Number, Value, ValueError,
};
pub use wire::parser::{self, Parser};
