use sockeye_protocol::engineio::{Packet, Revision};

use super::packet::{Kind, Outgoing};
use crate::{Transport, settings::config::Config};

/// Logs the packets of a connection with their content, if `log_packets` is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketLog {
    enabled: bool,
}

impl Config {
    pub(crate) fn packet_log(&self) -> PacketLog {
        PacketLog { enabled: self.log_packets }
    }
}

impl PacketLog {
    /// A packet has arrived.
    pub(crate) fn received(self, transport: Transport, packet: &Packet<'_>) {
        self.log("received", transport, packet);
    }

    /// A message is being sent.
    pub(crate) fn sent(self, transport: Transport, message: &Outgoing) {
        if !self.enabled {
            return;
        }
        let text = || str::from_utf8(&message.head).ok().and_then(|text| Packet::parse_text(text, Revision::V4).ok());
        let packet = match message.kind {
            Kind::Text => text(),
            Kind::Binary => Some(Packet::Binary(message.head.as_slice().into())),
            Kind::Close => None,
        };
        packet.iter().for_each(|packet| self.log("sent", transport, packet));
        for attachment in &message.attachments {
            self.log("sent", transport, &Packet::Binary(attachment.as_ref().into()));
        }
    }

    fn log(self, direction: &'static str, transport: Transport, packet: &Packet<'_>) {
        if !self.enabled {
            return;
        }
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
