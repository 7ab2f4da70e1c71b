use std::time::{Duration, Instant};

use super::*;
use crate::{
    engineio::{Packet, Revision},
    websocket::CloseCode,
};

const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);
const UPGRADE: Duration = Duration::from_millis(1_000);
const CLOSE: Duration = Duration::from_millis(500);

fn session(role: Role, transport: TransportKind, now: Instant) -> Session {
    let timing = Timing::new(INTERVAL, TIMEOUT).upgrade_timeout(UPGRADE).close_timeout(CLOSE);
    Session::new(role, Revision::V4, transport, timing, now)
}

fn transmits(session: &mut Session) -> Vec<Transmit> {
    std::iter::from_fn(|| session.poll_transmit()).collect()
}

fn events(session: &mut Session) -> Vec<Event> {
    std::iter::from_fn(|| session.poll()).collect()
}

#[test]
fn an_idle_session_stays_small() {
    assert!(size_of::<Session>() <= 136, "{} bytes", size_of::<Session>());
}

#[test]
fn a_server_answers_a_get_with_what_waits_and_otherwise_lets_it_wait() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    assert!(!server.is_writable());
    server.handle_get(now).unwrap();
    assert!(server.is_writable());
    assert_eq!(server.answer_get(false), None);
    assert_eq!(server.answer_get(true), Some(GetAnswer::Waiting));
    assert!(!server.is_writable());
}

#[test]
fn a_second_request_of_a_kind_ends_the_session() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    server.handle_get(now).unwrap();
    assert_eq!(server.handle_get(now), Err(RequestError::SecondGet));
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::TransportError), Event::Ended]);
    assert_eq!(server.answer_get(false), Some(GetAnswer::Close), "the first GET is told");
    assert_eq!(server.handle_get(now), Err(RequestError::Closed));
    let mut server = session(Role::Server, TransportKind::Polling, now);
    server.handle_post(now).unwrap();
    assert_eq!(server.handle_post(now), Err(RequestError::SecondPost));
    assert_eq!(server.close_reason(), Some(CloseReason::TransportError));
}

#[test]
fn a_server_lets_a_websocket_take_over_and_ends_polls_until_then() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    server.handle_get(now).unwrap();
    let probe = server.handle_probe_opened(now).unwrap();
    assert_eq!(server.handle_probe_opened(now), Err(UpgradeError::Taken));
    assert_eq!(server.handle_probe_packet(probe, &Packet::Ping("probe"), now), ProbeStep::Read);
    assert_eq!(transmits(&mut server), [Transmit::ProbeAnswer]);
    assert_eq!(server.answer_get(false), None, "the client still gets its packets by polling");
    let first = server.poll_timeout().unwrap();
    assert_eq!(first, now + Duration::from_millis(100));
    server.handle_timeout(first);
    assert_eq!(server.answer_get(false), Some(GetAnswer::Noop));
    server.handle_get(first).unwrap();
    assert_eq!(server.answer_get(false), None, "one noop for each interval");
    server.handle_timeout(server.poll_timeout().unwrap());
    assert_eq!(server.answer_get(false), Some(GetAnswer::Noop));
    assert_eq!(server.handle_probe_packet(probe, &Packet::Upgrade, now), ProbeStep::Upgraded);
    assert_eq!(server.transport(), TransportKind::WebSocket);
    assert_eq!(events(&mut server), [Event::Upgraded]);
    assert_eq!(server.handle_get(now), Err(RequestError::Moved));
    assert_eq!(server.handle_probe_opened(now), Err(UpgradeError::Taken));
}

#[test]
fn a_client_pauses_its_polling_and_moves_when_its_requests_are_answered() {
    let now = Instant::now();
    let mut client = session(Role::Client, TransportKind::Polling, now);
    assert!(client.begin_get() && client.begin_post());
    assert!(client.begin_upgrade(now));
    let probe = client.handle_probe_opened(now).unwrap();
    assert_eq!(transmits(&mut client), [Transmit::Probe]);
    assert_eq!(client.handle_probe_packet(probe, &Packet::Pong("probe"), now), ProbeStep::Wait);
    client.handle_post_answered(now);
    assert!(!client.begin_get() && !client.begin_post());
    assert_eq!(client.transport(), TransportKind::Polling);
    client.handle_get_answered(now);
    assert_eq!(client.transport(), TransportKind::WebSocket);
    assert_eq!(transmits(&mut client), [Transmit::Upgrade]);
    assert_eq!(events(&mut client), [Event::Upgraded]);
}

