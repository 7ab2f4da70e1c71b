use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::request::Parts;
use tokio::time::Instant;

use crate::{
    Application, CloseReason, Engine, Frame, Refusal, Revision, Session,
    session::core::{Core, Delivery},
    session::opening::Opening,
    transport::channel::Channel,
};

/// A client that talks to its session without a network, for tests of an application. When it is dropped, the session
/// closes as if the client had left.
#[derive(Debug)]
pub struct InProcess {
    session: Arc<Session>,
}

impl<A: Application> Engine<A> {
    /// Opens a session as a request with these parts does, and drops the open packet. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the engine refuses the request.
    pub async fn connect_in_process(&self, request: &Parts) -> Result<InProcess, Refusal> {
        let permit = self.take_permit(request)?;
        let id = self.admit(request).await?;
        let handshake = self.handshake(request);
        let session = self.open_polling(Opening { id, permit, revision: Revision::V4, base64: false, handshake })?;
        let client = InProcess { session };
        let _open_packet = client.try_receive();
        Ok(client)
    }
}

impl InProcess {
    /// Sends a text message, and returns after the session's task has passed it to the handler. A handler that awaits
    /// nothing has then ended.
    ///
    /// # Errors
    /// If the session is closed, or closes because of the message.
    pub async fn send_text(&self, message: &str) -> Result<(), Refusal> {
        self.session.deliver(format!("4{message}").into()).await
    }

    /// Sends a binary message, and returns as [`send_text`](Self::send_text) does.
    ///
    /// # Errors
    /// If the session is closed, or closes because of the message.
    pub async fn send_binary(&self, message: &[u8]) -> Result<(), Refusal> {
        self.session.deliver(format!("b{}", STANDARD.encode(message)).into()).await
    }

    /// The next message of the server, if one is waiting.
    pub fn try_receive(&self) -> Option<Frame> {
        self.session.update(Core::take_frame)
    }

    /// Waits for the next message of the server. Returns `None` once the session is closed.
    pub async fn receive(&self) -> Option<Frame> {
        poll_fn(|cx| self.session.update(|core| core.poll_frame(cx))).await
    }

    /// Answers a ping, as every client must. Returns before the session's task has read the answer.
    pub fn pong(&self) {
        let mut core = self.session.core().lock();
        // A closed session needs no pong.
        if core.state.is_open() {
            core.deliver(Delivery::Payload { body: "3".to_owned().into(), answer: None });
        }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Closes the session as a client does.
    pub fn close(&self) {
        self.session.close_for(CloseReason::TransportClose);
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    /// Takes the first waiting packet. A closed session ends when its outbox becomes empty.
    fn take_frame(&mut self) -> Option<Frame> {
        let frame = self.outbox.pop();
        self.note_flushed();
        frame
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(frame) = self.take_frame() {
            return Poll::Ready(Some(frame));
        }
        match &mut self.channel {
            Channel::Polling(polling) if !self.state.has_ended() => {
                if self.state.is_open() && !self.state.is_writable() {
                    // This begins a poll that no answer ends. The session cannot refuse it, because no other poll
                    // waits.
                    let _poll = self.state.handle_get(Instant::now().into_std());
                }
                polling.get = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }
}
