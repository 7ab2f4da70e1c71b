use sockeye_engine::{Frame, SendError, log_limit};
use sockeye_protocol::socketio::{ArgsBuf, Arguments, membership::ServerMembership};

use super::Socket;
use crate::{
    EmitError,
    adapter::EncodedPacket,
    handler::{AckId, Acknowledge},
    handles::outgoing,
    wire::packet::{check_name, into_frames, send, with_encoded},
    wire::parser::Wire,
};

/// Packets on their way to the client.
impl Socket {
    pub(crate) fn emit_expecting(&self, event: &str, ack: Option<u64>, args: &impl Arguments) -> Result<(), EmitError> {
        check_name(event)?;
        let namespace = self.namespace();
        if namespace.config().log_events {
            tracing::info!(target: "sockeye::events", namespace = namespace.name(), event, sid = self.id().short(), "emit");
        }
        if namespace.is_observed() {
            namespace.observe(self, event, ArgsBuf::new(args)?.as_args());
        }
        with_encoded(
            |buffer| namespace.config().parser.event(buffer, namespace.name(), ack, event, args),
            |buffer, wire| self.write(buffer, wire),
        )??;
        Ok(())
    }

    /// Sends a broadcast's packet to this socket. If `volatile`, it sends the packet only if the client is ready to
    /// receive.
    pub(crate) fn deliver(&self, packet: &EncodedPacket, volatile: bool) {
        if self.namespace().is_observed() {
            let (socket, packet) = (self.clone(), packet.clone());
            outgoing::observe(move || {
                if let Some(args) = packet.args_as_sent() {
                    socket.namespace().observe(&socket, packet.name(), args.as_args());
                }
            });
        }
        match self.membership() {
            ServerMembership::Joined if volatile && !self.0.session.is_writable() => {}
            ServerMembership::Joined => {
                // The session itself handles that it is closing or too slow.
                let _closed = match packet.frames() {
                    [frame] => self.0.session.send(frame.clone()),
                    frames => self.0.session.send_all(frames.iter().cloned()),
                };
            }
            ServerMembership::Connecting if !volatile => self.hold(packet.frames().to_vec()),
            _ => {}
        }
    }

    /// Whether the client is ready to receive a packet.
    pub(crate) fn is_writable(&self) -> bool {
        self.is_connected() && self.0.session.is_writable()
    }

    /// Sends one packet to this socket only.
    fn write(&self, buffer: &[u8], wire: Wire) -> Result<(), SendError> {
        match self.membership() {
            ServerMembership::Joined => send(&self.0.session, buffer, wire),
            ServerMembership::Connecting => {
                self.hold(into_frames(buffer, wire));
                Ok(())
            }
            _ => Err(SendError::Closed),
        }
    }

    /// Holds a packet until the client is admitted, or sends it if the client was admitted meanwhile.
    fn hold(&self, packet: Vec<Frame>) {
        let mut shared = self.0.shared.lock();
        match self.membership() {
            ServerMembership::Connecting => {
                let held = shared.held.get_or_insert_default();
                held.memory += packet.iter().map(|frame| frame.memory() + size_of::<Frame>()).sum::<usize>();
                held.frames.extend(packet);
                let is_full = held.memory > self.namespace().config().engine.outbox_bytes;
                // What the client's own handlers emit is not limited.
                if is_full && !self.0.session.runs_here() {
                    shared.held = None;
                    drop(shared);
                    let limit = self.namespace().config().engine.outbox_bytes;
                    let consequence = "closed a connection because too much was emitted to it before it joined";
                    log_limit(self.id().short(), "outbox_bytes", limit, consequence);
                    self.0.session.close();
                }
            }
            ServerMembership::Joined => {
                drop(shared);
                let _closed = self.0.session.send_all(packet);
            }
            _ => {}
        }
    }
}

impl Acknowledge for Socket {
    type Error = EmitError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), EmitError> {
        let namespace = self.namespace();
        with_encoded(
            |buffer| namespace.config().parser.ack(buffer, namespace.name(), id.number, args),
            |buffer, wire| self.write(buffer, wire),
        )??;
        Ok(())
    }
}
