//! A Socket.IO client: several namespaces on one connection, typed handlers, acknowledgements both ways, reconnection, and
//! buffers that keep events until they can be sent.
//!
//! ```no_run
//! use sockeye_client::{Data, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let socket = sockeye_client::connect("http://127.0.0.1:3000").await?;
//!     socket.on("chat", async |Data(text): Data<String>| println!("{text}"));
//!     socket.emit("chat", "hello")?;
//!     let answer: String = socket.emit_with_ack("echo", "hello").await?;
//!     println!("the server answers {answer}");
//!     socket.manager().disconnect().await;
//!     Ok(())
//! }
//! ```
//!
//! The names of python-socketio and what they are called here:
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
#[cfg(feature = "blocking")]
pub mod blocking;
mod connect;
mod connection;
mod error;
mod handles;
mod random;
mod reason;
mod settings;
mod state;
mod stream;
mod task;

pub use connect::connect;
pub use error::{
    AckError, AckErrorKind, BuildError, BuildErrorKind, ConnectError, ConnectErrorKind, EmitError, EmitErrorKind,
    Error, Refusal,
};
#[doc(inline)]
pub use handles::handler::{Ack, Reason};
pub use handles::{
    ack::AckFuture,
    emit::Direct,
    event::{Event, Events},
    handler,
    manager::Manager,
    socket::Socket,
};
pub use reason::DisconnectReason;
pub use settings::{
    builder::ManagerBuilder,
    format::Parser,
    limits::{BufferLimits, OverflowPolicy},
    reconnection::Reconnection,
    retries::Retries,
};
#[doc(inline)]
pub use sockeye_handler::{Args, Binary, Data, EventName, HandlerError, IntoReply, RawArgs, Reply, ReplyData, State};
#[doc(inline)]
pub use sockeye_protocol::engineio::{Revision as EngineVersion, session::TransportKind as Transport};
pub use sockeye_protocol::socketio::{
    Args as ArgsRef, ArgsBuf, ArgumentError, Arguments, Date, EncodeError, Map, Number, Value, ValueError,
};
pub use state::lifecycle::{ManagerEvent, ManagerEvents};
pub use stream::EventStream;
