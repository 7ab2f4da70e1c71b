use std::{collections::VecDeque, sync::Arc, time::Duration};

use http::Request;
use serde::de::DeserializeOwned;
use sockeye_engine::{Frame, InProcess, Message, Revision};
use sockeye_handler::decode_answer;
use sockeye_protocol::socketio::{ArgsBuf, ArgumentError, Arguments, EncodeError, Limits, Packet, Value};
use tokio::time::timeout;

use crate::{
    Server,
    handles::server::with_slash,
    wire::packet::{into_frames, with_encoded},
    wire::parser::Decoder,
};

/// A client in the same process, for tests of handlers. It needs no port, no network and no delays.
///
/// When a call that sends something returns, the server has handled it, except for handlers that wait.
/// [`received`](Self::received) then returns the events that the server has emitted. The client answers pings only
/// during its calls: the server closes it, like any client, if it is not called for longer than the heartbeat allows.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::{Data, Server, Socket};
/// let server = Server::new();
/// server.of("/").on("shout", async |socket: Socket, Data(text): Data<String>| {
///     socket.emit("shouted", text.to_uppercase())?;
///     Ok(())
/// });
/// let mut client = server.test_client().connect().await?;
/// client.emit("shout", "hello").await?;
/// let received = client.received();
/// assert_eq!(received[0].name, "shouted");
/// assert_eq!(received[0].args.as_args().get::<String>(0)?, "HELLO");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct TestClient {
    server: Server,
    connection: InProcess,
    decoder: Decoder,
    namespace: Arc<str>,
    sid: String,
    pid: Option<String>,
    next_ack: u64,
    /// Events that arrived while the client waited for something else.
    events: VecDeque<ReceivedEvent>,
    is_connected: bool,
}

/// An event that the server has emitted.
#[derive(Debug, Clone)]
pub struct ReceivedEvent {
    /// The event's name.
    pub name: String,
    /// The arguments.
    pub args: ArgsBuf,
    /// The id for the acknowledgement, if the server asked for one.
    pub ack: Option<u64>,
}

/// Why a call of a test client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestClientError {
    /// The server refused the client.
    #[error("the server refused the client: {message}")]
    Refused {
        /// The server's message.
        message: String,
        /// The data of the refusal.
        data: Option<Value>,
    },
    /// The server closed the connection, or disconnected the client from the namespace.
    #[error("the server closed the connection, or disconnected the client from the namespace")]
    Closed,
    /// Nothing arrived in time.
    #[error("nothing arrived within {0:?}")]
    TimedOut(Duration),
    /// The data could not be serialised.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The arguments could not be deserialised into the requested type.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
}

/// Builds a test client.
#[derive(Debug)]
#[must_use = "the client connects when `connect` is called"]
pub struct TestClientBuilder {
    server: Server,
    namespace: Arc<str>,
    auth: Option<serde_json::Value>,
    query: String,
    headers: Vec<(String, String)>,
}

/// How long a test client waits for an event or an answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// A builder for a client in the same process, for tests.
    pub fn test_client(&self) -> TestClientBuilder {
        TestClientBuilder {
            server: self.clone(),
            namespace: "/".into(),
            auth: None,
            query: String::new(),
            headers: Vec::new(),
        }
    }
}

impl TestClientBuilder {
    /// Joins this namespace instead of `/`. A missing leading slash is added.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = with_slash(&namespace.into());
        self
    }

    /// Sends this payload in the CONNECT packet.
    pub fn auth(mut self, auth: serde_json::Value) -> Self {
        self.auth = Some(auth);
        self
    }

    /// Adds a query, such as `room=7&lang=en`, to the request.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// Adds a header to the request.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Connects and joins the namespace.
    ///
    /// # Errors
    /// If the server refuses the client.
    ///
    /// # Panics
    /// If a header or the query is not valid in an HTTP request.
    pub async fn connect(self) -> Result<TestClient, TestClientError> {
        let path = &self.server.config().engine.path;
        let mut request = Request::builder().uri(format!("{path}?EIO=4&transport=polling&{}", self.query));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = match request.body(()) {
            Ok(request) => request,
            Err(error) => panic!("the test client's request is not HTTP: {error}"),
        };
        let connection = match self.server.connect_in_process(&request.into_parts().0).await {
            Ok(connection) => connection,
            Err(refusal) => return Err(TestClientError::Refused { message: refusal.to_string(), data: None }),
        };
        let mut client = TestClient {
            decoder: self.server.config().parser.decoder(),
            server: self.server,
            connection,
            namespace: self.namespace,
            sid: String::new(),
            pid: None,
            next_ack: 0,
            events: VecDeque::new(),
            is_connected: false,
        };
        client.join(self.auth).await?;
        Ok(client)
    }
}

