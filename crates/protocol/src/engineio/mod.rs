//! Engine.IO, revisions 4 and 3: packets, the payloads of HTTP long-polling, the opening handshake and the session.

mod jsonp;
mod open;
mod packet;
/// Payloads of HTTP long-polling: several packets in one body.
pub mod payload;
pub mod session;

pub use jsonp::{decode_jsonp_form, encode_jsonp};
pub use open::{Handshake, OpenPacket};
pub use packet::{Packet, PacketError, Revision};
