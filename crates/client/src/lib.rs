//! A Socket.IO client: several namespaces on one connection, typed handlers, acknowledgements both ways, and
//! reconnection that loses nothing that can be kept.
//!
//! ```no_run
//! use sockeye_client::{Data, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let socket = sockeye_client::connect("http://127.0.0.1:3000").await?;
//!     socket.on("chat", async |Data(text): Data<String>| println!("{text}"));
//!     socket.emit("chat", &"hello")?;
//!     let answer: String = socket.emit_with_ack("echo", &"hello").await?;
//!     println!("the server answers {answer}");
//!     socket.manager().disconnect().await;
//!     Ok(())
//! }
//! ```
//!
//! Who comes from python-socketio finds everything under these names:
//!
//! | python-socketio | here |
//! |---|---|
//! | `AsyncClient()` | [`Manager::builder`] |
//! | `await sio.connect(url)` | [`connect`], [`ManagerBuilder::connect`], [`Manager::connect`] |
//! | `namespace="/chat"` | [`Manager::socket`] |
//! | `@sio.event`, `sio.on(event)` | [`Socket::on`] |
//! | `sio.on("*")` | [`Socket::on_fallback`]; [`Socket::on_any`] sees every event |
//! | `await sio.emit(event, data)` | [`Socket::emit`] |
//! | `await sio.call(event, data)` | [`Socket::emit_with_ack`] |
//! | `sio.sid`, `sio.get_sid(namespace)` | [`Socket::id`] |
//! | `transports="websocket"` | [`transports(Transport::WebSocket)`](ManagerBuilder::transports) |
//! | `ssl_verify=False` | [`danger_accept_invalid_certs`](ManagerBuilder::danger_accept_invalid_certs) |
//! | `Client()` | [`blocking`] |
//! | `SimpleClient().receive()` | [`Socket::events`] |
mod ack;
mod backoff;
pub mod blocking;
mod buffer;
mod config;
mod connection;
mod cookies;
mod core;
mod driver;
mod error;
mod event;
pub mod handler;
mod heartbeat;
mod http;
mod hub;
mod inbox;
mod lifecycle;
mod manager;
mod packet;
mod packet_log;
mod reason;
mod retry;
mod socket;
mod transport;

pub use ack::AckFuture;
pub use backoff::Reconnection;
pub use buffer::{BufferLimits, OverflowPolicy};
pub use config::ManagerBuilder;
pub use error::{
    AckError, AckErrorKind, BuildError, BuildErrorKind, ConnectError, ConnectErrorKind, EmitError, EmitErrorKind,
    Error, Refusal,
};
pub use event::{Event, Events};
#[doc(inline)]
pub use handler::{Ack, Reason};
pub use lifecycle::{ManagerEvent, ManagerEvents};
pub use manager::{Manager, connect};
pub use packet::{EngineVersion, Parser};
pub use reason::DisconnectReason;
pub use retry::Retries;
pub use socket::Socket;
#[doc(inline)]
pub use sockeye_handler::{Args, Binary, Data, EventName, IntoReply, RawArgs, Reply, State};
pub use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};
pub use transport::Transport;
