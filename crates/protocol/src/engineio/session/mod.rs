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
//! driver.time(pinged + Duration::from_secs(20));
//! assert_eq!(driver.outbox, ["<close frame>"]);
//! ```
use std::time::Instant;

mod close_reason;
mod farewell;
mod heartbeat;
mod output;
mod packet;
mod polling;
mod stage;
mod timing;
mod upgrade;

pub use close_reason::CloseReason;
pub use output::{Event, Transmit};
pub use packet::Delivery;
pub use polling::{GetAnswer, RequestError};
pub use stage::TransportKind;
pub use timing::Timing;
pub use upgrade::{Probe, ProbeStep, UpgradeError};

use self::{
    heartbeat::{Beat, Heartbeat},
    output::{Events, Transmits},
    stage::{Stage, Transport},
};
use super::Revision;

/// One end of a session, from its opening to its end; see the [module](self) for how it is driven.
#[derive(Debug)]
pub struct Session {
    role: Role,
    variant: Variant,
    timing: Timing,
    stage: Stage,
    heartbeat: Heartbeat,
    transmits: Transmits,
    events: Events,
}

/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that accepts connections.
    Server,
    /// The end that opens them.
    Client,
}

/// What is spoken on the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variant {
    EngineIo(Revision),
    /// Messages of a WebSocket without packets around them.
    Plain,
}

impl Session {
    /// A session whose open packet is on its way by `transport` (server) or has come by it (client).
    pub fn new(role: Role, revision: Revision, transport: TransportKind, timing: Timing, now: Instant) -> Self {
        let transport = match transport {
            TransportKind::Polling => Transport::Polling(Box::default()),
            TransportKind::WebSocket => Transport::WebSocket,
        };
        Self::with(role, Variant::EngineIo(revision), transport, timing, now)
    }

    /// A server's end of a WebSocket that carries messages without Engine.IO around them: its pings are ping frames,
    /// and whatever the client sends is as good as a pong.
    pub fn plain_websocket(timing: Timing, now: Instant) -> Self {
        Self::with(Role::Server, Variant::Plain, Transport::WebSocket, timing, now)
    }

    fn with(role: Role, variant: Variant, transport: Transport, timing: Timing, now: Instant) -> Self {
        Self {
            role,
            variant,
            timing,
            stage: Stage::Open(transport),
            heartbeat: Heartbeat::new(role, variant, timing, now),
            transmits: Transmits::default(),
            events: Events::default(),
        }
    }

    /// Whether messages are taken and delivered.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether nothing is left to be sent or awaited.
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    /// Why the session is closed; none while it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.stage.close_reason()
    }

    /// How packets travel at the moment.
    pub fn transport(&self) -> TransportKind {
        self.stage.transport()
    }

    /// When the latest ping was sent that the peer has answered: what was sent to it before that has reached it.
    pub fn answered_ping(&self) -> Option<Instant> {
        self.heartbeat.answered_ping()
    }

    /// What the driver does next, if anything. What it appends to what waits belongs to the transport that
    /// [`transport`](Self::transport) names.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.next()
    }

    /// What happened next, if anything.
    pub fn poll(&mut self) -> Option<Event> {
        self.events.next()
    }

    /// Whether [`poll`](Self::poll) has something to tell.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); never, once the session has ended.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_open() {
            let beat = self.heartbeat.deadline();
            return Some(self.upgrade_deadline().map_or(beat, |at| at.min(beat)));
        }
        let farewell = self.farewell_deadline()?;
        Some(self.upgrade_deadline().map_or(farewell, |at| at.min(farewell)))
    }

    /// Does what is due at `now`. What the peer has sent by then is to be read before.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.farewell_deadline().is_some_and(|until| now >= until) {
            return self.finish();
        }
        self.handle_upgrade_timeout(now);
        if self.is_open() {
            match self.heartbeat.handle_timeout(self.timing, now) {
                Beat::Idle => {}
                Beat::Ping => self.transmits.add(Transmit::Ping),
                Beat::Dead => self.end(CloseReason::PingTimeout, None, farewell::Peer::Listens, now),
            }
        }
    }
}

#[cfg(test)]
mod tests;
