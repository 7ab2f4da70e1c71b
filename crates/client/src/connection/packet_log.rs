use sockeye_protocol::engineio::{Packet, Revision};

use super::packet::{Kind, Outgoing};
use crate::{Transport, settings::builder::Config};

/// The log of packets with their content, if `log_packets` is set.
impl Config {
    /// Logs a packet that has arrived.
    pub(crate) fn log_received(&self, transport: Transport, packet: &Packet<'_>) {
        if self.log_packets {
            log("received", transport, packet);
        }
    }

    /// Logs a message that is being sent.
    pub(crate) fn log_sent(&self, transport: Transport, message: &Outgoing) {
        if !self.log_packets {
            return;
        }
        let text = || str::from_utf8(&message.head).ok().and_then(|text| Packet::parse_text(text, Revision::V4).ok());
        let packet = match message.kind {
            Kind::Text => text(),
            Kind::Binary => Some(Packet::Binary(message.head.as_slice().into())),
            Kind::Close => None,
        };
        packet.iter().for_each(|packet| log("sent", transport, packet));
        for attachment in &message.attachments {
            log("sent", transport, &Packet::Binary(attachment.as_ref().into()));
        }
    }
}

fn log(direction: &'static str, transport: Transport, packet: &Packet<'_>) {
    let (kind, data) = match *packet {
        Packet::Open(data) => ("open", data),
        Packet::Close => ("close", ""),
        Packet::Ping(data) => ("ping", data),
        Packet::Pong(data) => ("pong", data),
        Packet::Upgrade => ("upgrade", ""),
        Packet::Noop => ("noop", ""),
        Packet::Text(text) => {
            let bytes = text.len();
            let socketio = socketio_kind(text);
            tracing::info!(target: "sockeye::packets", %transport, kind = "message", socketio, bytes, data = %text, "{direction}");
            return;
        }
        Packet::Binary(ref data) => {
            tracing::info!(target: "sockeye::packets", %transport, kind = "binary", bytes = data.len(), "{direction}");
            return;
        }
    };
    tracing::info!(target: "sockeye::packets", %transport, kind, bytes = data.len(), data = %data, "{direction}");
}

/// The kind of a Socket.IO packet in its textual form.
fn socketio_kind(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'0') => "connect",
        Some(b'1') => "disconnect",
        Some(b'2') => "event",
        Some(b'3') => "ack",
        Some(b'4') => "connect_error",
        Some(b'5') => "binary_event",
        Some(b'6') => "binary_ack",
        _ => "unknown",
    }
}
