//! The runner of event handlers: order, handlers that wait, panics, and which reply an event is acknowledged with.
use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use sockeye_handler::{
    Ack, AckId, Acknowledge, ErasedHandler, EventHandlers, HandlerFailure, OnEvent, Queued, QueuedEvent, Reply, Runner,
    RunnerSocket, erase,
};
use sockeye_protocol::socketio::{Args, ArgsBuf, Arguments, EncodeError, Value};
use tokio::sync::Notify;

/// The acknowledgements that were sent: each one's id and arguments.
type Acks = Vec<(u64, Vec<Value>)>;

/// Notes what was sent and what failed.
#[derive(Clone, Default)]
struct Socket {
    acks: Arc<Mutex<Acks>>,
    failures: Arc<Mutex<Vec<String>>>,
    is_expelled: bool,
}

impl Acknowledge for Socket {
    type Error = EncodeError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), EncodeError> {
        let args = ArgsBuf::new(args)?.as_args().all().expect("values");
        self.acks.lock().unwrap().push((id.number, args));
        Ok(())
    }
}

impl RunnerSocket for Socket {
    fn handler_failed(&self, event: &str, failure: HandlerFailure) -> Reply {
        self.failures.lock().unwrap().push(format!("{event}: {failure:?}"));
        Reply::error(failure.message())
    }

    fn is_expelled(&self) -> bool {
        self.is_expelled
    }
}

impl Socket {
    fn acks(&self) -> Acks {
        std::mem::take(&mut self.acks.lock().unwrap())
    }
}

type Handler = ErasedHandler<OnEvent<Socket>>;

/// Runs events through these handlers, as an owner of a runner does.
struct Owner {
    socket: Socket,
    runner: Runner<Socket, &'static str>,
    middleware: Vec<Handler>,
    any: Vec<Handler>,
    own: Vec<Handler>,
    others: Vec<&'static str>,
}

impl Owner {
    fn new(own: impl IntoIterator<Item = Handler>) -> Self {
        let (socket, runner) = (Socket::default(), Runner::default());
        let own = own.into_iter().collect();
        Self { socket, runner, middleware: Vec::new(), any: Vec::new(), own, others: Vec::new() }
    }

    fn receive(&mut self, ack: u64) {
        let (args, ack) = (ArgsBuf::new(&ack).unwrap(), Some(ack.into()));
        if self.runner.is_idle() {
            self.start(args.as_args(), ack);
        } else {
            self.runner.push(Queued::Event(QueuedEvent::new("event", args.as_args(), ack)));
        }
    }

    fn start(&mut self, args: Args<'_>, ack: Option<AckId>) {
        let handlers = EventHandlers { middleware: &self.middleware, any: self.any.iter(), own: self.own.iter() };
        let mut cx = Context::from_waker(Waker::noop());
        self.runner.start(&self.socket, ("event", args, ack), handlers, &mut cx);
    }

    fn poll(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.runner.poll(&self.socket, &mut cx).is_ready() {
            match self.runner.next() {
                Some(Queued::Event(event)) => self.start(event.args.as_args(), event.ack),
                Some(Queued::Other(other)) => self.others.push(other),
                None => return,
            }
        }
    }
}

/// A handler that waits until the gate opens, and then replies with its event's number.
fn waits(gate: &Arc<Notify>) -> Handler {
    let gate = gate.clone();
    erase(async move |sockeye_handler::Data(number): sockeye_handler::Data<u64>| {
        gate.notified().await;
        number
    })
}

fn numbers(acks: &[(u64, Vec<Value>)]) -> Vec<u64> {
    acks.iter().map(|(number, _)| *number).collect()
}

#[test]
fn events_behind_a_handler_that_waits_are_handled_in_order() {
    let gate = Arc::new(Notify::new());
    let mut owner = Owner::new([waits(&gate)]);
    owner.receive(0);
    owner.receive(1);
    owner.runner.push(Queued::Other("disconnect"));
    owner.receive(2);
    owner.poll();
    assert!(owner.socket.acks().is_empty() && owner.runner.queued_bytes() > 0);

    for number in [0, 1] {
        gate.notify_one();
        owner.poll();
        assert_eq!(numbers(&owner.socket.acks()), [number]);
    }
    assert_eq!(owner.others, ["disconnect"], "it came behind the second event");
    assert_eq!(owner.runner.queued_bytes(), 0, "the last event's handler waits");
    gate.notify_one();
    owner.poll();
    assert_eq!(numbers(&owner.socket.acks()), [2]);
    assert!(owner.runner.is_idle());
}