#[test]
fn an_upgrade_that_fails_leaves_the_session_polling_and_another_may_follow() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    let first = server.handle_probe_opened(now).unwrap();
    assert_eq!(server.handle_probe_packet(first, &Packet::Text("too early"), now), ProbeStep::Close);
    assert_eq!(transmits(&mut server), [Transmit::DropProbe]);
    assert_eq!(events(&mut server), [Event::UpgradeFailed(UpgradeError::Unexpected)]);
    let second = server.handle_probe_opened(now).unwrap();
    server.handle_probe_lost(first, UpgradeError::Broken);
    assert!(server.is_probing(second), "the first WebSocket has no say any more");
    let mut later = now;
    while server.is_probing(second) {
        later = server.poll_timeout().unwrap();
        server.handle_timeout(later);
        server.handle_packet(TransportKind::Polling, &Packet::Pong(""), later);
    }
    assert_eq!(later, now + UPGRADE);
    assert_eq!(events(&mut server), [Event::UpgradeFailed(UpgradeError::TimedOut)]);
    let mut client = session(Role::Client, TransportKind::Polling, now);
    client.begin_get();
    client.begin_upgrade(now);
    let probe = client.handle_probe_opened(now).unwrap();
    client.handle_probe_packet(probe, &Packet::Pong("probe"), now);
    client.handle_probe_lost(probe, UpgradeError::Broken);
    client.handle_get_answered(now);
    assert_eq!(client.transport(), TransportKind::Polling);
    assert!(client.begin_get(), "it polls on");
}

#[test]
fn a_graceful_end_delivers_what_waits_and_says_goodbye() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    server.close(CloseReason::ForcedClose, now);
    assert_eq!(transmits(&mut server), [Transmit::ClosePacket]);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::ForcedClose)]);
    server.handle_get(now).unwrap();
    assert_eq!(server.answer_get(true), Some(GetAnswer::Waiting));
    server.handle_flushed();
    assert_eq!(events(&mut server), [Event::Ended]);

    let mut server = session(Role::Server, TransportKind::WebSocket, now);
    server.close(CloseReason::ServerShuttingDown, now);
    assert_eq!(transmits(&mut server), [Transmit::CloseFrame(None)]);
    server.handle_flushed();
    assert_eq!(transmits(&mut server), [Transmit::Shut]);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::ServerShuttingDown)]);
    server.handle_websocket_closed(None, now);
    assert_eq!(events(&mut server), [Event::Ended], "the peer's Close frame is its last word");
}

#[test]
fn a_farewell_is_said_on_the_websocket_that_takes_over_meanwhile() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::Polling, now);
    let probe = server.handle_probe_opened(now).unwrap();
    server.close(CloseReason::ForcedClose, now);
    assert_eq!(transmits(&mut server), [Transmit::ClosePacket]);
    assert_eq!(server.handle_probe_packet(probe, &Packet::Upgrade, now), ProbeStep::Upgraded);
    assert_eq!(transmits(&mut server), [Transmit::CloseFrame(None)]);
}

#[test]
fn a_client_that_leaves_by_a_post_finds_its_last_get_answered() {
    let now = Instant::now();
    for is_waiting in [true, false] {
        let mut server = session(Role::Server, TransportKind::Polling, now);
        if is_waiting {
            server.handle_get(now).unwrap();
        }
        server.handle_packet(TransportKind::Polling, &Packet::Close, now);
        assert_eq!(server.has_ended(), is_waiting);
        if !is_waiting {
            server.handle_get(now).unwrap();
        }
        assert_eq!(server.answer_get(false), Some(GetAnswer::Noop));
        assert_eq!(events(&mut server), [Event::Closed(CloseReason::TransportClose), Event::Ended]);
    }
    let mut server = session(Role::Server, TransportKind::Polling, now);
    server.handle_packet(TransportKind::Polling, &Packet::Close, now);
    server.handle_timeout(server.poll_timeout().unwrap());
    assert!(server.has_ended(), "no GET came");
}

#[test]
fn a_close_frame_is_answered_with_its_code_and_ends_the_session_at_once() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::WebSocket, now);
    server.handle_websocket_closed(Some(CloseCode::AWAY), now);
    assert_eq!(transmits(&mut server), [Transmit::CloseFrame(Some(CloseCode::AWAY))]);
    server.handle_flushed();
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::TransportClose), Event::Ended]);
}

#[test]
fn a_peer_that_never_hangs_up_is_given_up() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::WebSocket, now);
    server.close_with(CloseReason::TransportError, CloseCode::TOO_BIG, now);
    assert_eq!(transmits(&mut server), [Transmit::CloseFrame(Some(CloseCode::TOO_BIG))]);
    server.handle_flushed();
    server.handle_timeout(now + CLOSE);
    assert!(server.has_ended());
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn only_the_first_reason_counts() {
    let now = Instant::now();
    let mut server = session(Role::Server, TransportKind::WebSocket, now);
    server.close(CloseReason::ForcedClose, now);
    server.handle_websocket_lost(CloseReason::TransportError, now);
    server.abandon(now);
    assert_eq!(events(&mut server), [Event::Closed(CloseReason::ForcedClose), Event::Ended]);
}
