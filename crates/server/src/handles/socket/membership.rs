use std::sync::{Arc, atomic::Ordering};

use sockeye_engine::{CloseReason, Revision};
use sockeye_protocol::socketio::membership::{Answer, Input, ServerMembership};
use tokio::time::Instant;

use super::{Shared, Socket};
use crate::{
    DisconnectReason,
    adapter::recovery::{Left, PrivateId},
    wire::packet::{log_encoding, send, with_encoded},
};

/// The socket's membership in its namespace.
impl Socket {
    /// Admits the client: sends the packets it missed, CONNECT, and the held packets. Returns false if the socket was
    /// disconnected.
    pub(crate) fn admit(&self) -> bool {
        let namespace = self.namespace();
        let mut shared = self.0.shared.lock();
        let mut membership = self.membership();
        if membership.handle(Input::Admit) != Some(Answer::Connect) {
            return false;
        }
        if !namespace.config().keep_auth {
            shared.auth = None;
        }
        let missed = shared.recovery.as_mut().and_then(|recovery| recovery.missed.take());
        // Errors need no handling here: the task of a closed session notices the end, and the socket then leaves as
        // usual.
        let _closed = self.0.session.send_all(missed.unwrap_or_default());
        let pid = shared.recovery.as_ref().map(|recovery| recovery.pid.clone());
        let answered = with_encoded(
            |buffer| match self.revision() {
                Revision::V3 => namespace.config().parser.connect(buffer, Revision::V3, namespace.name(), None::<&()>),
                Revision::V4 => {
                    let admission = Admission { sid: self.id(), pid: pid.as_ref().map(PrivateId::as_str) };
                    namespace.config().parser.connect(buffer, Revision::V4, namespace.name(), Some(&admission))
                }
            },
            |buffer, wire| send(&self.0.session, buffer, wire),
        );
        log_encoding(answered.map(drop));
        if let Some(held) = shared.held.take() {
            let _closed = self.0.session.send_all(held.frames);
        }
        if let Some(recovery) = &mut shared.recovery {
            recovery.admitted_at = Some(Instant::now());
        }
        self.0.membership.store(membership.into(), Ordering::Release);
        true
    }

    /// The state of the client's membership in the namespace.
    pub(crate) fn membership(&self) -> ServerMembership {
        ServerMembership::try_from(self.0.membership.load(Ordering::Acquire)).unwrap_or(ServerMembership::Left)
    }

    /// Changes the membership. Returns the former membership and the packet to send to the client.
    fn change_membership(&self, _lock: &mut Shared, input: Input) -> (ServerMembership, Option<Answer>) {
        let former = self.membership();
        let mut membership = former;
        let answer = membership.handle(input);
        self.0.membership.store(membership.into(), Ordering::Release);
        (former, answer)
    }

    /// Ends the attempt to join. Returns true if the client is to receive CONNECT_ERROR.
    pub(crate) fn begin_refusal(&self) -> bool {
        self.begin_leaving(DisconnectReason::ServerNamespaceDisconnect);
        self.change_membership(&mut self.0.shared.lock(), Input::Refuse).1.is_some()
    }

    /// Records that the disconnect handlers have run.
    pub(crate) fn handlers_ended(&self) {
        self.change_membership(&mut self.0.shared.lock(), Input::HandlersEnded);
    }

    /// Ends the membership for this reason and fails the unanswered acknowledgements. Only the first reason counts.
    /// Returns the former membership and the packet to send to the client.
    pub(crate) fn begin_leaving(&self, reason: DisconnectReason) -> (ServerMembership, Option<Answer>) {
        let mut shared = self.0.shared.lock();
        let changed = self.change_membership(&mut shared, Input::Leave(reason.left_by()));
        shared.leaving.get_or_insert(reason);
        shared.is_expelled |= reason == DisconnectReason::ServerNamespaceDisconnect;
        if let Some(recovery) = &mut shared.recovery {
            recovery.left_at.get_or_insert_with(Instant::now);
        }
        shared.held = None;
        let acks = shared.acks.take();
        drop(shared);
        // A handler may await one of them, and the socket cannot leave before that handler has ended.
        if let Some(acks) = acks {
            acks.disconnected();
        }
        changed
    }

    /// Whether this socket has the private id and can be recovered.
    pub(crate) fn is_recoverable_by(&self, pid: &PrivateId) -> bool {
        let shared = self.0.shared.lock();
        !shared.is_expelled
            && shared.leaving.is_none_or(DisconnectReason::is_recoverable)
            && shared.recovery.as_ref().is_some_and(|recovery| recovery.pid == *pid)
    }

    /// Ends this socket and its connection, because its client has reconnected on another connection.
    pub(crate) fn make_way(&self) {
        let (former, _) = self.begin_leaving(DisconnectReason::Connection(CloseReason::TransportClose));
        if former.is_current() {
            self.0.session.close();
            self.0.session.wake();
        }
    }

    /// Why the socket leaves or has left; none if it has not.
    pub(crate) fn leaving(&self) -> Option<DisconnectReason> {
        if self.membership().is_current() { None } else { self.0.shared.lock().leaving }
    }

    /// Whether the server has disconnected the socket. Events that wait for a handler are then not handled.
    pub(crate) fn is_expelled(&self) -> bool {
        !self.membership().is_current() && self.0.shared.lock().is_expelled
    }

    /// Keeps the rooms, which disconnect handlers can still read.
    pub(crate) fn keep_rooms(&self, rooms: Vec<Arc<str>>) {
        self.0.shared.lock().last_rooms = rooms.into();
    }

    /// Keeps the rooms, which disconnect handlers can still read. Returns the state that recovery keeps.
    pub(crate) fn finish_leaving(&self, rooms: Vec<Arc<str>>) -> Option<(PrivateId, Left)> {
        let mut shared = self.0.shared.lock();
        if shared.last_rooms.is_empty() {
            shared.last_rooms = rooms.clone().into();
        }
        shared.recovery.as_ref().map(|recovery| {
            let left = Left {
                sid: self.id().clone(),
                rooms,
                extensions: shared.extensions.clone(),
                since: recovery.since,
                reached: recovery.reached(&self.0.session),
                at: recovery.left_at.unwrap_or_else(Instant::now),
            };
            (recovery.pid.clone(), left)
        })
    }

    /// Begins to leave the namespace and sends DISCONNECT to the client. Returns the former membership.
    pub(super) fn leave_namespace(&self) -> ServerMembership {
        let (former, answer) = self.begin_leaving(DisconnectReason::ServerNamespaceDisconnect);
        if answer == Some(Answer::Disconnect) {
            let name = self.namespace().name();
            let sent = with_encoded(
                |buffer| self.namespace().config().parser.disconnect(buffer, self.revision(), name),
                |buffer, wire| send(&self.0.session, buffer, wire),
            );
            // A closed session needs no DISCONNECT packet.
            log_encoding(sent.map(drop));
        }
        former
    }
}

/// The payload of the CONNECT packet that admits a client.
#[derive(serde::Serialize)]
struct Admission<'a> {
    sid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<&'a str>,
}