impl TestClient {
    /// The socket's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// The private id for connection state recovery, if the server offers recovery.
    pub fn pid(&self) -> Option<&str> {
        self.pid.as_deref()
    }

    /// Whether the client is in the namespace, as far as the messages it has received tell.
    pub fn is_connected(&mut self) -> bool {
        self.drain();
        self.is_connected
    }

    /// Emits an event.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the connection is closed.
    pub async fn emit(&mut self, event: &str, args: impl Arguments) -> Result<(), TestClientError> {
        self.emit_expecting(event, None, &args).await
    }

    /// Emits the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub async fn send(&mut self, args: impl Arguments) -> Result<(), TestClientError> {
        self.emit("message", args).await
    }

    /// Emits an event and returns the first argument of its acknowledgement, or all of them if `T` is a tuple.
    ///
    /// # Errors
    /// If no acknowledgement arrives, or its arguments cannot be deserialised into `T`.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &mut self,
        event: &str,
        args: impl Arguments,
    ) -> Result<T, TestClientError> {
        let id = self.next_ack;
        self.next_ack += 1;
        self.emit_expecting(event, Some(id), &args).await?;
        loop {
            if let Incoming::Ack(acknowledged, args) = self.next_inside().await?
                && acknowledged == id
            {
                return Ok(decode_answer(args.as_args())?);
            }
        }
    }

    /// Acknowledges an event.
    ///
    /// # Errors
    /// If the data cannot be serialised, or the connection is closed.
    pub async fn acknowledge(&mut self, event: &ReceivedEvent, args: impl Arguments) -> Result<(), TestClientError> {
        let Some(id) = event.ack else { return Ok(()) };
        let parser = self.server.config().parser.clone();
        let namespace = self.namespace.clone();
        self.write(with_encoded(|buffer| parser.ack(buffer, &namespace, id, &args), into_frames)?).await
    }

    /// The events that have arrived and were not returned before.
    pub fn received(&mut self) -> Vec<ReceivedEvent> {
        self.drain();
        self.events.drain(..).collect()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// If no event arrives within ten seconds, the connection is closed, or the server disconnects the client from the
    /// namespace.
    pub async fn receive(&mut self) -> Result<ReceivedEvent, TestClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let _something_else = self.next_inside().await?;
        }
    }

    /// Leaves the namespace and closes the connection.
    ///
    /// # Errors
    /// If the connection is already closed.
    pub async fn disconnect(mut self) -> Result<(), TestClientError> {
        let parser = self.server.config().parser.clone();
        let namespace = self.namespace.clone();
        self.write(with_encoded(|buffer| parser.disconnect(buffer, Revision::V4, &namespace), into_frames)?).await
    }

    async fn join(&mut self, auth: Option<serde_json::Value>) -> Result<(), TestClientError> {
        let parser = self.server.config().parser.clone();
        let namespace = self.namespace.clone();
        self.write(with_encoded(
            |buffer| parser.connect(buffer, Revision::V4, &namespace, auth.as_ref()),
            into_frames,
        )?)
        .await?;
        loop {
            match self.next().await? {
                Incoming::Connected { sid, pid } => {
                    self.sid = sid;
                    self.pid = pid;
                    self.is_connected = true;
                    return Ok(());
                }
                Incoming::Refused { message, data } => return Err(TestClientError::Refused { message, data }),
                Incoming::Disconnected | Incoming::Ack(..) | Incoming::Other => {}
            }
        }
    }

    async fn emit_expecting(
        &mut self,
        event: &str,
        ack: Option<u64>,
        args: &impl Arguments,
    ) -> Result<(), TestClientError> {
        let parser = self.server.config().parser.clone();
        let namespace = self.namespace.clone();
        self.write(with_encoded(|buffer| parser.event(buffer, &namespace, ack, event, args), into_frames)?).await
    }

    async fn write(&mut self, messages: Vec<Frame>) -> Result<(), TestClientError> {
        for message in messages {
            let sent = if message.is_binary() {
                self.connection.send_binary(message.packet()).await
            } else {
                let packet = String::from_utf8_lossy(message.packet());
                self.connection.send_text(packet.strip_prefix('4').unwrap_or_default()).await
            };
            sent.map_err(|_| TestClientError::Closed)?;
        }
        Ok(())
    }

    /// Waits for the next message of the server. Fails if the client is not in the namespace.
    async fn next_inside(&mut self) -> Result<Incoming, TestClientError> {
        if self.is_connected { self.next().await } else { Err(TestClientError::Closed) }
    }

    async fn next(&mut self) -> Result<Incoming, TestClientError> {
        let frame = match timeout(PATIENCE, self.connection.receive()).await {
            Ok(Some(frame)) => frame,
            Ok(None) => {
                self.is_connected = false;
                return Err(TestClientError::Closed);
            }
            Err(_) => return Err(TestClientError::TimedOut(PATIENCE)),
        };
        match self.read(&frame) {
            Incoming::Disconnected => Err(TestClientError::Closed),
            incoming => Ok(incoming),
        }
    }

    fn drain(&mut self) {
        while let Some(frame) = self.connection.try_receive() {
            self.read(&frame);
        }
        if !self.connection.session().is_open() {
            self.is_connected = false;
        }
    }

    /// Reads one message. It keeps events and answers pings.
    fn read(&mut self, frame: &Frame) -> Incoming {
        let text = String::from_utf8_lossy(frame.packet());
        let message = match (frame.is_binary(), text.strip_prefix('4')) {
            (true, _) => Message::Binary(frame.packet()),
            (false, Some(text)) => Message::Text(text),
            (false, None) => {
                if text == "2" {
                    self.connection.pong();
                }
                return Incoming::Other;
            }
        };
        let limits = Limits { max_attachments: usize::MAX, max_attachment_bytes: usize::MAX, ..Limits::default() };
        let events = &mut self.events;
        let read = self.decoder.decode(message, &limits, |packet| match packet {
            Packet::Connect { payload, .. } => {
                let payload: Value =
                    payload.and_then(|payload| serde_json::from_str(payload.get()).ok()).unwrap_or(Value::Null);
                let text = |key| payload.get(key).and_then(Value::as_str).map(str::to_owned);
                Incoming::Connected { sid: text("sid").unwrap_or_default(), pid: text("pid") }
            }
            Packet::ConnectError { payload, .. } => {
                let payload: Value = serde_json::from_str(payload.get()).unwrap_or(Value::Null);
                let message = payload.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
                Incoming::Refused { message, data: payload.get("data").cloned() }
            }
            Packet::Disconnect { .. } => Incoming::Disconnected,
            Packet::Ack(ack) => Incoming::Ack(ack.id, ack.args.to_owned()),
            Packet::Event(event) => {
                let (name, args) = (event.name.into_owned(), event.args.to_owned());
                events.push_back(ReceivedEvent { name, args, ack: event.ack });
                Incoming::Other
            }
        });
        let incoming = match read {
            Ok(incoming) => incoming.unwrap_or(Incoming::Other),
            Err(error) => panic!("the server sent what is no packet: {error}"),
        };
        if matches!(incoming, Incoming::Disconnected) {
            self.is_connected = false;
        }
        incoming
    }
}

/// A message of the server that is not an event.
enum Incoming {
    Connected { sid: String, pid: Option<String> },
    Refused { message: String, data: Option<Value> },
    Disconnected,
    Ack(u64, ArgsBuf),
    Other,
}