#[test]
fn events_that_are_cleared_are_not_handled() {
    let gate = Arc::new(Notify::new());
    let mut owner = Owner::new([waits(&gate)]);
    owner.receive(0);
    owner.receive(1);
    owner.runner.clear_queue();
    assert_eq!(owner.runner.queued_bytes(), 0);
    gate.notify_one();
    owner.poll();
    assert_eq!(numbers(&owner.socket.acks()), [0]);
}

#[test]
fn a_panic_ends_its_handler_only_and_the_peer_is_told_nothing_of_it() {
    let mut owner = Owner::new([
        erase(async || panic!("a secret") as ()),
        erase(async || panic!("another secret") as ()),
        erase(async || "not the first answer"),
    ]);
    owner.receive(7);
    let expected = serde_json::json!([{ "error": "internal error" }]);
    let acks = owner.socket.acks();
    assert_eq!(numbers(&acks), [7]);
    assert_eq!(serde_json::to_value(&acks[0].1).unwrap(), expected);
    let failures = owner.socket.failures.lock().unwrap().clone();
    assert_eq!(failures.first().map(String::as_str), Some(r#"event: Panicked("a secret")"#));
    assert_eq!(failures.len(), 2);
}

#[test]
fn the_first_handler_that_replies_with_something_acknowledges() {
    let mut owner = Owner::new([erase(async || "first"), erase(async || "second")]);
    owner.any = vec![erase(async || {})];
    owner.receive(1);
    assert_eq!(owner.socket.acks(), [(1, vec![Value::from("first")])]);

    owner.own = vec![erase(async || {}), erase(async || {})];
    owner.receive(2);
    assert_eq!(owner.socket.acks(), [(2, vec![])]);
}

#[test]
fn an_event_that_only_on_any_sees_is_not_acknowledged() {
    let mut owner = Owner::new([]);
    owner.any = vec![erase(async || {})];
    owner.receive(1);
    assert!(owner.socket.acks().is_empty());
    owner.any.push(erase(async || "an answer all the same"));
    owner.receive(2);
    assert_eq!(numbers(&owner.socket.acks()), [2]);
}

#[test]
fn only_the_handler_that_takes_ack_acknowledges() {
    let taken = Arc::new(Mutex::new(None));
    let keep = taken.clone();
    let take = erase(async move |ack: Ack<Socket>| *keep.lock().unwrap() = Some(ack));
    let mut owner = Owner::new([take, erase(async |ack: Ack<Socket>| assert!(!ack.is_wanted())), erase(async || 5)]);
    owner.receive(1);
    assert!(owner.socket.acks().is_empty());
    let ack = taken.lock().unwrap().take();
    ack.expect("it was taken").send("late").unwrap();
    assert_eq!(owner.socket.acks(), [(1, vec![Value::from("late")])]);
    assert!(owner.socket.failures.lock().unwrap().is_empty());
}

#[test]
fn middleware_ends_an_event_by_an_error_or_by_expelling_the_socket() {
    let ran = Arc::new(Mutex::new(0));
    let count = ran.clone();
    let mut owner = Owner::new([erase(async move || *count.lock().unwrap() += 1)]);
    owner.middleware = vec![erase(async || Err::<(), _>("not you".into()))];
    owner.receive(1);
    assert_eq!(numbers(&owner.socket.acks()), [1]);
    assert_eq!(*ran.lock().unwrap(), 0);

    owner.middleware = vec![erase(async || {})];
    owner.receive(2);
    assert_eq!(*ran.lock().unwrap(), 1);
    owner.socket.is_expelled = true;
    owner.receive(3);
    assert_eq!(*ran.lock().unwrap(), 1);
    assert_eq!(owner.runner.poll(&owner.socket, &mut Context::from_waker(Waker::noop())), Poll::Ready(()));
}
