use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use sockeye_protocol::{
    engineio::{
        Packet, PacketError,
        session::{Probe, ProbeStep, UpgradeError},
    },
    websocket::{self, Event, Limits, Opcode},
};
use tokio::time::{Instant, timeout};

use crate::{
    Frame,
    session::{core::Delivery, handle::Session},
    transport::{channel::Channel, connection::Connection},
};

/// Lets a WebSocket take over a session that polls, by the rules of the session's state. A WebSocket that fails is
/// closed, and the session polls on.
pub(crate) async fn probe(session: Arc<Session>, mut connection: Connection) {
    let opened = session.update(|core| {
        // The session's task has a new deadline to keep.
        core.wake_driver();
        core.state.handle_probe_opened(Instant::now().into_std())
    });
    let probe = match opened {
        Ok(probe) => probe,
        Err(error) => {
            tracing::debug!(sid = session.id().short(), %error, "closing a WebSocket that wanted to take a session over");
            return turn_away(&session, connection).await;
        }
    };
    let read = {
        let mut reading = pin!(read(&session, probe, &mut connection));
        poll_fn(|cx| match poll_failed(&session, probe, cx) {
            Poll::Ready(()) => Poll::Ready(Err(ProbeError::Over)),
            Poll::Pending => reading.as_mut().poll(cx),
        })
        .await
    };
    let refused = match read {
        Ok(ahead) => {
            connection.put_back(&ahead);
            take_over(&session, probe, connection).err()
        }
        Err(error) => {
            let (sid, cause): (_, &(dyn Error + 'static)) = (session.id().short(), &error);
            tracing::debug!(sid, error = cause, "closing a WebSocket that wanted to take a session over");
            session.update(|core| core.state.handle_probe_lost(probe, error.into()));
            Some(connection)
        }
    };
    if let Some(connection) = refused {
        turn_away(&session, connection).await;
    }
}

/// Why a WebSocket was not read up to the upgrade packet.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the client closed the connection")]
    Closed,
    #[error("the client broke the WebSocket protocol")]
    Protocol(#[from] websocket::DecodeError),
    #[error("the client sent an invalid packet")]
    Packet(#[from] PacketError),
    #[error("the session does not wait for this WebSocket any more")]
    Over,
}

impl From<ProbeError> for UpgradeError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Closed => Self::Closed,
            ProbeError::Packet(_) => Self::Unexpected,
            ProbeError::Io(_) | ProbeError::Protocol(_) | ProbeError::Over => Self::Broken,
        }
    }
}

/// The most bytes of a packet that belongs to an upgrade.
const MAX_PROBE: usize = 125;

/// The answer to a probe.
const PROBE_ANSWER: &[u8] = b"3probe";

/// A close frame without a status.
const CLOSE: &[u8] = &[0x88, 0x00];

/// Closes a WebSocket that does not take over.
async fn turn_away(session: &Session, mut connection: Connection) {
    // A peer that is gone or takes nothing need not be told.
    let _gone = timeout(session.context().config.close_timeout, connection.write(CLOSE)).await;
}

/// Ready when the session does not wait for this WebSocket any more.
fn poll_failed(session: &Session, probe: Probe, cx: &Context<'_>) -> Poll<()> {
    let mut core = session.core().lock();
    let is_probing = core.state.is_probing(probe);
    match &mut core.channel {
        Channel::Polling(polling) if is_probing => {
            polling.probe = Some(cx.waker().clone());
            Poll::Pending
        }
        _ => Poll::Ready(()),
    }
}

/// Reads up to the client's upgrade packet, and returns what came behind it.
async fn read(session: &Session, probe: Probe, connection: &mut Connection) -> Result<Vec<u8>, ProbeError> {
    let limits = Limits { max_message: MAX_PROBE, max_fragments: MAX_PROBE };
    let mut decoder = websocket::Decoder::new(websocket::Role::Server);
    let mut buffer = [0u8; 1024];
    loop {
        let count = connection.read(&mut buffer).await?;
        if count == 0 {
            return Err(ProbeError::Closed);
        }
        let mut input = buffer.get_mut(..count).unwrap_or_default();
        while !input.is_empty() {
            let (consumed, event) = decoder.decode(input, &limits)?;
            let packet = match event {
                Some(Event::Text(text)) => {
                    session.log_packet("received", false, text.as_bytes());
                    Some(Packet::parse_text(text, session.revision())?)
                }
                Some(Event::Binary(data)) => Some(Packet::parse_binary(data, session.revision())?),
                Some(Event::Ping(payload)) => {
                    let pong = Frame::control(Opcode::Pong, payload);
                    connection.write(pong.websocket()).await?;
                    None
                }
                Some(Event::Close(_)) => return Err(ProbeError::Closed),
                Some(Event::Pong(_)) | None => None,
            };
            match packet {
                Some(Packet::Upgrade) => return Ok(input.get(consumed..).unwrap_or_default().to_vec()),
                Some(packet) => handle(session, probe, connection, &packet).await?,
                None => {}
            }
            input = input.get_mut(consumed..).unwrap_or_default();
        }
    }
}

async fn handle(
    session: &Session,
    probe: Probe,
    connection: &mut Connection,
    packet: &Packet<'_>,
) -> Result<(), ProbeError> {
    let (step, settled) = session.update_with("", |core| {
        // The session's task has a new deadline to keep.
        core.wake_driver();
        core.state.handle_probe_packet(probe, packet, Instant::now().into_std())
    });
    if settled.answers_probe {
        session.log_packet("sent", false, PROBE_ANSWER);
        connection.write(Frame::text(PROBE_ANSWER).websocket()).await?;
    }
    match step {
        ProbeStep::Read => Ok(()),
        ProbeStep::Wait | ProbeStep::Upgraded | ProbeStep::Close => Err(ProbeError::Over),
    }
}

/// Moves the session to the WebSocket, or gives the WebSocket back if it comes too late.
fn take_over(session: &Session, probe: Probe, connection: Connection) -> Result<(), Connection> {
    session.update(|core| {
        let step = core.state.handle_probe_packet(probe, &Packet::Upgrade, Instant::now().into_std());
        if step != ProbeStep::Upgraded {
            return Err(connection);
        }
        let (channel, websocket) = connection.into_parts();
        core.adopt(channel);
        core.deliver(Delivery::Upgrade(Box::new(websocket)));
        Ok(())
    })
}
