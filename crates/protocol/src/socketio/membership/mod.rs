//! A socket's membership in its namespace, as a state machine for each side: packets and wishes in, packets and events
//! out. Nothing here reads a clock or a socket.
mod client;
mod server;

pub use client::{Accept, ClientMembership, Event, Join, OnFailure, Recovery, TooManyEarlyEvents, Transmit};
pub use server::{Acceptance, Answer, ClientPacket, Input, LeftBy, MembershipViolation, ServerMembership};
