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
//!         socket.broadcast().emit("chat", &text)
//!     });
//!     server.serve("127.0.0.1:3000").await
//! }
//! ```
mod ack;
pub mod adapter;
mod background;
mod client;
mod config;
mod error;
pub mod handler;
mod member;
mod metrics;
mod namespace;
mod operator;
mod outgoing;
mod packet;
mod parent;
pub mod parser;
mod rate;
mod recovery;
mod room;
mod server;
mod socket;
mod target;
mod test_client;

pub use ack::{AckError, AckFuture, BroadcastAcks, BroadcastAnswers};
pub use adapter::Adapter;
pub use config::Config;
pub use error::{ConnectRefusal, DisconnectReason, EmitError, LimitError};
#[doc(inline)]
pub use handler::{Ack, Auth, HandshakeRef, Reason};
pub use metrics::Metrics;
pub use namespace::Namespace;
pub use operator::{Direct, Operator};
pub use parent::{ParentNamespace, matching};
pub use parser::Parser;
pub use recovery::RecoveryConfig;
pub use room::IntoRooms;
pub use server::{Server, ServerBuilder, listen};
pub use socket::Socket;
pub use sockeye_engine::{
    Batch, CloseReason, Config as EngineConfig, ConnectionError, Cookie, Cors, EngineService, Graceful, Handshake,
    Hooks, Metrics as EngineMetrics, OriginPolicy, Refusal, RemoteAddr, Revision, SameSite, ServeError, Sid, Tls,
    TlsError, TransportKind, Transports,
};
#[doc(inline)]
pub use sockeye_handler::{Args, Binary, Data, EventName, IntoReply, RawArgs, Reply, State};
pub use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};
pub use test_client::{ReceivedEvent, TestClient, TestClientBuilder, TestClientError};
