//! An Engine.IO session as a state machine, for either end of it: the heartbeat, the upgrade from polling to WebSocket,
//! the close and the farewell. It does no input or output and reads no clock.
//!
//! A driver owns the connections, the timer and the packets that wait to be sent. It tells a [`Session`] what comes in
//! ([`handle_packet`](Session::handle_packet) and the other `handle_` methods, [`close`](Session::close)) and then does
//! what the session asks for, always in this order and until both are empty:
//!
//! 1. [`poll_transmit`](Session::poll_transmit): what to send, to drop or to shut next.
//! 2. [`poll`](Session::poll): what happened. [`Event::Closed`] comes once and has the only reason of the end;
//!    [`Event::Ended`] comes once after it, and the connections may be dropped then.
//! 3. [`poll_timeout`](Session::poll_timeout): when to call [`handle_timeout`](Session::handle_timeout) next. The driver
//!    reads what has come before it does, so that nobody is taken for dead whose pong waits to be read.
//!
//! The content of messages is the driver's business. Whoever wants to send one asks [`is_open`](Session::is_open) and
//! [`transport`](Session::transport), appends it to what waits, and writes:
//!
//! | transport | when what waits is written |
//! |---|---|
//! | WebSocket | at once |
//! | polling, on the server | when [`answer_get`](Session::answer_get) says so |
//! | polling, on the client | when [`begin_post`](Session::begin_post) says so |
//!
//! An upgrade never loses or reorders what waits: after [`Event::Upgraded`] the driver writes all of it to the WebSocket,
//! on a client behind [`Transmit::Upgrade`].
//!
//! ```
//! use std::{collections::VecDeque, time::{Duration, Instant}};
//! use sockeye_protocol::engineio::{
//!     Packet, Revision,
//!     session::{Delivery, Event, Role, Session, Timing, Transmit, TransportKind},
//! };
//!
//! /// A server's driver of one WebSocket.
//! struct Driver {
//!     session: Session,
//!     outbox: VecDeque<String>,
//! }
//!
//! impl Driver {
//!     fn read(&mut self, text: &str, now: Instant) {
//!         self.session.handle_input(|| now);
//!         match Packet::parse_text(text, Revision::V4) {
//!             Ok(packet) => {
//!                 let delivery = self.session.handle_packet(TransportKind::WebSocket, &packet, now);
//!                 if let (Delivery::Deliver, Packet::Text(message)) = (delivery, packet) {
//!                     self.outbox.push_back(format!("4you said {message}"));
//!                 }
//!             }
//!             Err(_) => self.session.handle_invalid_packet(now),
//!         }
//!         self.settle();
//!     }
//!
//!     fn time(&mut self, now: Instant) {
//!         self.session.handle_timeout(now);
//!         self.settle();
//!     }
//!
//!     fn settle(&mut self) {
//!         while let Some(transmit) = self.session.poll_transmit() {
//!             match transmit {
//!                 Transmit::Ping => self.outbox.push_back("2".to_owned()),
//!                 Transmit::Discard => self.outbox.clear(),
//!                 Transmit::CloseFrame(_) => self.outbox.push_back("<close frame>".to_owned()),
//!                 Transmit::Shut => {} // the sending side of the socket goes
//!                 _ => {}              // only polling and revision 3 have these
//!             }
//!         }
//!         while let Some(event) = self.session.poll() {
//!             if let Event::Closed(reason) = event {
//!                 println!("closed: {reason}");
//!             }
//!         }
//!     }
//! }
//!
//! let now = Instant::now();
//! let timing = Timing::new(Duration::from_secs(25), Duration::from_secs(20));
//! let session = Session::new(Role::Server, Revision::V4, TransportKind::WebSocket, timing, now);
//! let mut driver = Driver { session, outbox: VecDeque::new() };
//! driver.read("4hello", now);
//! assert_eq!(driver.outbox, ["4you said hello"]);
//! let pinged = driver.session.poll_timeout().expect("an open session has a heartbeat");
//! assert_eq!(pinged, now + Duration::from_secs(25));
//! driver.time(pinged);
//! assert_eq!(driver.outbox, ["4you said hello", "2"]);
//! // No pong comes.
//! while let Some(at) = driver.session.poll_timeout().filter(|_| driver.session.is_open()) {
//!     driver.time(at);
//! }
//! assert_eq!(driver.outbox, ["<close frame>"]);
//! ```
mod close_reason;
mod farewell;
mod heartbeat;
mod machine;
mod output;
mod packet;
mod polling;
mod role;
mod stage;
#[cfg(test)]
mod tests;
mod timeout;
mod timing;
mod transport_kind;
mod upgrade;
mod upgrade_error;

pub use close_reason::CloseReason;
pub use machine::Session;
pub use output::{Event, GetAnswer, Transmit};
pub use packet::Delivery;
pub use polling::RequestError;
pub use role::Role;
pub use timing::Timing;
pub use transport_kind::TransportKind;
pub use upgrade::{Probe, ProbeStep};
pub use upgrade_error::UpgradeError;
