use std::time::Duration;

use sockeye_protocol::engineio::session::{CloseReason, Role, TransportKind};

use super::world::{World, other};

/// What must hold after every step.
pub(crate) fn at_every_step(world: &World) -> Result<(), String> {
    for role in [Role::Server, Role::Client] {
        let end = world.end(role);
        let (session, record) = (&end.session, &end.record);
        if let Some(complaint) = &record.complaint {
            return Err(format!("the {role:?} {complaint}"));
        }
        if record.closed.len() > 1 || record.ended > 1 {
            return Err(format!("the {role:?} was told {:?} and {} ends", record.closed, record.ended));
        }
        if session.close_reason() != record.closed.first().copied() {
            return Err(format!(
                "the {role:?} is closed by {:?} and was told {:?}",
                session.close_reason(),
                record.closed
            ));
        }
        if session.has_ended() != (record.ended == 1) {
            return Err(format!("the {role:?} has ended or not, and was told otherwise"));
        }
        if session.has_ended() == session.poll_timeout().is_some() {
            return Err(format!("the {role:?} has ended with a timer, or has not ended and has none"));
        }
        let sent = world.end(other(role)).record.sent.len();
        if record.received.len() > sent {
            return Err(format!("the {role:?} received {} of {sent} messages", record.received.len()));
        }
        let is_suspect = record.closed == [CloseReason::PingTimeout];
        let peer = world.end(other(role));
        if is_suspect && world.schedule.is_lossless() && !peer.record.was_away && peer.record.closed.is_empty() {
            return Err(format!("the {role:?} took its peer for dead, which it is not"));
        }
    }
    let server = world.end(Role::Server);
    let noops = &server.record.noops;
    if noops.windows(2).any(|pair| pair[1] - pair[0] < Duration::from_millis(100).as_micros() as u64) {
        return Err(format!("the server ended two polls by a noop within 100 ms: {noops:?}"));
    }
    if let Some(answered) = server.session.answered_ping() {
        let answered = world.micros(answered);
        let before = server.record.sent.iter().filter(|&&at| at < answered).count();
        let received = world.end(Role::Client).record.received.len();
        if received < before {
            return Err(format!("an answered ping vouches for {before} messages, and {received} were received"));
        }
    }
    Ok(())
}

/// What must hold when nothing happens any more but heartbeats.
pub(crate) fn at_rest(world: &World) -> Result<(), String> {
    let (server, client) = (world.end(Role::Server), world.end(Role::Client));
    if server.session.is_open() != client.session.is_open() {
        return Err(format!(
            "one end is open, the other is not: server {:?}, client {:?}",
            server.session.close_reason(),
            client.session.close_reason()
        ));
    }
    for role in [Role::Server, Role::Client] {
        let (end, peer) = (world.end(role), world.end(other(role)));
        if !end.session.is_open() && !end.session.has_ended() {
            return Err(format!("the {role:?} is closed and never comes to its end"));
        }
        let (sent, received) = (end.record.sent.len(), peer.record.received.len());
        if end.session.is_open() && sent != received {
            return Err(format!("both are open, and of {sent} messages of the {role:?} {received} were received"));
        }
        let was_undisturbed = world.schedule.is_lossless() && !end.record.was_away && !peer.record.was_away;
        if end.record.closed == [CloseReason::ForcedClose] && was_undisturbed {
            // A POST that crosses the close is refused, and then the client need not wait for the farewell.
            let was_refused = peer.record.closed == [CloseReason::TransportError]
                && peer.role == Role::Client
                && peer.session.transport() == TransportKind::Polling;
            if peer.record.closed != [CloseReason::TransportClose] && !was_refused {
                return Err(format!("the {role:?} closed and its peer was told {:?}", peer.record.closed));
            }
            if sent != received && !was_refused {
                return Err(format!("the {role:?} closed after {sent} messages, and {received} were received"));
            }
        }
    }
    let has_moved = client.session.transport() == TransportKind::WebSocket;
    if client.session.is_open() && has_moved != (server.session.transport() == TransportKind::WebSocket) {
        return Err("the ends use different transports".to_owned());
    }
    Ok(())
}
